"""Compares an implementation of the mixed block with the reference."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from abawkit.ops.base import EPS, BlockArguments, BlockImplementation, Call
from abawkit.ops.mixed_block_reference import BlockReference
from abawkit.ops.mixed_block_tensors import BlockParameters, BlockSizes, BlockStatistics
from abawkit.ops.self_check import (
    FORMATS,
    TOLERANCES,
    VANISHING,
    Comparison,
    describe_format,
    measure_relative_errors,
)
from abawkit.ops.testing import BlockInputs, make_random_block

SIDES = ((9, 6), (1, 1), (7, 7))
"""Heights and widths of the compared inputs."""


def compare_block(implementation: BlockImplementation, call: Call, images: Sequence[int]) -> Iterator[Comparison]:
    """Compares the result, and where they are part of the call, running statistics and gradients.

    In float64 for the values, and in the call's type for the allowed error: twice the reference's own, and
    `TOLERANCES`. One image alone is compared too, without gradients.
    """
    sizes = call.sizes
    if not isinstance(sizes, BlockSizes):
        raise TypeError(f"got a call of {sizes.operator}, expected one of mixed_block")
    tolerance = TOLERANCES[torch.bfloat16 if call.bfloat16_products else call.dtype]
    counts = images if call.training or call.gradients else (1, *images)
    # a batch norm over a single pixel has no variance
    sides = [side for side in SIDES if not call.training or side != (1, 1)]
    for count in counts:
        for side in sides:
            inputs = make_random_block(count, sizes, side, dtype=call.dtype)
            exact = compute_block(BlockReference(), _move(inputs, torch.float64), sizes, call)
            rounded = [compute_block(BlockReference(), _format(inputs, form), sizes, call) for form in FORMATS]
            for form in FORMATS:
                found = compute_block(implementation, _format(_move(inputs, None, call.device), form), sizes, call)
                errors = measure_block_errors(found, exact, sizes, call)
                own = [measure_block_errors(results, exact, sizes, call) for results in rounded]
                words = f"{count} images of {side[0]} x {side[1]}, {describe_format(form)}"
                for name, error in errors.items():
                    if not (call.training and name == f"gradient of {VANISHING}"):
                        bound = 2 * max(each[name] for each in own) + tolerance
                        yield Comparison(f"{name} of {words}", error, bound)


def measure_block_errors(
    found: Mapping[str, Tensor], exact: Mapping[str, Tensor], sizes: BlockSizes, call: Call
) -> dict[str, float]:
    """The largest error of each tensor, relative to its largest magnitude.

    In training, a batch norm cancels the scale of what it normalises, up to eps. Where that scale is all that a weight
    changes, the weight's gradient is tiny: its error is relative to that of the norm's scale, if that is larger.

    Args:
        found: Tensors by name, as `compute_block` returns them.
        exact: The same in float64.
        sizes: Of the block.
        call: The kind of call.
    """
    errors = measure_relative_errors(found, exact)
    if not (call.training and call.gradients):
        return errors
    scales = {"expand_weight": "expand_scale"} if sizes.inputs == 1 else {}
    if sizes.expanded == 1:
        names = "expand_weight", "expand_scale", "project_weight", f"depthwise {sizes.kernels[0]}"
        scales |= dict.fromkeys(names, "project_scale") | {"squeeze_weight": "squeeze_scale"}
    for name, scale in scales.items():
        own, other = (exact[f"gradient of {key}"].abs().max().item() for key in (name, scale))
        errors[f"gradient of {name}"] *= own / max(own, other)
    return errors


def compute_block(
    implementation: BlockImplementation, inputs: BlockInputs, sizes: BlockSizes, call: Call
) -> dict[str, Tensor]:
    """Runs one call on the inputs' device: the result, running statistics and gradients by name, on the CPU."""
    x, parameters, statistics = inputs
    statistics = BlockStatistics(*(s.clone() for s in statistics))
    if not (call.training or call.gradients):
        with torch.no_grad():
            folded = implementation.fold(
                parameters, statistics, sizes, eps=EPS, bfloat16_products=call.bfloat16_products
            )
            return {"result": implementation.infer(x, folded).cpu()}
    leaves = [t.detach().requires_grad_(call.gradients) for t in (x, *parameters.flat)]
    given = BlockParameters.from_flat(leaves[1:])
    result = implementation.forward(
        BlockArguments(
            leaves[0],
            given,
            statistics,
            call.training,
            sizes.stride,
            sizes.residual,
            bfloat16_products=call.bfloat16_products,
        )
    )
    found = {"result": result.detach().cpu()}
    if call.training:
        found |= {f"running {name}": s.cpu() for name, s in statistics._asdict().items()}
    if call.gradients:
        gradients = torch.autograd.grad(result, leaves, _make_gradient(result))
        names = ("x", *BlockParameters._fields[:-1], *(f"depthwise {w.shape[2]}" for w in parameters.depthwise))
        found |= {f"gradient of {name}": g.cpu() for name, g in zip(names, gradients, strict=True)}
    return found


def _make_gradient(result: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(result.shape, generator=generator, dtype=torch.float64).to(result)


def _move(inputs: BlockInputs, dtype: torch.dtype | None, device: torch.device | None = None) -> BlockInputs:
    x, parameters, statistics = inputs
    moved = BlockParameters.from_flat([t.to(device, dtype) for t in parameters.flat])
    return BlockInputs(x.to(device, dtype), moved, BlockStatistics(*(s.to(device, dtype) for s in statistics)))


def _format(inputs: BlockInputs, form: torch.memory_format) -> BlockInputs:
    return inputs._replace(x=inputs.x.contiguous(memory_format=form))

"""Compares an implementation of norm_prelu with the reference."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from abawkit.ops.base import Call, NormArguments, NormImplementation
from abawkit.ops.norm_prelu_reference import NormReference
from abawkit.ops.norm_prelu_tensors import NormParameters, NormSizes, NormStatistics
from abawkit.ops.self_check import FORMATS, TOLERANCES, Comparison, describe_format, measure_relative_errors
from abawkit.ops.testing import NormInputs, make_random_norm

NORM_SIDES = ((9, 6), (1, 1), (28, 28))
"""Heights and widths of the compared inputs."""


def compare_norm(implementation: NormImplementation, call: Call, images: Sequence[int]) -> Iterator[Comparison]:
    """Compares the result, and where they are part of the call, running statistics and gradients.

    In float64 for the values, and in the call's type for the allowed error: twice the reference's own, and
    `TOLERANCES`.
    """
    if not isinstance(call.sizes, NormSizes):
        raise TypeError(f"got a call of {call.sizes.operator}, expected one of norm_prelu")
    for count in images:
        for side in NORM_SIDES:
            inputs = make_random_norm(count, call.sizes, side, dtype=call.dtype)
            exact = compute_norm(NormReference(), inputs.to(torch.float64), call)
            formed = [inputs._replace(x=inputs.x.contiguous(memory_format=form)) for form in FORMATS]
            own = [measure_relative_errors(compute_norm(NormReference(), each, call), exact) for each in formed]
            for form, given in zip(FORMATS, formed, strict=True):
                found = compute_norm(implementation, given.to(call.dtype, call.device), call)
                words = f"{count} images of {side[0]} x {side[1]}, {describe_format(form)}"
                for name, error in measure_relative_errors(found, exact).items():
                    bound = 2 * max(each[name] for each in own) + TOLERANCES[call.dtype]
                    yield Comparison(f"{name} of {words}", error, bound)


def compute_norm(implementation: NormImplementation, inputs: NormInputs, call: Call) -> dict[str, Tensor]:
    """Runs one call on the inputs' device: the result, running statistics and gradients by name, on the CPU."""
    statistics = NormStatistics(*(s.clone() for s in inputs.statistics))
    leaves = [t.detach().requires_grad_(call.gradients) for t in (inputs.x, *inputs.parameters)]
    result = implementation.forward(NormArguments(leaves[0], NormParameters(*leaves[1:]), statistics, call.training))
    found = {"result": result.detach().cpu()}
    if call.training:
        found |= {f"running {name}": s.cpu() for name, s in statistics._asdict().items()}
    if call.gradients:
        generator = torch.Generator().manual_seed(1)
        end = torch.randn(result.shape, generator=generator, dtype=torch.float64).to(result)
        names = ("x", *NormParameters._fields)
        gradients = torch.autograd.grad(result, leaves, end)
        found |= {f"gradient of {name}": g.cpu() for name, g in zip(names, gradients, strict=True)}
    return found

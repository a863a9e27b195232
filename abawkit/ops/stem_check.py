"""Compares an implementation of the stem with the reference."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from abawkit.ops.base import EPS, Call, StemImplementation
from abawkit.ops.self_check import FORMATS, TOLERANCES, Comparison, describe_format, measure_relative_errors
from abawkit.ops.stem_reference import StemReference
from abawkit.ops.stem_tensors import StemSizes
from abawkit.ops.testing import StemInputs, make_random_stem

STEM_SIDES = ((9, 6), (1, 1), (28, 28))
"""Heights and widths of the compared inputs."""


def compare_stem(implementation: StemImplementation, call: Call, images: Sequence[int]) -> Iterator[Comparison]:
    """Compares the results, also of one image alone.

    In float64 for the values, and in the call's type for the allowed error: twice the reference's own, and
    `TOLERANCES`.
    """
    sizes = call.sizes
    if not isinstance(sizes, StemSizes):
        raise TypeError(f"got a call of {sizes.operator}, expected one of stem")
    for count in (1, *images):
        for side in STEM_SIDES:
            inputs = make_random_stem(count, sizes, side, dtype=call.dtype)
            exact = {"result": compute_stem(StemReference(), inputs.to(torch.float64), sizes)}
            formed = [inputs._replace(x=inputs.x.contiguous(memory_format=form)) for form in FORMATS]
            own = [{"result": compute_stem(StemReference(), each, sizes)} for each in formed]
            allowed = 2 * max(measure_relative_errors(each, exact)["result"] for each in own) + TOLERANCES[call.dtype]
            for form, given in zip(FORMATS, formed, strict=True):
                found = {"result": compute_stem(implementation, given.to(call.dtype, call.device), sizes)}
                error = measure_relative_errors(found, exact)["result"]
                words = f"result of {count} images of {side[0]} x {side[1]}, {describe_format(form)}"
                yield Comparison(words, error, allowed)


@torch.no_grad()
def compute_stem(implementation: StemImplementation, inputs: StemInputs, sizes: StemSizes) -> Tensor:
    """Runs one call on the inputs' device: the result, on the CPU."""
    x, parameters, statistics = inputs
    return implementation.infer(x, implementation.fold(parameters, statistics, sizes, eps=EPS)).cpu()

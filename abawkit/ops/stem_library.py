"""The native stem in torch: schema and shape of its operator.

`csrc/binding/stem.cpp` calls the kernel; `csrc/kernels/stem.h` describes each tensor.
"""

from typing import Final

import torch
from torch import Tensor

from abawkit.ops.mixed_block_library import find_output_side, make_channels_last
from abawkit.ops.torch_library import LIBRARY

LIBRARY.define(  # type: ignore[no-untyped-call]
    "stem_infer(Tensor x, Tensor weights, int channels, int kernel, int stride, int depthwise) -> Tensor"
)

INFER_STEM: Final = torch.ops.abawkit.stem_infer.default


def _fake_stem(x: Tensor, weights: Tensor, channels: int, kernel: int, stride: int, depthwise: int) -> Tensor:
    del weights, kernel, depthwise
    return make_channels_last(x, channels, *(find_output_side(side, stride) for side in x.shape[2:]))


torch.library.register_fake("abawkit::stem_infer", _fake_stem, lib=LIBRARY)

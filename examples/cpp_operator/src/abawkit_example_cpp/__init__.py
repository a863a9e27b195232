"""Dual-direction attention for evaluation, whose pooling is a loop in C++ and CUDA."""

from pathlib import Path

import torch
from torch import Tensor

from abawkit.ops import Gates, Parameters, Statistics
from abawkit.ops.base import Arguments, Call, Implementation
from abawkit.ops.tensors import fold_batch_norms

torch.ops.load_library(LIBRARY := next(Path(__file__).parent.glob("_pool*.so")))  # type: ignore[no-untyped-call]
torch.library.register_fake("abawkit_example_cpp::pool")(lambda x, *_: x.new_empty(x.shape[:2]))


class Cpp(Implementation):
    """The small sums are torch's; the features are read once for the strongest map, its product and the pooling."""

    name = "example/cpp"
    summary = "a loop in C++ and CUDA, for evaluation"
    priority = -1

    def reasons(self, call: Call) -> list[str]:
        if not torch._C._dispatch_has_kernel_for_dispatch_key("abawkit_example_cpp::pool", call.device.type.upper()):
            return [f"it was built without {call.device.type}"]
        return [] if self.is_meant_for(call) else ["it is for evaluation in float32, without gradients"]

    def is_meant_for(self, call: Call) -> bool:
        return call.dtype == torch.float32 and not (call.training or call.gradients)

    def fingerprint(self, device: torch.device) -> str:
        return f"{super().fingerprint(device)} {LIBRARY.stat().st_mtime_ns}"

    def fold(self, parameters: Parameters, statistics: Statistics, *, eps: float) -> list[Tensor]:
        p, k = parameters, len(parameters.row_weight)
        *sums, pool = fold_batch_norms(p, statistics, eps)
        gates = (p.row_gate_weight, p.row_gate_bias), (p.column_gate_weight, p.column_gate_bias)
        pairs = [(weight.reshape(k, -1, weight.shape[1]), bias.view(k, -1, 1)) for weight, bias in (*sums, *gates)]
        return [tensor.detach().float().contiguous() for pair in (*pairs, pool) for tensor in pair]

    def infer(self, features: Tensor, folded: list[Tensor], *, gates: bool) -> tuple[Tensor, Gates | None]:
        x, (rw, rb, cw, cb, sw, sb, gw, gb, qw, qb, *pool) = features.contiguous(), folded
        sums = torch.einsum("nchw,kcw->nkch", x, rw) + rb, torch.einsum("nchw,kch->nkcw", x, cw) + cb
        hidden = torch.split(torch.nn.functional.hardswish(sw @ torch.cat(sums, 3) + sb), list(x.shape[2:]), 3)
        found = Gates(*((w @ t + b).sigmoid() for w, b, t in zip((gw, qw), (gb, qb), hidden, strict=True)))
        return torch.ops.abawkit_example_cpp.pool(x, *found, *pool), found if gates else None

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        x, parameters, statistics, _, _, eps, gates = arguments  # of evaluation, so there are statistics
        return self.infer(x, self.fold(parameters, statistics, eps=eps), gates=gates)  # type: ignore[arg-type]

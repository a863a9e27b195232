"""The native operators in torch: schemas, shapes, gradients and autocast; `mixed_block_library` has the mixed block's.

`csrc/binding/` calls the kernels; `csrc/kernels/dda.h` describes each tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from abawkit.ops.processes import call_shared
from abawkit.ops.tensors import Sizes

LIBRARY: Final = torch.library.Library("abawkit", "DEF")  # type: ignore[no-untyped-call]
_define: Callable[[str], object] = LIBRARY.define
_implement: Callable[[str, Callable[..., Any], str], object] = LIBRARY.impl

_define(
    "dda_inference(Tensor features, Tensor folded, int heads, int squeezed, bool gates) -> (Tensor, Tensor, Tensor)"
)
_define(
    "dda_forward(Tensor features, Tensor[] parameters, Tensor? given, float eps, bool gates,"
    " bool synchronised=False)"
    " -> (Tensor embedding, Tensor rows, Tensor columns, Tensor squeezed, Tensor pooled, Tensor statistics)"
)
_define(
    "dda_backward(Tensor grad_embedding, Tensor? grad_rows, Tensor? grad_columns, Tensor features,"
    " Tensor[] parameters, Tensor squeezed, Tensor pooled, Tensor statistics, bool batch_statistics, float eps,"
    " bool synchronised=False) -> Tensor[]"
)
_define("dda_update(Tensor(a!)[] running, Tensor statistics, int images, int height, int width, float momentum) -> ()")

_OPS = torch.ops.abawkit


def choose_compute_type(features: torch.dtype) -> torch.dtype:
    """The type of sums and parameters."""
    return torch.float64 if features == torch.float64 else torch.float32


def is_dense(features: Tensor) -> bool:
    """Whether kernels read these features without a copy."""
    return features.is_contiguous() or features.is_contiguous(memory_format=torch.channels_last)


def _make_gates(features: Tensor, heads: int, wanted: bool) -> tuple[Tensor, Tensor]:
    n, c, h, w = features.shape
    n = n if wanted else 0
    return features.new_empty((n, heads, c, h)), features.new_empty((n, heads, c, w))


def _fake_inference(
    features: Tensor, folded: Tensor, heads: int, squeezed: int, gates: bool
) -> tuple[Tensor, Tensor, Tensor]:
    del folded, squeezed
    return (features.new_empty(features.shape[:2]), *_make_gates(features, heads, gates))


def _fake_forward(
    features: Tensor,
    parameters: list[Tensor],
    given: Tensor | None,
    eps: float,
    gates: bool,
    synchronised: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    del given, eps, synchronised
    n, c, h, w = features.shape
    heads = parameters[0].shape[0]
    squeezed = parameters[7].shape[0] // heads
    dtype = choose_compute_type(features.dtype)
    return (
        features.new_empty((n, c)),
        *_make_gates(features, heads, gates),
        features.new_empty((n, heads, h + w, squeezed), dtype=dtype),
        features.new_empty((n, c), dtype=dtype),
        features.new_empty((2, 2 * heads * c + heads * squeezed + c), dtype=dtype),
    )


def _fake_backward(
    grad_embedding: Tensor,
    grad_rows: Tensor | None,
    grad_columns: Tensor | None,
    features: Tensor,
    parameters: list[Tensor],
    *_: Any,
) -> list[Tensor]:
    del grad_embedding, grad_rows, grad_columns
    own = torch.empty_like(features) if is_dense(features) else features.new_empty(features.shape)
    return [own, *(p.new_empty(p.shape) for p in parameters)]


for _name, _fake in (
    ("inference", _fake_inference),
    ("forward", _fake_forward),
    ("backward", _fake_backward),
    ("update", lambda *_: None),
):
    torch.library.register_fake(f"abawkit::dda_{_name}", _fake, lib=LIBRARY)


class _Forward(torch.autograd.Function):
    """Gradients of `dda_forward`. `torch.library.register_autograd` costs lists of tensors four times as much."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        given: Tensor | None,
        eps: float,
        gates: bool,
        synchronised: bool,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            arguments = features, list(parameters), given, eps, gates, synchronised
            outputs: tuple[Tensor, ...] = call_shared(_FORWARD, *arguments)
        ctx.save_for_backward(features, *parameters, *outputs[3:])
        ctx.options, ctx.gates = (given is None, eps, synchronised), gates
        ctx.mark_non_differentiable(*outputs[3:])
        ctx.set_materialize_grads(False)
        return outputs

    @staticmethod
    def backward(
        ctx: Any, embedding: Tensor | None, rows: Tensor | None, columns: Tensor | None, *_: Any
    ) -> tuple[Tensor | None, ...]:
        features, *parameters, squeezed, pooled, statistics = ctx.saved_tensors
        if embedding is None:
            embedding = features.new_zeros(features.shape[:2])
        rows, columns = (rows, columns) if ctx.gates else (None, None)
        saved = (squeezed, pooled, statistics)
        # As in `forward` below: compiled autograd traces operators, not what is in them.
        compute = _BACKWARD if torch.compiler.is_compiling() else _backward
        own, *others = compute(embedding, rows, columns, features, parameters, *saved, *ctx.options)
        return own, None, None, None, None, *others


def _forward(
    features: Tensor,
    parameters: Sequence[Tensor],
    given: Tensor | None,
    eps: float,
    gates: bool,
    synchronised: bool = False,
) -> tuple[Tensor, ...]:
    apply: Callable[..., tuple[Tensor, ...]] = _Forward.apply
    return apply(features, given, eps, gates, synchronised, *parameters)


class _Backward(torch.autograd.Function):
    """Raises an error for a second derivative."""

    @staticmethod
    def forward(ctx: Any, arguments: tuple[Any, ...], *tensors: Tensor) -> tuple[Tensor, ...]:
        del ctx, tensors
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(call_shared(_BACKWARD, *arguments))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        del ctx, gradients
        raise RuntimeError(
            "abawkit's native dual-direction attention has no second derivative; use the reference: --ops reference, "
            "or abawkit.ops.use('reference')"
        )


def _backward(*arguments: Any) -> list[Tensor]:
    if not torch.is_grad_enabled():
        with torch._C._AutoDispatchBelowAutograd():
            found: list[Tensor] = call_shared(_BACKWARD, *arguments)
            return found
    flat = [t for a in arguments for t in (a if isinstance(a, list) else [a]) if isinstance(t, Tensor)]
    return list(_Backward.apply(arguments, *flat))  # type: ignore[no-untyped-call]


INFERENCE: Final = _OPS.dda_inference.default
_FORWARD: Final = _OPS.dda_forward.default
_BACKWARD: Final = _OPS.dda_backward.default
_UPDATE: Final = _OPS.dda_update.default
_implement("dda_forward", _forward, "Autograd")
_implement("dda_backward", _backward, "Autograd")
_implement("dda_update", torch.library.fallthrough_kernel, "Autograd")


def _implement_autocast(name: str, device: str) -> None:
    """Casts features to autocast's type, as convolutions do; weights and sums keep their own."""
    operator = getattr(_OPS, name)
    keys = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, f"Autocast{device.upper()}"))

    def kernel(features: Tensor, *rest: Any) -> Any:
        if features.dtype in (torch.float32, torch.float16, torch.bfloat16):
            features = features.to(torch.get_autocast_dtype(device))
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return operator(features, *rest)

    _implement(name, kernel, f"Autocast{device.upper()}")


for _name in ("dda_inference", "dda_forward"):
    for _device in ("cpu", "cuda"):
        _implement_autocast(_name, _device)


def forward(
    features: Tensor,
    parameters: Sequence[Tensor],
    given: Tensor | None,
    eps: float,
    gates: bool,
    *,
    synchronised: bool = False,
) -> tuple[Tensor, ...]:
    """`dda_forward`; skips torch's dispatcher where it would only call `_forward`.

    Args:
        features: (N, C, H, W).
        parameters: As `abawkit.ops.tensors.Parameters`, of the type of `choose_compute_type`.
        given: From `abawkit.ops.tensors.Statistics.flat`, or None for those of the batch.
        eps: Added to variances.
        gates: Whether to compute the gates.
        synchronised: Whether the norms take the statistics of all processes of `abawkit.ops.processes.share_batch`; on
            CPUs only.

    Returns:
        Embedding, gates of rows, gates of columns, two tensors for the backward pass, and the statistics.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(features.device.type):
        given_all = features, list(parameters), given, eps, gates, synchronised
        found: tuple[Tensor, ...] = call_shared(_FORWARD, *given_all)
        return found
    return _forward(features, parameters, given, eps, gates, synchronised)


def update(running: Sequence[Tensor], statistics: Tensor, images: int, sizes: Sizes, momentum: float) -> None:
    """`abawkit.ops.tensors.update_statistics` on CPUs; `statistics` are the last result of `forward`."""
    _UPDATE(list(running), statistics, images, sizes.height, sizes.width, momentum)
    torch.autograd.graph.increment_version(running)  # a kernel on the stable ABI can't

"""What goes between host and device, counted with tensors on the device `meta`: they have no values, need no GPU."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WITHOUT_META = ("aten::_fused_adam_", "aten::_fused_adamw_")
"""Operations that change their arguments in place, and that torch can't run without values."""


class HostTraffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations within its block.

    Attributes:
        copies_in: Operations with tensors of the host and of the device whose result is on the device, by name.
        copies_out: Those whose result is on the host.
        others: Operations that only a host can answer: a number out of a tensor, or a shape that depends on values.
        operations: All operations on the device.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.copies_in: Counter[str] = Counter()
        self.copies_out: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    def counts(self) -> dict[str, int]:
        """Every operation that has to do with the host, and how often it ran."""
        return dict(self.copies_in + self.copies_out + self.others)

    def __torch_dispatch__(
        self,
        func: OpOverload[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls the operation and counts it."""
        del types
        name = func._schema.name
        result = None if name in _WITHOUT_META else func(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and (t.ndim or not t.is_cpu)]
        came = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        devices = {t.device.type for t in (*given, *came)}
        if len(devices) > 1:
            (self.copies_out if any(t.is_cpu for t in came) else self.copies_in)[name] += 1
        elif name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal"):
            self.others[name] += 1
        if "meta" in devices:
            self.operations[name] += 1
        return result

"""What was asked of the stand-in runtime, read from Python."""

import ctypes
import os
import re
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple


@cache
def _library() -> ctypes.CDLL:
    import torch  # it loads the library

    folder = Path(torch.__file__).parent / "lib"
    library = ctypes.CDLL(str(next(folder.glob("libcudart.so.*"))))
    for name in ("standin_counts", "standin_operators"):
        getattr(library, name).restype = ctypes.c_size_t
        getattr(library, name).argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return library


def _lines(name: str) -> list[list[str]]:
    read: Callable[[ctypes.Array[ctypes.c_char] | None, int], int] = getattr(_library(), name)
    size = read(None, 0)
    text = ctypes.create_string_buffer(size)
    read(text, size)
    return [line.split("\t") for line in text.value.decode().splitlines()]


def clear_calls() -> None:
    """Forgets what was asked before."""
    _library().standin_clear()


def read_counts() -> Counter[str]:
    """Calls of each kind since `clear_calls`."""
    return Counter({call: int(times) for call, times in _lines("standin_counts")})


_queued: list[Any] = []  # functions that a graph may call for as long as the process lives


def queue_host_function(stream: int, function: Callable[[], None]) -> None:
    """Makes a function part of the graph that a stream is being captured into.

    Args:
        stream: Address of the stream.
        function: Called whenever the graph is replayed. An exception ends the process.
    """

    def call() -> None:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            os._exit(70)

    _queued.append(ctypes.CFUNCTYPE(None)(call))
    if error := _library().standin_queue(ctypes.c_void_p(stream), _queued[-1]):
        raise RuntimeError(f"CUDA error {error} of the stand-in runtime")


class OperatorCall(NamedTuple):
    """An operator of abawkit's as it reached the runtime.

    Attributes:
        name: ``inference``, ``forward`` or ``backward``.
        stream: Address of the stream; 0 for the default stream.
        device: Index of the device that was current.
    """

    name: str
    stream: int
    device: int


def read_operators() -> list[OperatorCall]:
    """Operators since `clear_calls`, in their order."""
    return [
        OperatorCall(name, int(stream, 16) if stream != "0" else 0, int(device))
        for name, stream, device in _lines("standin_operators")
    ]


@dataclass
class Costs:
    """What a piece of work asks of a GPU and its host.

    Attributes:
        kernels: Kernels launched, those of torch.
        library_calls: Calls of cuBLAS and cuDNN that compute.
        operators: Operators of abawkit.
        synchronisations: Calls that wait for the device.
        copies_in_pageable: Copies from pageable memory to the device, each of which stalls the host.
        copies_in_pinned: Copies from pinned memory to the device.
        copies_out: Copies from the device.
        copies_within: Copies on the device.
        fills: Fills of memory on the device.
        allocations: Of memory of the device, which wait for it.
        by_kernel: Launches by the kernel's name.
    """

    kernels: int = 0
    library_calls: int = 0
    operators: int = 0
    synchronisations: int = 0
    copies_in_pageable: int = 0
    copies_in_pinned: int = 0
    copies_out: int = 0
    copies_within: int = 0
    fills: int = 0
    allocations: int = 0
    by_kernel: Counter[str] = field(default_factory=Counter, repr=False)

    @property
    def copies_in(self) -> int:
        """All copies to the device."""
        return self.copies_in_pageable + self.copies_in_pinned


def summarise(counts: Counter[str], operators: int) -> Costs:
    """Counts of the runtime by what they cost."""
    return Costs(
        kernels=counts["kernel"],
        library_calls=counts["library call"],
        operators=operators,
        synchronisations=sum(n for call, n in counts.items() if call.startswith("synchronisation")),
        copies_in_pageable=counts["copy in, pageable"],
        copies_in_pinned=counts["copy in, pinned"],
        copies_out=counts["copy out, pageable"] + counts["copy out, pinned"],
        copies_within=counts["copy on the device"],
        fills=counts["fill"],
        allocations=counts["allocation on the device"],
        by_kernel=Counter(
            {re.sub("^kernel ", "", call): n for call, n in counts.items() if call.startswith("kernel ")}
        ),
    )


@contextmanager
def count_calls() -> Iterator[Costs]:
    """What the block asks of the runtime, filled in at its end."""
    clear_calls()
    costs = Costs()
    yield costs
    found = summarise(read_counts(), len(read_operators()))
    costs.__dict__.update(found.__dict__)

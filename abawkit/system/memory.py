"""The C library's allocator, set up for tensors that are allocated and freed in each step of training or prediction."""

import ctypes
import os
from functools import cache
from typing import Final

_MMAP_THRESHOLD: Final = -3
_TRIM_THRESHOLD: Final = -1
_TOP_PAD: Final = -2
"""Numbers of the parameters of ``mallopt``. Source: ``malloc.h`` of the GNU C library."""

_LIMIT: Final = 2**30
"""Blocks of up to this many bytes are kept."""

_OLD_LIMIT: Final = 2**25
"""The highest threshold that a GNU C library before 2.36 takes, for 64 bits."""


@cache
def keep_freed_memory() -> bool:
    """Tells the GNU C library's allocator to keep memory that this process frees, in place of giving it to the system.

    By default a large block (above a threshold that grows up to 32 MiB) comes from the system, filled with zeros, and
    goes back when it is freed: in a step of training that costs a page fault for each 4 KiB of such a tensor. With
    this, the process keeps the memory of its largest step until it ends. Calls after the first do nothing.

    Returns:
        Whether the allocator was set: not where a user has set it (``MALLOC_...``, ``GLIBC_TUNABLES``), and not where
        the C library is another one.

    Source: ``mallopt(3)``; ``benchmarks/allocator.py`` measures the gain.
    """
    if "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    if not mallopt(_MMAP_THRESHOLD, _LIMIT) and not mallopt(_MMAP_THRESHOLD, _OLD_LIMIT):
        return False
    return bool(mallopt(_TRIM_THRESHOLD, 2**31 - 1)) and bool(mallopt(_TOP_PAD, 2**26))

"""How the threads that torch computes with wait for each other: spinning for a moment, then asleep."""

import os
from typing import Final

_WAITING: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
"""Variables with which a user says how threads wait."""

SPINS: Final = 5_000
"""Turns of a thread that waits before it sleeps: enough for threads that end about together."""


def shorten_spinning() -> None:
    """Has threads sleep soon while they wait for another one; call it before torch is imported.

    GNU OpenMP has them spin for 300,000 turns. Where another program takes one of the cores, the thread that the others
    wait for has to wait for its turn there, while theirs is spent on spinning, at every operation of the network. To
    sleep at once is slow where nothing else runs. `benchmarks/waiting_threads.py` measures both.

    Nothing happens where a variable says how threads wait. The programs that this one starts wait in the same way.

    Source: ``GOMP_SPINCOUNT`` in the manual of GNU libgomp; it is read when the library is loaded.
    """
    if not any(name in os.environ for name in _WAITING):
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)

"""Signals that become exceptions: whose handlers are replaced, and that they come back."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from abawkit.errors import StoppedError
from abawkit.system.signals import SIGNALS, raise_on_signals


@pytest.fixture
def handler() -> Iterator[list[int]]:
    """A handler of the calling program: the numbers of the signals that reach it."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)

    before = {number: signal.signal(number, receive) for number in SIGNALS if number != signal.SIGINT}
    yield received
    for number, old in before.items():
        signal.signal(number, old)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 75), (signal.SIGUSR2, 75)],
)
def test_a_signal_ends_the_block_and_the_callers_handler_comes_back(
    handler: list[int], number: signal.Signals, code: int
) -> None:
    with pytest.raises(StoppedError, match=f"^stopped by {number.name}; again$") as caught, raise_on_signals("; again"):
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    signal.raise_signal(number)
    assert handler == [number]


def stop_in_two_blocks() -> None:
    with raise_on_signals():
        with pytest.raises(StoppedError, match=r"; again$"), raise_on_signals("; again"):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)


def test_blocks_within_each_other_raise_with_the_message_of_the_inner_one(handler: list[int]) -> None:
    with pytest.raises(StoppedError, match=r"SIGTERM$"):
        stop_in_two_blocks()
    assert handler == []


def stop_where_any_exception_is_taken() -> None:
    with raise_on_signals():
        try:
            signal.raise_signal(signal.SIGUSR1)
        except Exception as error:
            raise RuntimeError("a damaged file") from error


def test_code_that_takes_any_exception_for_one_of_its_own_does_not_take_a_signal(handler: list[int]) -> None:
    with pytest.raises(StoppedError, match=r"^stopped by SIGUSR1$") as caught:
        stop_where_any_exception_is_taken()
    assert caught.value.exit_code == 75
    assert handler == []


def test_a_signal_that_is_ignored_stays_ignored(handler: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with raise_on_signals():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

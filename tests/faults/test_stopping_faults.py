"""The first signal asks, haste ends the process at once, and afterwards signals do what they did before."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from abawkit.system.signals import SIGNALS, stop_on_signals

pytestmark = pytest.mark.faults

STOPS = """
import signal, sys
from abawkit.system import signals
from abawkit.system.signals import stop_on_signals
signals.PATIENCE = float(sys.argv[1]) if sys.argv[1:] else signals.PATIENCE
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests were started with
signal.signal(signal.SIGTERM, signal.SIG_DFL)
try:
    with stop_on_signals() as stop:
        print("began", stop.signal, flush=True)
        sys.stdin.readline()
        print("went on", stop.signal, stop.name, flush=True)
        sys.stdin.readline()
    print("ended", flush=True)
    sys.stdin.readline()
finally:
    print("cleaned up", flush=True)
"""

signals = pytest.mark.parametrize("number", SIGNALS)


@signals
def test_the_first_signal_is_noted_and_the_block_goes_on(beside: Callable[..., Any], number: int) -> None:
    program = beside(STOPS)
    assert program.hear() == "began 0"
    program.signal(number)
    program.tell()
    assert program.hear() == f"went on {number} {signal.Signals(number).name}"
    program.tell()
    assert program.hear() == "ended"
    program.tell()
    assert program.hear() == "cleaned up"
    assert program.ends() == 0


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_disturbs_nothing(beside: Callable[..., Any], first: int, second: int) -> None:
    program = beside(STOPS, stderr=subprocess.DEVNULL)
    program.hear()
    program.signal(first)
    program.tell()
    assert program.hear().startswith("went on")
    program.signal(second)
    program.tell()
    assert program.hear() == "ended"
    program.tell()
    assert program.hear() == "cleaned up"
    assert program.ends() == 0


@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_long_after_the_first_ends_the_process_at_once(
    beside: Callable[..., Any], second: int, code: int
) -> None:
    program = beside(STOPS, "0", stderr=subprocess.DEVNULL)
    program.hear()
    program.signal(signal.SIGTERM)
    program.tell()
    assert program.hear().startswith("went on")
    program.signal(second)
    assert program.hear() == ""
    assert program.ends() == code


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "cleaned up"), (signal.SIGTERM, "")])
def test_after_the_block_a_signal_does_what_it_did_before(beside: Callable[..., Any], number: int, said: str) -> None:
    program = beside(STOPS, stderr=subprocess.DEVNULL)
    program.hear()
    program.signal(number)
    program.tell()
    program.hear()
    program.tell()
    assert program.hear() == "ended"
    program.signal(number)
    assert program.hear() == said
    assert program.ends() == -number


@pytest.fixture
def on_terminal(beside: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
    """The program, with a terminal for its standard error, and the terminal's other side."""
    screen, terminal = os.openpty()
    yield beside(STOPS, stderr=terminal), screen
    os.close(screen)
    os.close(terminal)


@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_interrupt_on_a_terminal_ends_the_process_and_brings_a_hidden_cursor_back(
    on_terminal: tuple[Any, int], first: int
) -> None:
    program, screen = on_terminal
    program.hear()
    for number in (first, signal.SIGINT, signal.SIGINT)[first == signal.SIGINT :]:
        program.signal(number)
        time.sleep(0.05)  # two of a kind that wait are one
    assert program.ends() == 130
    assert os.read(screen, 100).startswith(b"\x1b[?25h")


def test_an_interrupt_that_torchrun_forwards_is_not_a_second_one(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    program, _ = request.getfixturevalue("on_terminal")
    program.hear()
    program.signal(signal.SIGINT)  # from the terminal
    program.tell()
    assert program.hear().startswith("went on")
    program.signal(signal.SIGINT)
    program.tell()
    assert program.hear() == "ended"


@pytest.mark.parametrize("error", [None, RuntimeError(), KeyboardInterrupt()])
def test_the_handlers_come_back_however_the_block_ends(error: BaseException | None) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with suppress(RuntimeError, KeyboardInterrupt), stop_on_signals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
        if error:
            raise error
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_blocks_can_stand_in_each_other() -> None:
    with stop_on_signals() as outer:
        with stop_on_signals() as inner:
            signal.raise_signal(signal.SIGTERM)
        assert (inner.signal, outer.signal) == (signal.SIGTERM, 0)
        signal.raise_signal(signal.SIGINT)
        assert (inner.signal, outer.signal) == (signal.SIGTERM, signal.SIGINT)

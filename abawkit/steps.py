"""Commands as the steps of something larger: the demo, a submission, an ablation. A user can run each alone as well."""

import json
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import IO, Any, Final, TypeVar

from abawkit.errors import AbawkitError, StoppedError

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
"""What ends a command besides Ctrl-C, which is an exception already."""

_Work = TypeVar("_Work")


class StepError(AbawkitError):
    """A command failed; its own message stands above."""

    def __init__(self, arguments: Sequence[str], code: int) -> None:
        super().__init__(f"`abawkit {shlex.join(arguments)}` ended with exit code {code}")
        self.exit_code = code


def run_together(commands: Sequence[list[str]], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs commands of abawkit at the same time, each in a process of its own.

    Ctrl-C, SIGTERM and SIGHUP end them all: each is asked once, so that a run in training can save what it has done.

    Args:
        commands: The arguments of each, as a user would type them behind ``abawkit``.
        say: Called with each command before, and once after.

    Returns:
        What each printed with ``--json``.

    Raises:
        StepError: If one ends with an error; its own message was said. All others have ended then.
        StoppedError: If a signal ended them.
    """
    began = time.monotonic()
    processes: list[subprocess.Popen[str]] = []
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in commands]
        # One process alone may draw its bar; the lines of several would mix.
        errors = [
            stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace"))
            for _ in commands[1:] and commands
        ]
        stack.enter_context(_signals_raise())
        try:
            for i, arguments in enumerate(commands):
                say(f"$ abawkit {shlex.join(arguments)}")
                processes.append(_start(arguments, outputs[i], errors[i] if errors else None))
            for process in processes:
                process.wait()
        except BaseException:
            _end(processes)
            raise
        for i, (process, arguments) in enumerate(zip(processes, commands, strict=True)):
            if process.returncode:
                say(_text(errors[i]) if errors else "")
                raise StepError(arguments, process.returncode)
        say(f"  done in {time.monotonic() - began:.0f} s")
        return [json.loads(_text(file)) for file in outputs]


def waves(work: Sequence[_Work], size: int) -> Iterator[Sequence[_Work]]:
    """Work in its order, `size` pieces at a time: what runs together."""
    for start in range(0, len(work), size):
        yield work[start : start + size]


def _start(arguments: list[str], out: IO[str], errors: IO[str] | None) -> subprocess.Popen[str]:
    """Starts a command in a process group of its own: Ctrl-C reaches it through this process alone, and so only once.

    A run that gets a second signal ends at once, without saving.
    """
    command = [sys.executable, "-m", "abawkit", *arguments, "--json"]
    return subprocess.Popen(  # noqa: S603 - the commands are abawkit's own
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, text=True, process_group=0
    )


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    """Asks processes to end, and waits until they have; who interrupts that, too, ends them at once."""
    try:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    except BaseException:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        raise


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Makes an exception of the signals that would end this process and leave those that it has started behind."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise StoppedError(f"stopped by {signal.Signals(number).name}; the same command goes on from here", number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return
    taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores SIGHUP
    before = {number: signal.signal(number, stop) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()

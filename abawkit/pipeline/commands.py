"""Commands as the steps of something larger: the demo, a submission, an ablation. A user can run each alone as well."""

import json
import os
import selectors
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import IO, Any, Final, TypeVar

from abawkit.errors import AbawkitError
from abawkit.system.signals import raise_on_signals

PROGRESS: Final = "ABAWKIT_PROGRESS"
"""Environment variable of a step: the number of the open file that it reports its progress to, a JSON object a line."""

_POLL: Final = 0.2  # seconds between two looks at whether a process has ended

Event = dict[str, Any]
"""How far a step is, as it reports it."""

Watch = Callable[[Sequence[Sequence[str]]], AbstractContextManager[Callable[[int, Event], None]]]
"""Shows commands that run together: called with them, its block lasts as long as they run, and it gives what takes the
number of a command and each event that it reports."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)

_Work = TypeVar("_Work")


class StepError(AbawkitError):
    """A command failed; its own message stands above."""

    def __init__(self, arguments: Sequence[str], code: int) -> None:
        super().__init__(f"`abawkit {shlex.join(arguments)}` ended with exit code {code}")
        self.exit_code = code


@contextmanager
def watch_steps(watch: Watch) -> Iterator[None]:
    """Has the progress of all commands that `run_together` runs in the block shown."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def report_progress(event: Mapping[str, Any]) -> bool:
    """Tells the process that this one is a step of how far it is.

    Never waits, and never fails: what can't be told is left out.

    Returns:
        Whether this process is a step of one that wants to know.
    """
    number = os.environ.get(PROGRESS, "")
    if not number.isdecimal():
        return False
    with suppress(OSError):
        os.write(int(number), (json.dumps(event) + "\n").encode())
    return True


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
        stack.enter_context(raise_on_signals("; run the same command again to continue"))
        try:
            watch = _watch.get() if errors else None
            pipes = [_open_pipe(stack) for _ in commands if watch]
            for i, arguments in enumerate(commands):
                say(f"$ abawkit {shlex.join(arguments)}")
                told = pipes[i][1] if pipes else None
                processes.append(_start(arguments, outputs[i], errors[i] if errors else None, told))
            if watch:
                with watch(commands) as show:
                    _follow(processes, pipes, show)
            for process in processes:
                process.wait()
        except BaseException:
            _end(processes)
            raise
        for i, (process, arguments) in enumerate(zip(processes, commands, strict=True)):
            if process.returncode:
                say(_text(errors[i]) if errors else "")
                raise StepError(arguments, process.returncode)
        for line in dict.fromkeys(line for file in errors for line in _warnings(_text(file))):
            say(line)
        say(f"  done in {time.monotonic() - began:.0f} s")
        return [json.loads(_text(file)) for file in outputs]


def group_waves(work: Sequence[_Work], size: int) -> Iterator[Sequence[_Work]]:
    """Work in its order, `size` pieces at a time: what runs together."""
    for start in range(0, len(work), size):
        yield work[start : start + size]


def _open_pipe(stack: ExitStack) -> tuple[int, int]:
    """The two ends of a pipe that never blocks who writes; closed with the stack."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(_close, writing)
    os.set_blocking(writing, False)
    return reading, writing


def _close(descriptor: int) -> None:
    with suppress(OSError):  # it may be closed already
        os.close(descriptor)


def _follow(
    processes: Sequence[subprocess.Popen[str]], pipes: Sequence[tuple[int, int]], show: Callable[[int, Event], None]
) -> None:
    """Shows what processes report until all of them have ended."""
    rest = [b""] * len(pipes)
    with selectors.DefaultSelector() as selector:
        for i, (reading, _) in enumerate(pipes):
            selector.register(reading, selectors.EVENT_READ, i)
        while True:
            running = any(process.poll() is None for process in processes)
            ready = selector.select(_POLL if running else 0)
            for key, _ in ready:
                *lines, rest[key.data] = (rest[key.data] + os.read(key.fd, 1 << 16)).split(b"\n")
                for line in lines:
                    with suppress(ValueError):  # half of a line, where the pipe was full
                        show(key.data, json.loads(line))
            if not (running or ready):
                return


def _warnings(text: str) -> Iterator[str]:
    """The warnings among what a command said: its other lines were of its progress."""
    shown = False
    for line in text.splitlines():
        shown = line.startswith("warning: ") or (shown and line.startswith("  "))
        if shown:
            yield line


def _start(
    arguments: list[str], out: IO[str], errors: IO[str] | None, progress: int | None = None
) -> subprocess.Popen[str]:
    """Starts a command in a process group of its own: Ctrl-C reaches it through this process alone, and so only once.

    A run that gets a second signal ends at once, without saving.
    """
    command = [sys.executable, "-m", "abawkit", *arguments, "--json"]
    # A step of a step would write to a file that it was not given.
    variables = {name: value for name, value in os.environ.items() if name != PROGRESS}
    if progress is not None:
        variables[PROGRESS] = str(progress)
    return subprocess.Popen(  # noqa: S603 - the commands are abawkit's own
        command,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=errors,
        text=True,
        process_group=0,
        pass_fds=() if progress is None else (progress,),
        env=variables,
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


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()

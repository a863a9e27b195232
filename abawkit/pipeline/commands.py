"""Runs abawkit commands as the steps of a job (demo, submission, ablation), several at a time, with their progress."""

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
from dataclasses import dataclass
from typing import IO, Any, Final

from abawkit.errors import AbawkitError
from abawkit.system.files import count_processors
from abawkit.system.signals import raise_on_signals

PROGRESS: Final = "ABAWKIT_PROGRESS"
"""Environment variable of a step: number of the open file to report progress to, one JSON object per line."""

MAX_JOBS: Final = 4
"""Commands run at the same time unless more are requested: each holds a torch of its own in memory."""

_POLL: Final = 0.2  # seconds between two checks whether a process has ended

Event = dict[str, Any]
"""A progress report of a step."""

Watch = Callable[[Sequence[Sequence[str]]], AbstractContextManager[Callable[[int, Event], None]]]
"""Displays the progress of commands: called with the commands, it returns a context manager for the time that they run,
which yields a callback for the index of a command and each event that it reports."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)


class StepError(AbawkitError):
    """A command failed; it has printed its own message."""

    def __init__(self, arguments: Sequence[str], code: int) -> None:
        super().__init__(f"`abawkit {shlex.join(arguments)}` ended with exit code {code}")
        self.exit_code = code


@contextmanager
def watch_steps(watch: Watch) -> Iterator[None]:
    """Displays the progress of all commands that `run_together` runs in the block."""
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


def report_progress(event: Mapping[str, Any]) -> bool:
    """Reports progress to the process that runs this one as a step; never waits and never fails.

    Returns:
        Whether this process is such a step.
    """
    number = os.environ.get(PROGRESS, "")
    if not number.isdecimal():
        return False
    with suppress(OSError):
        os.write(int(number), (json.dumps(event) + "\n").encode())
    return True


def run_together(commands: Sequence[list[str]], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Runs commands of abawkit at the same time, each in a process of its own.

    Ctrl-C, SIGTERM and SIGHUP end them all: each is signalled once, so that a training run can save a checkpoint.

    Args:
        commands: The arguments of each, as a user would type them behind ``abawkit``.
        say: Called with each command before, and once after.

    Returns:
        What each printed with ``--json``.

    Raises:
        StepError: If one ends with an error, after all others have ended.
        StoppedError: If a signal ended them.
    """
    began = time.monotonic()
    processes: list[subprocess.Popen[str]] = []
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in commands]
        # Only a single process may draw its progress bar: the lines of several would mix.
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
                progress = pipes[i][1] if pipes else None
                processes.append(_start(arguments, outputs[i], errors[i] if errors else None, progress))
            if watch:
                with watch(commands) as show:
                    _show_progress(processes, pipes, show)
            for process in processes:
                process.wait()
        except BaseException:
            _end(processes)
            raise
        for i, (process, arguments) in enumerate(zip(processes, commands, strict=True)):
            if process.returncode:
                say(_read_back(errors[i]) if errors else "")
                raise StepError(arguments, process.returncode)
        for line in dict.fromkeys(line for file in errors for line in _find_warnings(_read_back(file))):
            say(line)
        say(f"  done in {time.monotonic() - began:.0f} s")
        return [json.loads(_read_back(file)) for file in outputs]


@dataclass(frozen=True)
class ExecutionOptions:
    """How the steps of a job are run; their results do not depend on it.

    Attributes:
        jobs: Processes at the same time; by default one per processor, at most `MAX_JOBS`.
        threads: CPU threads of each; by default an equal share of the processors.
        ops: Name of the operator implementation.
        allow_drift: Whether an interrupted run may continue under other conditions.
        force: Whether a run that was trained from other inputs is replaced.
        run: Runs commands at the same time.
        say: Called with lines for a person.
    """

    jobs: int | None = None
    threads: int | None = None
    ops: str | None = None
    allow_drift: bool = False
    force: bool = False
    run: Callable[[list[list[str]], Callable[[str], None]], list[dict[str, Any]]] = run_together
    say: Callable[[str], None] = lambda _: None

    def share(self, count: int) -> tuple[int, int]:
        """Processes at the same time, and threads of each.

        Args:
            count: All processes of the job, even if some are finished: the threads of a run, on which its bits depend,
                must not depend on what was done before.
        """
        jobs = max(1, min(self.jobs or min(count_processors(), MAX_JOBS), count))
        return jobs, self.threads or max(1, count_processors() // jobs)


def _open_pipe(stack: ExitStack) -> tuple[int, int]:
    """Opens a pipe whose writer never blocks: its reading and its writing end, closed with the stack."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(_close, writing)
    os.set_blocking(writing, False)
    return reading, writing


def _close(descriptor: int) -> None:
    with suppress(OSError):  # it may be closed already
        os.close(descriptor)


def _show_progress(
    processes: Sequence[subprocess.Popen[str]], pipes: Sequence[tuple[int, int]], show: Callable[[int, Event], None]
) -> None:
    """Displays what processes report until all of them have ended."""
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


def _find_warnings(text: str) -> Iterator[str]:
    """The warnings among the lines that a command printed; the others were of its progress."""
    shown = False
    for line in text.splitlines():
        shown = line.startswith("warning: ") or (shown and line.startswith("  "))
        if shown:
            yield line


def _start(
    arguments: list[str], out: IO[str], errors: IO[str] | None, progress: int | None = None
) -> subprocess.Popen[str]:
    """Starts a command in a process group of its own, so that Ctrl-C reaches it only once, through this process.

    A run that gets a second signal ends at once, without saving.
    """
    command = [sys.executable, "-m", "abawkit", *arguments, "--json"]
    # A step of a step must not write to a pipe that it did not inherit.
    variables = {name: value for name, value in os.environ.items() if name != PROGRESS}
    if progress is not None:
        variables[PROGRESS] = str(progress)
    return subprocess.Popen(  # noqa: S603 - abawkit's own commands
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
    """Terminates processes and waits for them; a second interrupt kills them."""
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


def _read_back(file: IO[str]) -> str:
    file.seek(0)
    return file.read()

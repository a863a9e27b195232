"""What every command does alike: errors become a message and an exit code, warnings become lines on stderr."""

import functools
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, ParamSpec, TextIO

import typer

from abawkit.cli.claims import claims_held
from abawkit.cli.streams import STDOUT, say_unwritten
from abawkit.errors import AbawkitError, DataError, DataWarning, OpWarning, ProblemsError, StoppedError, printable

P = ParamSpec("P")

_SHOWN = (DataWarning, OpWarning)


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Makes a function a command.

    `AbawkitError` ends it with its message on stderr and its exit code, an `OSError` with 3, both in JSON on stdout too
    where the command was called with ``--json``; Ctrl-C ends it with 130. A `DataWarning` or an `OpWarning` is a
    line on stderr. Anything else is a bug and keeps its traceback. SIGTERM and SIGHUP end it as Ctrl-C does, so that
    nothing half made is left; what the command claims (`abawkit.cli.claims`) is held until it ends.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            for category in _SHOWN:
                warnings.simplefilter("always", category)
            warnings.showwarning = _show_warning
            try:
                with _signals_raise(), claims_held():
                    function(*args, **kwargs)
            except AbawkitError as error:
                if kwargs.get("as_json"):
                    print_json(_as_json(error))
                say(str(error) if isinstance(error, StoppedError) else f"error: {error}")
                raise typer.Exit(error.exit_code) from error
            except BrokenPipeError:
                raise  # whoever read stdout has had enough: the command ends without a word
            except OSError as error:
                say_unwritten(error)
                if kwargs.get("as_json") and error.filename != STDOUT:
                    print_json({"error": str(error), "exit_code": DataError.exit_code})
                raise typer.Exit(DataError.exit_code) from error
            except KeyboardInterrupt as error:
                say("interrupted")
                raise typer.Exit(130) from error

    return wrapped


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Makes an exception of the signals that would end the process without leaving a block; those ignored stay so."""
    owner = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        if os.getpid() != owner:  # a process that was forked, which has nothing to leave
            os._exit(128 + number)
        raise StoppedError(f"stopped by {signal.Signals(number).name}", number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread has signals
        return
    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def print_json(content: Any) -> None:
    """Writes one JSON object on stdout."""
    print(json.dumps(content, indent=2, allow_nan=False))


def say(text: str) -> None:
    """Writes for a person, on stderr; what could disturb a terminal is escaped."""
    print("\n".join(printable(line) for line in text.split("\n")), file=sys.stderr)


def _as_json(error: AbawkitError) -> dict[str, Any]:
    content: dict[str, Any] = {"error": str(error), "exit_code": error.exit_code}
    if isinstance(error, ProblemsError):
        content["path"] = str(error.path)
        content["problems"] = [problem.as_dict() for problem in error.problems]
    return content


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del filename, lineno, file, line
    if issubclass(category, _SHOWN):
        say(f"warning: {message}")

"""The standard streams: usable whatever the caller left of them, whatever the locale, and named where they fail."""

import errno
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final

STDOUT: Final = "standard output"
"""How messages name the stream of results."""

NOT_WRITTEN: Final = 3
"""Exit code where results can't be written."""

READER_GONE: Final = 128 + signal.SIGPIPE
"""Exit code where whoever read the results has stopped, as ``| head`` does: as shells count that signal."""


def prepare_streams() -> None:
    """Makes standard input, output and error usable, whatever the caller left of them.

    What the caller closed is opened on nothing, so that no file of a command becomes its output: writing results then
    fails as on a closed stream, and messages go nowhere. What the locale's encoding has no character for is written as
    an escape.
    """
    for descriptor in range(3):
        _open_closed(descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - it lasts as long as the process
    sys.stdout = _wrap(sys.stdout, 1, _Stdout)
    sys.stderr = _wrap(sys.stderr, 2, _Stderr)


def finish_streams(code: int) -> int:
    """Writes what is still held back, and leaves nothing that could fail when the process ends.

    Args:
        code: The exit code of the command.

    Returns:
        The exit code of the process: where results can't be written, that is no success.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or READER_GONE
    except OSError as error:
        if not code:  # else the command has said why it failed
            report_unwritten(error)
        code = code or NOT_WRITTEN
    else:
        return code
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)  # what can't be written is dropped here, not in a traceback of the interpreter's
    os.close(nothing)
    return code


def exit_code(end: SystemExit) -> int:
    """The exit code of an ending; a reader that has gone is told from an error."""
    if isinstance(end.__context__, BrokenPipeError):
        return READER_GONE
    return end.code if isinstance(end.code, int) else 1 if end.code else 0


def report_unwritten(error: OSError) -> None:
    """Says on stderr which file, or that standard output, can't be written, and why."""
    where = error.filename or "input or output"
    what = "free the disk, or redirect it elsewhere" if where == STDOUT else "check this path"
    print(f"error: {where}: {error.strerror or error}; {what}", file=sys.stderr)


class _Stdout(io.TextIOWrapper):
    """Standard output, whose name stands in its errors."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            error.filename = STDOUT
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            error.filename = STDOUT
            raise


class _Stderr(io.TextIOWrapper):
    """Standard error: where even that can't be written, nobody can be told, and the work goes on."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def _wrap(stream: Any, descriptor: int, kind: type[io.TextIOWrapper]) -> Any:
    """The stream as one of `kind`; what is not a plain stream, as under a test or in a notebook, stays as it is."""
    if stream is None:
        buffer: Any = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - it lasts as long as the process
        return kind(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=descriptor == 2)
    if type(stream) is not io.TextIOWrapper:
        return stream
    encoding, lines, through = stream.encoding, stream.line_buffering, stream.write_through
    stream.flush()
    return kind(stream.detach(), encoding, "backslashreplace", line_buffering=lines, write_through=through)


def _open_closed(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        nothing = os.open(os.devnull, os.O_WRONLY if descriptor in (0, 2) else os.O_RDONLY)
        if nothing != descriptor:
            os.dup2(nothing, descriptor)
            os.close(nothing)

"""A submission from standard input: ``abawkit check -``."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from abawkit.cli.command import say
from abawkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from abawkit.formats.base import Container

DASH: Final = Path("-")
"""How a submission that comes from standard input is given; a file of that name by its whole path."""

STDIN: Final = "standard input"


@contextmanager
def submission_given(path: Path, container: "Container") -> Iterator[Path]:
    """The submission that was given; one from standard input lies in a temporary file for the length of the block.

    Args:
        path: The submission, or `DASH`.
        container: What the format asks for.

    Yields:
        Its path; errors name `STDIN` instead of the temporary one.

    Raises:
        ConfigError: If a folder is asked for, which standard input can't be.
        DataError: If standard input can't be read, or is larger than any submission.
    """
    if path != DASH:
        yield path
        return
    if container != "file":
        raise ConfigError("-: this format asks for a folder, which standard input is not; give the folder")
    content = _read()
    with tempfile.TemporaryDirectory(prefix="abawkit-stdin-") as folder:
        # Packed text is told by its name elsewhere, and here, without one, by its first bytes.
        file = Path(folder) / (f"{STDIN}.gz" if content.startswith(b"\x1f\x8b") else STDIN)
        file.write_bytes(content)
        try:
            yield file
        except DataError as error:
            raise DataError(str(error).replace(str(file), STDIN)) from error


def _read() -> bytes:
    from abawkit.formats.lines import MAX_BYTES

    if os.isatty(0):
        say("reading the submission from the terminal: Ctrl-D ends it")
    try:
        with open(0, "rb", closefd=False) as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{STDIN}: can't be read ({error.strerror}); expected a submission") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{STDIN}: has more than {MAX_BYTES:,} bytes, so it is no submission")
    return content

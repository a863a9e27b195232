"""``abawkit check``, of a file, a folder or standard input."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from abawkit.cli._command import command, print_json, print_message
from abawkit.cli._options import Force, Format, FrameCounts, Json, ListFile
from abawkit.errors import ConfigError, DataError, format_count

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
    from abawkit.formats.text import MAX_TEXT_BYTES

    if os.isatty(0):
        print_message("reading the submission from the terminal: Ctrl-D ends it")
    try:
        with open(0, "rb", closefd=False) as stream:
            content = stream.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise DataError(f"{STDIN}: can't be read ({error.strerror}); expected a submission") from error
    if len(content) > MAX_TEXT_BYTES:
        raise DataError(f"{STDIN}: has more than {MAX_TEXT_BYTES:,} bytes, so it is no submission")
    return content


@command
def check(
    submission: Annotated[Path, typer.Argument(help="The file, or folder, to hand in; - is standard input.")],
    frames: ListFile,
    format_name: Format = "abaw7",
    frame_counts: FrameCounts = None,
    repair: Annotated[
        Path | None,
        typer.Option("--repair", metavar="OUT", help="Write a corrected copy here, and list the corrections."),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Check a submission: print `ok`, or every defect with its line; warn of dummy values that were left in it.

    Exits with 0 for a good file, with 3 for any other. With --repair, defects with only one
    possible correction are corrected in a new file and listed: line ends, blanks, separators, the header, `3.0` for 3,
    the order of rows. No value is changed. If any other defect is left, nothing is written and the exit code is 3.

    For a list that names videos instead of frames, --frame-counts says how many lines each file needs.

    Example: abawkit check predictions.txt --format abaw7 --list MTL.txt

    Example: ssh cluster cat predictions.txt | abawkit check - --list MTL.txt
    """
    from abawkit.cli._repair import count_listed, refuse_repair, repair_submission, warn_of_dummies
    from abawkit.formats.base import get_format
    from abawkit.formats.check import find_problems
    from abawkit.formats.frame_counts import apply_frame_counts
    from abawkit.tables import VideoList

    plugin = apply_frame_counts(get_format(format_name), frame_counts)
    if force and not repair:
        raise ConfigError("--force: replaces what --repair writes; give --repair OUT, or leave it out")
    if repair:
        refuse_repair(repair, [*([submission] if submission != DASH else []), frames], plugin, force=force)
    listed = plugin.read_list(frames)
    name = Path(STDIN) if submission == DASH else submission
    with submission_given(submission, plugin.container) as path:
        if repair:
            repair_submission(path, repair, listed, plugin, force=force, as_json=as_json, name=name)
            return
        problems = find_problems(path, listed, plugin)
        dummies = [] if problems else warn_of_dummies(path, listed, plugin, name)
    if as_json:
        content = {"ok": not problems, "rows": len(listed), "problems": [p.as_dict() for p in problems]}
        print_json(content | {"dummies": dummies})
    elif not problems:
        print(f"ok: {count_listed(listed)}, as listed")
        if isinstance(listed, VideoList) and not frame_counts:
            print_message(
                "note: a list of videos does not say how many lines each file needs; --frame-counts checks that too"
            )
    else:
        for problem in problems:
            print(problem.text(name))
        print_message(f"not ready to hand in: {format_count(len(problems), 'problem')} in {name}")
    if problems:
        raise typer.Exit(3)

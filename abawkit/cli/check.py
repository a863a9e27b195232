"""``abawkit check``."""

from pathlib import Path
from typing import Annotated

import typer

from abawkit.cli.command import command, print_json, say
from abawkit.cli.options import Force, Format, FrameCounts, Json, ListFile
from abawkit.errors import ConfigError, format_count


@command
def check(
    submission: Annotated[Path, typer.Argument(help="The file, or folder, to hand in; - is standard input.")],
    frames: ListFile,
    format_name: Format = "abaw7",
    frame_counts: FrameCounts = None,
    repair: Annotated[
        Path | None,
        typer.Option(
            "--repair", metavar="OUT", help="Write it anew with all put right that has one right answer, and say what."
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Say `ok`, or every defect of a submission with its line; warn of dummy values that were left in it.

    Exits with 0 for a good file, with 3 for any other. With --repair, what has one right answer is put right in a new
    file and named: line ends, blanks, separators, the header, `3.0` for 3, the order of rows. No value is changed,
    and nothing is written where any other defect is left: then these are named, and the exit code is 3.

    Where a list names videos and no frames, how many lines each file needs can be told with --frame-counts alone.

    Example: abawkit check predictions.txt --format abaw7 --list MTL.txt

    Example: ssh cluster cat predictions.txt | abawkit check - --list MTL.txt
    """
    from abawkit.cli.repairs import count_listed, refuse_repair, repair_submission, warn_of_dummies
    from abawkit.cli.stdin import DASH, STDIN, submission_given
    from abawkit.formats.base import get_format
    from abawkit.formats.check import find_problems
    from abawkit.formats.frame_counts import with_frame_counts
    from abawkit.tables import VideoList

    plugin = with_frame_counts(get_format(format_name), frame_counts)
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
            say("note: a list of videos does not say how many lines each file needs; --frame-counts checks that too")
    else:
        for problem in problems:
            print(problem.text(name))
        say(f"not ready to hand in: {format_count(len(problems), 'problem')} in {name}")
    if problems:
        raise typer.Exit(3)

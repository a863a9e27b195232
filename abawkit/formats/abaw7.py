"""ABAW7, multi-task track: one file, one row for each row of the test list, in its order, repeats kept.

Source: the submission instructions of the 7th ABAW competition, https://arxiv.org/abs/2407.03835, as participants'
published files show them: a header of five names over rows of sixteen fields.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from abawkit.errors import Problem, ProblemsError
from abawkit.formats.lines import header_lines, read_text
from abawkit.formats.order import order_problems
from abawkit.formats.rows import plain_names, read_rows, shortened
from abawkit.names import image_defect
from abawkit.tables import DECIMALS, FrameList, Submission

HEADER = "image,valence,arousal,expression,aus"

LIST = "a list of frames, one image name a row (MTL.txt)"
SUBMISSION = f"a submission with the header '{HEADER}' and 16 fields a row"


class ABAW7:
    """Flat file of the multi-task track."""

    name = "abaw7"
    summary = "ABAW7 multi-task: image,valence,arousal,expression and 12 action units, a row a listed frame"

    def read_list(self, path: Path) -> FrameList:
        """Reads the test list; rows may end in nothing, in a comma or in dummy values.

        Raises:
            DataError: If the file is no list.
            ProblemsError: If an image name is not what it must be.
        """
        content = read_text(path, LIST)
        skip_lines = header_lines(path, content, LIST)
        frames = _first_fields(content, skip_lines)
        if not plain_names(frames.images):
            problems = [
                Problem(int(line), "image", f"{defect}: '{shortened(name)}'")
                for line, name in zip(frames.lines, frames.images.to_pylist(), strict=True)
                if (defect := image_defect(name))
            ]
            if problems:
                raise ProblemsError(path, problems, "give the list as the organisers released it")
        return frames

    def encode(self, submission: Submission) -> bytes:
        """The official file: V and A with six decimals, integers for the expression and the action units."""
        rows = zip(
            submission.images.to_pylist(),
            submission.va.tolist(),
            submission.expression.tolist(),
            ("".join(row) for row in np.where(submission.au == 1, ",1", ",0").tolist()),
            strict=True,
        )
        body = [f"{image},{v:.{DECIMALS}f},{a:.{DECIMALS}f},{e}{aus}\n" for image, (v, a), e, aus in rows]
        return f"{HEADER}\n{''.join(body)}".encode()

    def check(self, path: Path, frames: FrameList) -> list[Problem]:
        """Every way in which the file differs from what the organisers' script reads."""
        rows, _, problems = _parse(path)
        return sorted([*problems, *order_problems(rows, frames)])

    def read(self, path: Path) -> Submission:
        """Reads a submission, every cell checked; its order is the list's business: see `check`.

        Raises:
            ProblemsError: If the header or any cell is not what it must be.
        """
        _, submission, problems = _parse(path)
        if problems:
            raise ProblemsError(path, problems, f"abawkit check {path} --list LIST names every defect")
        return submission


def _parse(path: Path) -> tuple[FrameList, Submission, list[Problem]]:
    """All rows with their lines, what those of sixteen fields say (0 in bad cells), and every problem of the file."""
    content = read_text(path, SUBMISSION)
    skip_lines = header_lines(path, content, SUBMISSION)
    problems: list[Problem] = []
    header = content[: content.index(b"\n")].decode() if skip_lines else ""
    if header != HEADER:
        got = f"got the header '{shortened(header)}'" if skip_lines else "got no header"
        problems.append(Problem(1, "", f"{got}, expected '{HEADER}'"))
    rows, found = read_rows(content, skip_lines=skip_lines, missing=False)
    submission = Submission(images=rows.images, va=rows.va, expression=rows.expression, au=rows.au)
    if not found:
        return FrameList(images=rows.images, lines=rows.lines), submission, problems
    frames = _first_fields(content, skip_lines)  # a row of another width has a place in the order all the same
    named = np.array([bool(name) for name in frames.images.to_pylist()], dtype=bool)
    return frames.select(named), submission, problems + found


def _first_fields(content: bytes, skip_lines: int) -> FrameList:
    """What stands before the first comma of every line."""
    names = [line.partition(",")[0] for line in content.decode().split("\n")[skip_lines:-1]]
    lines = np.arange(len(names), dtype=np.int64) + skip_lines + 1
    return FrameList(images=pa.array(names, pa.string()), lines=lines)

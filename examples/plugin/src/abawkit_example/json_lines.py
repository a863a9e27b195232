"""A submission as JSON lines: one object for each row of the list, classes and action units by their names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from abawkit.errors import Problem, ProblemsError
from abawkit.formats.base import Container
from abawkit.formats.readers import read_annotations, read_list
from abawkit.formats.row_order import find_order_problems
from abawkit.formats.text import read_text
from abawkit.frame_names import find_name_defect
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS, VA_MAX, VA_MIN, Answer
from abawkit.tables import Annotations, FrameList, Submission

EXPECTED = 'JSON lines, as {"image": "VIDEO/00001.jpg", "valence": 0.5, "arousal": 0, "expression": "Anger", "aus": []}'


class JsonLines:
    """The three tasks in words."""

    name = "example-json"
    summary = "example: a JSON object a listed frame, expressions and active action units by name"
    tasks: tuple[Answer, ...] = TASKS
    container: Container = "file"

    def read_list(self, path: Path) -> FrameList:
        """Reads the official list."""
        return read_list(path, ["image"])

    def encode(self, submission: Submission) -> bytes:
        """One object a row."""
        rows = zip(
            submission.images.to_pylist(), submission.va.tolist(), submission.expression, submission.au, strict=True
        )
        objects = [
            {
                "image": image,
                "valence": valence,
                "arousal": arousal,
                "expression": EXPRESSIONS[expression],
                "aus": [name for name, active in zip(ACTION_UNITS, au, strict=True) if active],
            }
            for image, (valence, arousal), expression, au in rows
        ]
        return "".join(f"{json.dumps(entry)}\n" for entry in objects).encode()

    def check(self, path: Path, frames: FrameList) -> list[Problem]:
        """Every defect, with its line."""
        rows, _, problems = self._parse(path)
        return sorted([*problems, *find_order_problems(rows, frames)])

    def read(self, path: Path) -> Submission:
        """Reads a submission.

        Raises:
            ProblemsError: If a line is not what it must be.
        """
        _, submission, problems = self._parse(path)
        if problems:
            raise ProblemsError(path, problems, f"expected {EXPECTED}")
        return submission

    def read_truth(self, path: Path) -> Annotations:
        """Reads official annotations."""
        return read_annotations(path)

    def _parse(self, path: Path) -> tuple[FrameList, Submission, list[Problem]]:
        problems: list[Problem] = []
        rows: list[tuple[str, int, dict[str, Any]]] = []
        for line, text in enumerate(read_text(path, EXPECTED).decode().split("\n")[:-1], start=1):
            try:
                entry = json.loads(text)
            except (ValueError, RecursionError):
                entry = None
            found = _defects(entry)
            problems += [Problem(line, column, message) for column, message in found]
            if isinstance(entry, dict):
                rows.append((_text(entry.get("image")), line, {} if found else entry))
        images = pa.array([image for image, _, _ in rows], pa.string())
        submission = Submission(
            images=images,
            va=np.array([[e.get("valence", 0), e.get("arousal", 0)] for _, _, e in rows], float).reshape(-1, 2),
            expression=np.array([EXPRESSIONS.index(e.get("expression", "Neutral")) for _, _, e in rows], np.int8),
            au=np.array([[n in e.get("aus", ()) for n in ACTION_UNITS] for _, _, e in rows], np.int8).reshape(-1, 12),
        )
        return FrameList(images=images, lines=np.array([line for _, line, _ in rows])), submission, problems


def _defects(entry: Any) -> list[tuple[str, str]]:
    """Column and message of everything that is wrong with an object."""
    if not isinstance(entry, dict):
        return [("", f"expected {EXPECTED}")]
    found = []
    image = entry.get("image")
    defect = find_name_defect(image) if isinstance(image, str) else "got no image name"
    if defect or image != _text(image):
        found.append(("image", defect or "got a name that is not Unicode text"))
    for name in ("valence", "arousal"):
        value = entry.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not VA_MIN <= value <= VA_MAX:
            found.append((name, f"got {value!r:.60}, expected a number in -1..1"))
    if entry.get("expression") not in EXPRESSIONS:
        found.append(("expression", f"got {entry.get('expression')!r:.60}, expected one of {', '.join(EXPRESSIONS)}"))
    units = entry.get("aus")
    if not isinstance(units, list) or not all(unit in ACTION_UNITS for unit in units):
        found.append(("aus", f"got {units!r:.60}, expected a list of some of {', '.join(ACTION_UNITS)}"))
    return found


def _text(value: Any) -> str:
    """Text that a table can hold: JSON can escape half a character."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""

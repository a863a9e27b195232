"""Lists of labels to drop: whatever stands in one, labels that are not listed stay as they are, or it is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from abawkit.curation.label_drops import REVIEW_COLUMNS, DroppedLabels, LabelDrop, drop_labels, read_label_drops
from abawkit.errors import DataError
from abawkit.tables import Annotations

Fuzz = Callable[..., None]

RIGHT = [
    ["train", "2", "v/00001.jpg", "expression", "expression=Fear", "expression=Other", "contradicted", "0.5", ""],
    ["train", "3", "v/00002.jpg", "va", "valence=0.5", "valence=-0.5", "outlier", "0.25", "z 4.7, far"],
    ["train", "3", "v/00002.jpg", "au", "AU1=0 AU26=1", "AU1=1 AU26=0", "near-duplicate", "1", ""],
]
CELLS = ["", "train", "validation", "2", "3", "-1", "1e9", "9" * 400, "va", "au", "expression", "v/00002.jpg", "line"]
CELLS += [
    "expression=Fear",
    "expression",
    "=",
    "valence=nan",
    "AU1=0",
    "0.5",
    "nan",
    '"',
    '""',
    "a\nb",
    "\x00",
    "\u202e",
]


def annotate() -> Annotations:
    there, nowhere = np.ones(2, dtype=bool), np.zeros(2, dtype=bool)
    return Annotations(
        images=pa.array(["v/00001.jpg", "v/00002.jpg"]),
        lines=np.array([2, 3]),
        va=np.array([[0.5, 0.25], [0.5, 0.25]]),
        expression=np.array([3, 3], np.int8),
        au=np.tile(np.array([0] * 11 + [1], np.int8), (2, 1)),
        va_valid=there,
        expression_valid=there,
        au_valid=there,
        va_partial=nowhere,
        au_partial=nowhere,
    )


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """Lists that are right but for some cells, lines or bytes."""
    lines = [list(REVIEW_COLUMNS), *draw(st.permutations(RIGHT))]
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        line = draw(st.sampled_from(lines))
        line = lines[lines.index(line)] = list(line)
        line[draw(st.integers(0, len(line) - 1))] = draw(st.sampled_from(CELLS) | st.text(max_size=4))
    if draw(st.sampled_from([False] * 5 + [True])):
        lines.append(draw(st.sampled_from(lines)))
    quote = draw(st.booleans())
    text = "\n".join(",".join(f'"{c}"' if quote or "," in c else c for c in line) for line in lines)
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + text.encode(errors="surrogatepass")


def test_lists_of_any_cells_are_refused_or_drop_what_they_name(fuzz: Fuzz, tmp_path: Path) -> None:
    path, annotations = tmp_path / "review.csv", annotate()

    def check(content: bytes) -> str:
        path.write_bytes(content)
        try:
            drops = read_label_drops([path])
            found = drop_labels(annotations, drops, Path("train.txt"), "train")
        except DataError as error:
            refusal = str(error)
        else:
            sound(found, drops)
            return "dropped"
        assert refusal.startswith(str(path))
        return "refused"

    def sound(found: DroppedLabels, drops: list[LabelDrop]) -> None:
        listed = {(drop.line - 2, drop.task) for drop in drops if drop.split == "train"}
        for task, mask in found.annotations.valid.items():
            assert [not value for value in mask] == [(row, task) in listed for row in range(2)]
        assert sum(sum(by.values()) for by in found.counts.values()) == len(listed)

    fuzz(check, lists(), outcomes=("dropped", "refused"), examples=150)

"""Why each dropped row was dropped, as a CSV that a spreadsheet can open without being attacked by it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from abawkit.curation.rules import REASONS, reason_bit
from abawkit.errors import printable
from abawkit.files import replacing
from abawkit.tables import Annotations, Array

_FORMULA = ("=", "+", "-", "@", "\t")
_PLAIN = r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$"


def safe_cell(text: str) -> str:
    """A cell that a spreadsheet shows as it is: escaped, and quoted with ``'`` where it would be a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def write_dropped(path: Path, splits: dict[str, tuple[Annotations, Array]]) -> None:
    """Writes ``split,line,image,reasons`` for every row that was dropped.

    Args:
        path: The CSV.
        splits: For each split its rows and why each is dropped (bits of `REASONS`), 0 where it is kept.
    """
    tables = [_dropped(split, rows, reasons) for split, (rows, reasons) in splits.items()]
    with replacing(path) as file:
        csv.write_csv(pa.concat_tables(tables), file, csv.WriteOptions(quoting_style="needed"))


def _dropped(split: str, annotations: Annotations, reasons: Array) -> pa.Table:
    rows = np.flatnonzero(reasons)
    images = annotations.images.take(pa.array(rows))
    if not pc.all(pc.match_substring_regex(images, _PLAIN)).as_py():
        images = pa.array([safe_cell(name) for name in images.to_pylist()], pa.string())
    texts = [";".join(r for r in REASONS if bits & reason_bit(r)) for bits in range(1 << len(REASONS))]
    return pa.table(
        {
            "split": pa.array([split], pa.string()).take(pa.array(np.zeros(len(rows), dtype=np.int8))),
            "line": annotations.lines[rows],
            "image": images,
            "reasons": pa.array(texts, pa.string()).take(pa.array(reasons[rows])),
        }
    )

"""A curated set of as many rows as the official release has, made of the rows and frames of a small one.

python -m benchmarks.gpu.frames SOURCE OUT [--train 52154] [--validation 51159]

The labels and pixels repeat, the bytes do not: every validation row has a frame of its own in the packed store.
"""

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from abawkit.choices import Split
from abawkit.curation.curated_set import FRAMES_FOLDER, CuratedSet, CuratedSplit, open_curated, write_table
from abawkit.frames.decode import FRAME_BYTES
from abawkit.frames.packed import HEADER_FILE, PACKED_FORMATS, PIXELS_FILE
from benchmarks.gpu.steps import TRAIN, VALIDATION

PART: Final = 1_000
"""Frames written at a time."""


def repeat_frames(source: CuratedSet, out: Path, count: int) -> str:
    """Writes a packed store of `count` frames: those of `source` again and again. Returns its digest."""
    store = source.open_frames()
    folder = out / FRAMES_FOLDER
    folder.mkdir(parents=True)
    digest = hashlib.sha256()
    with (folder / PIXELS_FILE).open("wb") as file:
        for start in range(0, count, PART):
            part = store.take(np.arange(start, min(start + PART, count)) % len(store)).tobytes()
            digest.update(part)
            file.write(part)
    header = {
        "format": PACKED_FORMATS["raw"],
        "frames": count,
        "bytes": count * FRAME_BYTES,
        "sha256": digest.hexdigest(),
    }
    (folder / HEADER_FILE).write_text(json.dumps(header))
    return digest.hexdigest()


def repeat_rows(split: CuratedSplit, count: int, frames: int) -> CuratedSplit:
    """`count` rows: the annotated ones of a split again and again, each with a name and a line of its own."""
    a = split.annotations
    annotated = np.flatnonzero(a.va_valid | a.expression_valid | a.au_valid)
    numbers = np.arange(count)
    names = pa.array([f"video{n // 1000}/{n % 1000 + 1:05d}.jpg" for n in range(count)], pa.string())
    annotations = replace(a.select(annotated[numbers % len(annotated)]), images=names, lines=numbers + 2)
    return CuratedSplit(annotations, numbers, np.ones(count, dtype=bool), numbers % frames)


def write_set(source: CuratedSet, out: Path, train: int, validation: int) -> None:
    """Writes the curated set.

    Args:
        source: A curated set with frames.
        out: A folder that does not exist.
        train: Training rows; those past `validation` show frames that others show too.
        validation: Validation rows, and frames.
    """
    digest = repeat_frames(source, out, validation)
    rows: dict[Split, int] = {"train": train, "validation": validation}
    splits = {name: repeat_rows(source.splits[name], count, validation) for name, count in rows.items()}
    write_table(out, splits, source.policy, digest)


def main() -> None:
    """Writes it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=TRAIN)
    parser.add_argument("--validation", type=int, default=VALIDATION)
    options = parser.parse_args()
    write_set(open_curated(options.source), options.out, options.train, options.validation)


if __name__ == "__main__":
    main()

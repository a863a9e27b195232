"""Stores of features for tests, and a release whose labels can be told from the frames beside them alone."""

from pathlib import Path
from typing import Any

import numpy as np

from abawkit.curation.curate import curate
from abawkit.curation.curated_set import open_curated
from abawkit.curation.release import TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS, find_sources
from abawkit.features.store import FeatureStore, StoredType
from abawkit.features.store_writer import StoreWriter
from abawkit.frame_columns import Timeline
from abawkit.tables import Array


def write_store(
    folder: Path,
    names: list[str],
    values: Array,
    mirrored: Array | None = None,
    source: Any = None,
    dtype: StoredType = "float32",
) -> FeatureStore:
    """A store of features; of an unknown source, if none is given."""
    notes: dict[str, Any] = {"source": source or {}, "frames": {}, "preprocessing": {}, "versions": {}}
    writer = StoreWriter(folder, names, values.shape[1], dtype, mirrored=mirrored is not None, **notes)
    writer.append(values, mirrored)
    return writer.finish()


def write_random_store(folder: Path, names: list[str], dimension: int = 5, **options: Any) -> FeatureStore:
    """A store of random features, which depend on the number of the row only; mirrored frames have the negative."""
    values = 3 + 2 * np.random.default_rng(0).standard_normal((len(names), dimension)).astype(np.float32)
    return write_store(folder, names, values, -values, **options)


def list_rows(curated: Path) -> list[str]:
    """The images of all rows of a curated set."""
    splits = open_curated(curated).splits.values()
    return [name for split in splits for name in split.annotations.images.to_pylist()]


def write_planted(release: Path, folder: Path) -> None:
    """A set ``curated`` of random valence and arousal; ``features`` has those of a frame with the frame before it."""
    random = np.random.default_rng(0)
    labels, curated = folder / "labels", folder / "curated"
    labels.mkdir()
    curated.mkdir()
    for name in (TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS):
        header, *lines = (release / name).read_text().splitlines()
        drawn: dict[str, Array] = {}
        rows = [line.split(",") for line in lines]
        for row in rows:
            va = drawn.setdefault(row[0], random.uniform(-1, 1, 2))
            row[1:3] = [f"{value:.3f}" for value in va]
        (labels / name).write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    curate(find_sources(labels, labels_only=True), curated, policy="per-task", workers=1)
    found = []
    for split in open_curated(curated).splits.values():
        time = Timeline.of(split.annotations.images)
        va = split.annotations.va[time.order[time.firsts]]
        following = np.concatenate([va[1:], va[:1]]) + 0.05 * random.standard_normal(va.shape)
        found.append(np.concatenate([following, random.standard_normal(va.shape)], axis=1)[time.frames])
    write_store(folder / "features", list_rows(curated), np.concatenate(found).astype(np.float32))

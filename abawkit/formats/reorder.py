"""Putting rows into the order of a list, where that can be done in one way only."""

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from abawkit.errors import Problem
from abawkit.formats.increasing import always_increasing, longest_increasing
from abawkit.formats.order import keys_of
from abawkit.formats.rows import REAL, shortened
from abawkit.tables import Array, videos_of


@dataclass(frozen=True)
class Order:
    """Where rows belong.

    Attributes:
        rows: For each row of the list the row of the file that belongs there, int64, shape (n,).
        moved: Rows of the file that have to move, the fewest that there can be, in order.
        doubts: Why rows can't be told apart, with the row of the file as their line; empty where the order is certain.
    """

    rows: Array
    moved: Array
    doubts: list[Problem]


def order_of(rows: list[str], listed: pa.StringArray) -> Order | None:
    """Matches rows with a list by image and occurrence.

    Rows that name one image and say different things have no name of their own: their places are certain only as long
    as their video's rows can't have been moved past them. Rows of other videos may stand anywhere between.

    Args:
        rows: Comma-separated text that begins with the image.
        listed: Images of the list.

    Returns:
        The order; None where a row is missing or one is too many, or where all is in place.
    """
    names = [row.partition(",")[0] for row in rows]
    images = pa.array(names, pa.string())
    if images.equals(listed) or Counter(names) != Counter(listed.to_pylist()):
        return None
    place = {key: row for row, key in enumerate(keys_of(listed))}
    places = np.array([place[key] for key in keys_of(images)], dtype=np.int64)
    moved = np.setdiff1d(np.arange(len(rows)), longest_increasing(places))
    return Order(np.argsort(places), moved, _doubts(rows, names, places))


def _doubts(rows: list[str], names: list[str], places: Array) -> list[Problem]:
    """Rows of one image that differ, in videos whose rows are not in order among themselves."""
    same = defaultdict(list)
    for row, name in enumerate(names):
        same[name].append(row)
    repeated = [group for group in same.values() if len(group) > 1]
    differing = [group for group in repeated if len({_values(rows[row]) for row in group}) > 1]
    if not differing:
        return []
    videos = videos_of(pa.array(names, pa.string())).dictionary_encode().indices.to_numpy()
    settled = np.ones(len(rows), dtype=bool)
    for video in np.unique(videos[[group[0] for group in differing]]).tolist():
        members = np.flatnonzero(videos == video)
        settled[members] = always_increasing(places[members])
    return [
        Problem(
            row,
            "image",
            f"'{shortened(names[row])}' stands in {len(group)} rows that say different things, and rows of its video "
            "are out of order; which of them belongs where can't be told",
        )
        for group in differing
        if not settled[group].all()
        for row in group
    ]


def _values(row: str) -> tuple[float | str, ...]:
    """What a row says, whatever way its numbers are written in."""
    return tuple(float(cell) if REAL.fullmatch(cell) else cell for cell in row.split(",")[1:])

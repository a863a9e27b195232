"""The videos of a split: names, frame numbers, annotated tasks, and which image rows are repeated."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from abawkit.synth.rates import RATES, SYNTH_SPLITS, Annotated, SynthSplit, apportion

_MIN_ROWS = 3
_CUTS = 0.06
MEAN_GAP: Final = 15.0
"""Frames from one row of a video to the next, on average."""
_RESOLUTIONS = ("1280x720", "1920x1080", "640x360", "854x480")


@dataclass(frozen=True)
class Video:
    """One video of one person.

    Attributes:
        index: Position in its split, from 0; with the split it identifies the person.
        name: Folder of its frames.
        frames: Frame number of each row, ascending, a repeat beside what it repeats; int64, shape (rows,).
        annotated: Which tasks its rows are annotated for.
    """

    index: int
    name: str
    frames: NDArray[np.int64]
    annotated: Annotated

    @property
    def repeats(self) -> NDArray[np.bool_]:
        """Whether each row shows the image of the row before, shape (rows,)."""
        return np.asarray(np.diff(self.frames, prepend=-1) == 0)


def _sample_names(count: int, first: int, rng: np.random.Generator) -> list[str]:
    """Names in the styles of Aff-Wild2; `first` and the next `count` numbers are used up."""
    names: list[str] = []
    for number in rng.permutation(np.arange(first, first + count)):
        style = rng.random()
        if style < 0.4:
            names.append(f"{number}")
        elif style < 0.6:
            names.append(f"{number}-{rng.choice([24, 25, 30, 60])}-{rng.choice(_RESOLUTIONS)}")
        elif style < 0.8:
            names.append(f"video{number}_{rng.integers(1, 4)}")
        else:
            names.append(f"video{number}{rng.choice(['', '_left', '_right'])}")
    return names


def _sample_frame_numbers(rows: int, repeats: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Ascending numbers, `MEAN_GAP` apart on average: short gaps, but for the share `_CUTS` that is long."""
    gaps = rng.integers(1, 10, rows)
    cuts = rng.random(rows) < _CUTS
    gaps[cuts] += rng.integers(30, 300, int(cuts.sum()))
    gaps[rng.choice(np.arange(1, rows), repeats, replace=False)] = 0
    return np.cumsum(gaps)


def _assign_tasks(rows: NDArray[np.int64], shares: dict[Annotated, float]) -> list[Annotated]:
    """Gives each video, the longest first, the combination of tasks that still lacks most rows."""
    lacking = {tasks: share * int(rows.sum()) for tasks, share in shares.items()}
    chosen: dict[int, Annotated] = {}
    for video in np.argsort(-rows, kind="stable"):
        tasks = max(lacking, key=lacking.__getitem__)
        chosen[int(video)] = tasks
        lacking[tasks] -= int(rows[video])
    return [chosen[video] for video in range(len(rows))]


def plan_videos(split: SynthSplit, *, rows: int, videos: int, first_number: int, seed: int) -> list[Video]:
    """Samples the videos of a split.

    Args:
        split: The split, whose rates are followed.
        rows: Rows of the split's list, repeated ones included.
        videos: Number of videos, at most a sixth of `rows`.
        first_number: Names count from here; splits are given ranges that don't meet.
        seed: Seed of the release.

    Returns:
        Videos whose rows add up to `rows`; lengths are as uneven as in the official release.
    """
    rng = np.random.default_rng([seed, SYNTH_SPLITS.index(split), 1])
    spread = np.exp(0.8 * rng.standard_normal(videos))
    lengths = _MIN_ROWS + apportion(rows - _MIN_ROWS * videos, spread)
    repeated = max(1, round(rows * RATES[split].repeated))
    hosts = np.bincount(
        rng.choice(np.repeat(np.arange(videos), lengths - 1), repeated, replace=False), minlength=videos
    )
    tasks = _assign_tasks(lengths, RATES[split].annotated)
    names = _sample_names(videos, first_number, rng)
    return [
        Video(index, names[index], _sample_frame_numbers(int(lengths[index]), int(hosts[index]), rng), tasks[index])
        for index in range(videos)
    ]

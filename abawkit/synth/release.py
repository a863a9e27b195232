"""Writes a synthetic release: the official folders, annotation files, lists and frames."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

import abawkit
from abawkit.errors import ConfigError
from abawkit.frame_names import format_frame_name
from abawkit.labels import FIELDS, MISSING_VA, OFFICIAL_HEADER
from abawkit.run_names import SYNTHETIC_MANIFEST
from abawkit.synth.labels import SplitLabels, sample_labels
from abawkit.synth.rates import PUBLIC_ROWS, SYNTH_SPLITS, SynthSplit, apportion
from abawkit.synth.rendering import RenderJob, render
from abawkit.synth.videos import Video, plan_videos
from abawkit.system.files import write_bytes, write_json

RELEASE_VERSION: Final = 3
"""Of what is rendered and labelled: releases of one version, size, seed and difficulty are the same."""

DEFAULT_DIFFICULTY: Final = 0.45
_LARGE = apportion(50_000, np.array([PUBLIC_ROWS[split] for split in SYNTH_SPLITS], dtype=np.float64))
_FRAME_FOLDERS: Final[dict[SynthSplit, str]] = {
    "train": "cropped_aligned",
    "validation": "cropped_aligned",
    "test": "test_data/cropped_aligned",
}

SIZES: Final[dict[str, dict[SynthSplit, tuple[int, int]]]] = {
    "tiny": {"train": (180, 12), "validation": (50, 6), "test": (70, 6)},
    "demo": {"train": (10_240, 1_024), "validation": (1_280, 32), "test": (1_600, 40)},
    "large": {"train": (int(_LARGE[0]), 257), "validation": (int(_LARGE[1]), 50), "test": (int(_LARGE[2]), 82)},
}
"""Rows and videos of each split, by name of the size."""


@dataclass(frozen=True)
class SplitSummary:
    """What was written for one split.

    Attributes:
        rows: Rows of its annotation file or list.
        videos: Videos, each of another person.
        repeated_rows: Rows that show the image of the row before.
        frames: Images rendered; 0 where only labels were requested.
    """

    rows: int
    videos: int
    repeated_rows: int
    frames: int


@dataclass(frozen=True)
class ReleaseSummary:
    """What was written for each split."""

    train: SplitSummary
    validation: SplitSummary
    test: SplitSummary


def _format_annotations(videos: list[Video], labels: SplitLabels) -> list[str]:
    images = [format_frame_name(video.name, frame) for video in videos for frame in video.frames]
    lines = [",".join(FIELDS)]
    for image, va, expression, units in zip(images, labels.va, labels.expression, labels.units, strict=True):
        pair = (f"{MISSING_VA:.1f}" if value == MISSING_VA else f"{value + 0.0:.3f}" for value in va)
        lines.append(",".join([image, *pair, str(expression), *map(str, units)]))
    return lines


def _write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def plan_release(size: str, seed: int) -> dict[SynthSplit, tuple[list[Video], SplitLabels]]:
    """The videos and labels of each split of a release, whose rows are those of its files; see `write_release`."""
    plan: dict[SynthSplit, tuple[list[Video], SplitLabels]] = {}
    first_number = 1
    for split in SYNTH_SPLITS:
        rows, count = SIZES[size][split]
        videos = plan_videos(split, rows=rows, videos=count, first_number=first_number, seed=seed)
        plan[split] = videos, sample_labels(split, videos, seed)
        first_number += count
    return plan


def _plan_jobs(
    split: SynthSplit, videos: list[Video], labels: SplitLabels, out: Path, difficulty: float
) -> list[RenderJob]:
    starts = np.cumsum([0, *(len(video.frames) for video in videos)])
    jobs = []
    for video, start in zip(videos, starts, strict=False):
        kept = np.flatnonzero(~video.repeats)
        folder = out / _FRAME_FOLDERS[split] / video.name
        jobs.append(
            RenderJob(folder, split, video.index, video.frames[kept], labels.intensity[start + kept], difficulty)
        )
    return jobs


def write_release(
    out: Path,
    *,
    size: str = "demo",
    seed: int = 0,
    labels_only: bool = False,
    difficulty: float = DEFAULT_DIFFICULTY,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ReleaseSummary:
    """Writes a synthetic release in the official layout.

    The same seed gives the same labels on every machine, and the same frames with the same version of Pillow, whatever
    the number of workers. Lists are written last, after the manifest: a release that was interrupted has none.

    Args:
        out: Folder to write into; it is made if there is none.
        size: ``"tiny"``, ``"demo"`` or ``"large"``: a key of `SIZES`.
        seed: Seed of everything that is random, not negative.
        labels_only: Write the annotation files and the list, the same bytes as with frames, and no frames.
        difficulty: Strength of pose, light, blur, noise, occlusion and compression, 0..1.
        workers: Processes that render frames; by default one for each processor that this process may use.
        progress: Called with the number of frames rendered and the number in all.

    Raises:
        ConfigError: If `size` isn't known, or `seed`, `difficulty` or `workers` is out of its range.
    """
    if size not in SIZES:
        raise ConfigError(f"size: got '{size}', expected one of {', '.join(SIZES)}")
    if seed < 0:
        raise ConfigError(f"seed: got {seed}, expected a whole number of 0 or more")
    if not 0.0 <= difficulty <= 1.0:
        raise ConfigError(f"difficulty: got {difficulty}, expected 0..1")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers: got {workers}, expected 1 or more; leave it out to use every processor")
    plan = plan_release(size, seed)
    if not labels_only:
        jobs = [job for split, planned in plan.items() for job in _plan_jobs(split, *planned, out, difficulty)]
        render(jobs, seed=seed, workers=workers, progress=progress)
    summary = ReleaseSummary(**{split: _summarise_split(videos, labels_only) for split, (videos, _) in plan.items()})
    made = {"abawkit": abawkit.__version__, "version": RELEASE_VERSION, "size": size, "seed": seed}
    rendered = None if labels_only else difficulty
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / SYNTHETIC_MANIFEST, {**made, "difficulty": rendered, "splits": asdict(summary)})
    for split, (videos, labels) in plan.items():
        lines = _format_annotations(videos, labels)
        if split == "test":
            images = [f"{line.split(',', 1)[0]}," for line in lines[1:]]
            _write_lines(out / "held_out" / "test_set_annotations.txt", lines)
            _write_lines(out / "test_set_examples" / "MTL.txt", [OFFICIAL_HEADER, *images])
        else:
            _write_lines(out / f"{'training' if split == 'train' else split}_set_annotations.txt", lines)
    return summary


def _summarise_split(videos: list[Video], labels_only: bool) -> SplitSummary:
    rows = sum(len(video.frames) for video in videos)
    repeated = sum(int(video.repeats.sum()) for video in videos)
    return SplitSummary(rows, len(videos), repeated, 0 if labels_only else rows - repeated)

"""Worlds of videos whose truth is known at large: annotations of thousands of videos, and what systems say of them.

Frames of one video are alike in all of them: annotations, and the errors of a system, have a part that is the video's.
A release is a few dozen of a world's videos; what a score, a difference or a rule is worth is measured on the others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from abawkit.labels import MISSING_AU, MISSING_EXPRESSION, MISSING_VA, TASKS
from abawkit.probabilities.members import StoredMember
from abawkit.synth.labels import sample_labels
from abawkit.synth.rates import Annotated
from abawkit.synth.videos import Video, plan_videos
from abawkit.tables import Annotations, Array, Predictions

NAMES: Final = ("labels of synth", "persons", "rare classes")
"""``labels of synth``: labels as `abawkit synth` draws them, 20 rows a video, errors mostly of the frame. ``persons``:
long videos of uneven length, with half of each error the person's. ``rare classes``: short videos, some expressions and
action units in one row of fifty."""

COLUMNS: Final = 22  # valence and arousal, 8 expressions, 12 action units


@dataclass(frozen=True)
class World:
    """Annotations of many videos, and what systems of about equal worth say of each row.

    Attributes:
        name: One of `NAMES`.
        truth: The annotations.
        systems: What each says.
        starts: First row of each video and the number of rows, int64, shape (videos + 1,): a video's rows are adjacent.
    """

    name: str
    truth: Annotations
    systems: tuple[Predictions, ...]
    starts: Array

    @property
    def videos(self) -> int:
        """How many there are."""
        return len(self.starts) - 1

    def rows(self, videos: Array) -> Array:
        """Row numbers of these videos, in their order."""
        return np.concatenate([np.arange(self.starts[v], self.starts[v + 1]) for v in videos])

    def select(self, videos: Array, system: int = 0) -> tuple[Annotations, StoredMember]:
        """Annotations of these videos, and what a system says of them."""
        rows = self.rows(videos)
        predictions = self.systems[system].select(rows)
        return self.truth.select(rows), StoredMember(Path("system.npz"), predictions, TASKS, "digest", "system")


def make_world(name: str, videos: int, seed: int, systems: int = 2) -> World:
    """Draws a world.

    Args:
        name: One of `NAMES`.
        videos: How many.
        seed: Of it all.
        systems: How many.
    """
    rng = np.random.default_rng([NAMES.index(name), seed])
    if name == "labels of synth":
        return _synth_world(videos, seed, rng, systems)
    persons = name == "persons"
    lengths = np.maximum(3, (40 if persons else 12) * np.exp((0.8 if persons else 0.3) * rng.normal(size=videos)))
    lengths = lengths.astype(np.int64)
    of = np.repeat(np.arange(videos), lengths)
    share = 0.5 if persons else 0.2  # of each variance that is the video's
    signal = _with_videos(rng, of, videos, share)
    rarity = np.linspace(1.0, -0.8, 8) if persons else np.linspace(1.5, -1.5, 8)
    threshold = np.linspace(-0.5, 1.2, 12) if persons else np.linspace(-0.5, 2.0, 12)
    valid = np.ones((videos, 3), dtype=bool) if persons else rng.random((videos, 3)) < 0.8
    truth = _annotations(
        [f"v{v:05d}/{row:05d}.jpg" for v in range(videos) for row in range(1, lengths[v] + 1)],
        np.clip(0.35 * signal[:, :2], -1, 1),
        (signal[:, 2:10] + rarity).argmax(axis=1),
        signal[:, 10:] > threshold,
        valid[of],
    )
    said = []
    for _ in range(systems):
        seen = signal + 1.2 * _with_videos(rng, of, videos, share)
        known = 1.0 if persons else 0.6  # how far it knows the rates of labels
        said.append(_said(truth.images, seen, known * rarity, known * threshold))
    return World(name, truth, tuple(said), np.concatenate([[0], np.cumsum(lengths)]))


def _with_videos(rng: np.random.Generator, of: Array, videos: int, share: float) -> Array:
    """Standard normal columns, of which a share of the variance is the video's, shape (rows, 22)."""
    own = rng.normal(size=(videos, COLUMNS))[of]
    return np.asarray(np.sqrt(share) * own + np.sqrt(1 - share) * rng.normal(size=(len(of), COLUMNS)))


def _said(images: pa.StringArray, seen: Array, rarity: Array, threshold: Array) -> Predictions:
    """Probabilities of a system that sees this, and knows the rates of labels in part."""
    odds = np.exp(1.2 * (seen[:, 2:10] + rarity))
    columns = (
        np.clip(0.25 * seen[:, :2], -1, 1),
        odds / odds.sum(axis=1, keepdims=True),
        1 / (1 + np.exp(-1.5 * (seen[:, 10:] - threshold))),
    )
    return Predictions(images, *(column.astype(np.float32) for column in columns))


def _synth_world(videos: int, seed: int, rng: np.random.Generator, systems: int) -> World:
    plan: list[Video] = plan_videos("validation", rows=20 * videos, videos=videos, first_number=1, seed=seed)
    labels = sample_labels("validation", plan, seed)
    lengths = np.array([len(video.frames) for video in plan])
    of = np.repeat(np.arange(videos), lengths)
    tasks: list[Annotated] = [video.annotated for video in plan]
    valid = np.array(tasks)[of]
    va, expression, units = labels.va, labels.expression, labels.units
    valid[:, 0] &= (va != MISSING_VA).all(axis=1)
    valid[:, 1] &= expression != MISSING_EXPRESSION
    valid[:, 2] &= (units != MISSING_AU).all(axis=1)
    images = [f"{video.name}/{row:05d}.jpg" for video in plan for row in range(len(video.frames))]
    truth = _annotations(images, va, expression, units, valid)
    said = []
    for _ in range(systems):
        seen = 1.1 * _with_videos(rng, of, videos, 0.25)
        seen[:, :2] += 2.5 * np.where(truth.va_valid[:, None], truth.va, 0)
        seen[:, 2:10] += 1.0 * np.eye(8)[truth.expression]
        seen[:, 10:] += 1.5 * truth.au - 0.9
        said.append(_said(truth.images, seen, np.zeros(8), np.zeros(12)))
    return World(NAMES[0], truth, tuple(said), np.concatenate([[0], np.cumsum(lengths)]))


def _annotations(images: list[str], va: Array, expression: Array, units: Array, valid: Array) -> Annotations:
    n = len(images)
    masks: dict[str, Any] = {f"{task}_valid": np.ascontiguousarray(valid[:, i]) for i, task in enumerate(TASKS)}
    return Annotations(
        images=pa.array(images, pa.string()),
        lines=np.arange(n) + 2,
        va=np.where(masks["va_valid"][:, None], va, 0).astype(np.float64),
        expression=np.where(masks["expression_valid"], expression, 0).astype(np.int8),
        au=np.where(masks["au_valid"][:, None], units, 0).astype(np.int8),
        va_partial=np.zeros(n, dtype=bool),
        au_partial=np.zeros(n, dtype=bool),
        **masks,
    )

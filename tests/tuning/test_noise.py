"""Pure noise: annotations that have nothing to do with the probabilities. What is fitted to them can be worth nothing.

Thresholds that make a rare action unit active everywhere raise F1 on noise as well, and really do so: on other noise
too. So each figure is compared with what its rule scores on fresh draws of annotations and probabilities, not with the
figure of nothing fitted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.labels import TASKS, Task
from abawkit.postprocessing.outputs import decide
from abawkit.postprocessing.rule import apply_rule
from abawkit.probabilities.members import StoredMember
from abawkit.scoring.bootstrap import PARTS, sum_by_video
from abawkit.tables import Annotations, Array, Predictions
from abawkit.tuning.cross_validation import Tuning
from abawkit.tuning.tune import calibrate, tune

VIDEOS, ROWS = 12, 25
IMAGES = pa.array([f"v{v:02d}/{1 + 4 * row:05d}.jpg" for v in range(VIDEOS) for row in range(ROWS)], pa.string())
RARER = np.linspace(-0.5, 1.5, 12)  # deviations that an action unit's noise must pass


def noise(rng: np.random.Generator) -> Array:
    """Half of the variance is the video's, half the frame's; shape (300, 22)."""
    return rng.normal(size=(VIDEOS, 1, 22)).repeat(ROWS, axis=1).reshape(-1, 22) + rng.normal(size=(len(IMAGES), 22))


def annotations(rng: np.random.Generator) -> Annotations:
    drawn, everywhere, nowhere = noise(rng), np.ones(len(IMAGES), bool), np.zeros(len(IMAGES), bool)
    return Annotations(
        images=IMAGES,
        lines=np.arange(len(IMAGES)),
        va=np.clip(0.3 * drawn[:, :2], -1, 1),
        expression=(drawn[:, 2:10] + np.linspace(1, -0.5, 8)).argmax(axis=1).astype(np.int8),
        au=(drawn[:, 10:] > RARER).astype(np.int8),
        **{f"{task}_valid": everywhere for task in TASKS},
        va_partial=nowhere,
        au_partial=nowhere,
    )


def member(rng: np.random.Generator, key: str) -> StoredMember:
    drawn = noise(rng)
    odds = np.exp(drawn[:, 2:10])
    columns = (
        np.clip(0.3 * drawn[:, :2], -1, 1),
        odds / odds.sum(axis=1, keepdims=True),
        1 / (1 + np.exp(-drawn[:, 10:])),
    )
    predictions = Predictions(IMAGES, *(column.astype(np.float32) for column in columns))
    return StoredMember(Path(f"{key}.npz"), predictions, TASKS, key, key)


@dataclass(frozen=True)
class Bias:
    """How far figures lie above what their rules are worth, over many draws.

    Attributes:
        mean: By part, shape (4,).
        error: Standard error of the mean, shape (4,).
    """

    mean: Array
    error: Array

    @classmethod
    def of(cls, excess: Sequence[Array]) -> "Bias":
        values = np.stack(excess)
        return cls(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values)))


def biases(
    fit: Callable[[list[StoredMember], Annotations], Tuning], draws: int, members: int, tasks: Sequence[Task]
) -> tuple[Bias, Bias]:
    """The bias of in-sample figures and that of cross-fitted ones."""
    in_sample, cross_fitted = [], []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        found = fit([member(rng, str(i)) for i in range(members)], annotations(rng))
        worth = np.mean([worth_of(found, rng, members, tasks) for _ in range(2)], axis=0)
        in_sample.append([found.in_sample[part] for part in PARTS] - worth)
        cross_fitted.append([found.cross_fitted[part].value for part in PARTS] - worth)
    return Bias.of(in_sample), Bias.of(cross_fitted)


def worth_of(found: Tuning, rng: np.random.Generator, members: int, tasks: Sequence[Task]) -> Array:
    """What a rule scores on videos that nobody has seen, shape (4,)."""
    predictions = apply_rule(found.rule, [member(rng, str(i)) for i in range(members)])
    statistics = sum_by_video(annotations(rng), decide(predictions, tasks))
    return np.asarray(statistics.scores(np.ones((1, VIDEOS)))[0])


@pytest.mark.slow
def test_over_300_draws_of_noise_in_sample_scores_are_too_high_and_cross_fitted_ones_are_not() -> None:
    in_sample, cross_fitted = biases(lambda members, truth: calibrate(members, truth, draws=2), 300, 1, TASKS)
    assert (cross_fitted.mean <= cross_fitted.error).all(), cross_fitted
    for part in ("expression_f1", "au_f1"):
        i = PARTS.index(part)
        # less than it was when biases were shrunk half as much, kept where they lost across folds, and taken at a peak
        assert in_sample.mean[i] > max(4 * in_sample.error[i], 0.005), in_sample
        assert cross_fitted.mean[i] < in_sample.mean[i] / 5
    whole = PARTS.index("score")  # valence and arousal of noise, which are left alone most of the time, make it vary
    assert in_sample.mean[whole] > 2 * in_sample.error[whole], in_sample
    assert cross_fitted.mean[whole] < in_sample.mean[whole] / 5


def test_a_whole_search_is_no_less_honest() -> None:
    in_sample, cross_fitted = biases(
        lambda members, truth: tune(members, truth, tasks=("au",), draws=2), 20, 2, ("au",)
    )
    assert cross_fitted.mean[3] <= cross_fitted.error[3], cross_fitted
    assert in_sample.mean[3] > 3 * in_sample.error[3], in_sample

"""The label model: rates of the public release, slow processes, labels that follow from what is drawn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.labels import ACTION_UNITS, EXPRESSIONS
from abawkit.synth.action_units import (
    LABELLED,
    UNITS,
    make_prototype,
    perform_expression,
    sample_latent,
    sample_presence,
)
from abawkit.synth.labels import flip_labels, sample_labels
from abawkit.synth.people import make_person
from abawkit.synth.rates import RATES, SYNTH_SPLITS, SynthSplit, apportion
from abawkit.synth.release import SIZES
from abawkit.synth.videos import plan_videos

Read = Callable[[Path], list[list[str]]]

FILES: dict[SynthSplit, str] = {
    "train": "training_set_annotations.txt",
    "validation": "validation_set_annotations.txt",
    "test": "held_out/test_set_annotations.txt",
}


@pytest.mark.parametrize("split", SYNTH_SPLITS)
def test_expressions_have_the_public_rates(split: SynthSplit, large_labels: Path, rows: Read) -> None:
    expression = np.array([int(row[3]) for row in rows(large_labels / FILES[split])])
    counts = np.bincount(expression[expression >= 0], minlength=8)
    np.testing.assert_allclose(counts / counts.sum(), RATES[split].classes, atol=0.005)


@pytest.mark.parametrize("split", SYNTH_SPLITS)
def test_action_units_have_the_public_rates(split: SynthSplit, large_labels: Path, rows: Read) -> None:
    units = np.array([row[4:] for row in rows(large_labels / FILES[split])], dtype=int)
    rates = units[(units >= 0).all(axis=1)].mean(axis=0)
    np.testing.assert_allclose(rates, RATES[split].units, atol=0.03)
    np.testing.assert_allclose(rates, RATES[split].units, rtol=0.3)


def test_tasks_are_missing_in_the_public_proportions(large_labels: Path, rows: Read) -> None:
    train = rows(large_labels / FILES["train"])
    valid = np.array([("-5.0" not in r[1:3], r[3] != "-1", "-1" not in r[4:]) for r in train])
    # Valid rows of the official training list: 103,917 for VA, 90,645 for expressions, 103,316 for AUs, 52,154 for all.
    shares = [*valid.mean(axis=0), valid.all(axis=1).mean()]
    np.testing.assert_allclose(shares, np.array([103_917, 90_645, 103_316, 52_154]) / 142_382, atol=0.01)


def test_whole_videos_are_annotated_for_some_tasks_only(large_labels: Path, rows: Read) -> None:
    missing: dict[str, list[bool]] = {}
    for row in rows(large_labels / FILES["validation"]):
        missing.setdefault(row[0].split("/")[0], []).append(row[3] == "-1")
    assert all(all(video) or not any(video) for video in missing.values())
    assert {any(video) for video in missing.values()} == {True, False}


@pytest.mark.parametrize("size", sorted(SIZES))
def test_a_video_shows_one_to_three_expressions_and_the_longer_the_more(size: str) -> None:
    videos = plan_videos("test", rows=SIZES[size]["test"][0], videos=SIZES[size]["test"][1], first_number=1, seed=0)
    shown = np.split(sample_labels("test", videos, 0).shown, np.cumsum([len(video.frames) for video in videos])[:-1])
    numbers = np.array([len(np.unique(video)) for video in shown])
    lengths = np.array([len(video) for video in shown])
    assert 1 <= numbers.min() <= numbers.max() <= 3
    assert lengths[numbers > 1].mean() > lengths[numbers == 1].mean()


@pytest.mark.parametrize("split", SYNTH_SPLITS)
@pytest.mark.parametrize("seed", [0, 1])
def test_rates_hold_in_releases_of_few_and_short_videos(split: SynthSplit, seed: int) -> None:
    rows, count = SIZES["demo"][split]
    videos = plan_videos(split, rows=rows, videos=count, first_number=1, seed=seed)
    labelled = np.repeat([video.annotated[1] for video in videos], [len(video.frames) for video in videos])
    counts = np.bincount(sample_labels(split, videos, seed).shown[labelled], minlength=8)
    np.testing.assert_allclose(counts / counts.sum(), RATES[split].classes, atol=0.02)


def pair_frames(truth: list[list[str]], nearest: int, farthest: int) -> tuple[list[list[str]], list[list[str]]]:
    """Rows of the same video whose frame numbers differ by `nearest` to before `farthest`."""
    pairs: tuple[list[list[str]], list[list[str]]] = ([], [])
    frames = [(row[0].split("/")[0], int(row[0][-9:-4])) for row in truth]
    for a, (video, number) in enumerate(frames):
        for b in range(a + 1, len(frames)):
            if frames[b][0] != video or frames[b][1] - number >= farthest:
                break
            if frames[b][1] - number >= nearest:
                pairs[0].append(truth[a])
                pairs[1].append(truth[b])
    return pairs


def test_labels_change_with_the_distance_in_frame_numbers(large_labels: Path, rows: Read) -> None:
    truth = rows(large_labels / FILES["test"])
    same, valence = [], []
    for nearest, farthest in ((1, 10), (50, 100), (400, 600)):
        a, b = (np.array([row[1:] for row in side], dtype=float) for side in pair_frames(truth, nearest, farthest))
        same.append(np.mean(a[:, 2] == b[:, 2]))
        valence.append(np.corrcoef(a[:, 0], b[:, 0])[0, 1])
    # Two labels of one expression agree in about 0.78 of the pairs: 12 % of each are confused with another.
    assert same[0] > 0.74 > same[1] > 0.55 > same[2] > 0.25
    assert valence[0] > 0.9 > valence[1] > 0.6 > valence[2] > 0.2


def test_presence_solves_for_the_rates_it_is_given() -> None:
    rng = np.random.default_rng(0)
    rates = RATES["validation"]
    on = sample_presence(rates.classes, rates.units)
    expression = rng.choice(8, 200_000, p=rates.classes)
    _, intensity = perform_expression(rng.standard_normal((200_000, 18)), expression, on)
    reading = intensity[:, :LABELLED] + 0.06 * rng.standard_normal((200_000, LABELLED))
    np.testing.assert_allclose((reading > 0.26).mean(axis=0), rates.units, atol=0.003)


def test_latent_states_are_slow_standard_normal_and_equal_on_repeats() -> None:
    frames = np.cumsum(np.tile([5, 0, 3, 7], 5_000))
    state = sample_latent(frames, np.random.default_rng(0))
    np.testing.assert_array_equal(state[1::4], state[0::4])
    np.testing.assert_allclose(state.mean(axis=0), 0.0, atol=0.2)
    np.testing.assert_allclose(state.std(axis=0), 1.0, atol=0.1)
    near = [np.corrcoef(state[:-1, k], state[1:, k])[0, 1] for k in range(state.shape[1])]
    assert min(near) > 0.9


@pytest.fixture(scope="module")
def demo_labels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    videos = plan_videos("test", rows=4_000, videos=60, first_number=1, seed=3)
    labels = sample_labels("test", videos, 3)
    return labels.intensity, labels.units, labels.va


def test_action_unit_labels_follow_what_is_drawn(demo_labels: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    intensity, units, _ = demo_labels
    drawn = intensity[:, :LABELLED]
    assert units[drawn > 0.5].mean() > 0.999
    assert units[drawn < 0.02].mean() < 0.001
    assert 0.001 < units[(drawn > 0.02) & (drawn < 0.22)].mean() < 0.2


def test_pressed_lips_do_not_part(demo_labels: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    intensity, _, _ = demo_labels
    pressed = intensity[:, UNITS.index("AU24")] >= 0.3
    assert pressed.any()
    assert not intensity[pressed][:, [UNITS.index("AU25"), UNITS.index("AU26")]].any()


def test_smiles_are_pleasant_and_open_jaws_aroused(demo_labels: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    intensity, _, va = demo_labels
    smile, jaw = intensity[:, UNITS.index("AU12")], intensity[:, UNITS.index("AU26")]
    assert va[smile > 0.5, 0].mean() > va[smile == 0, 0].mean() + 0.3
    assert va[jaw > 0.5, 1].mean() > va[jaw == 0, 1].mean() + 0.1


def test_flips_confuse_pairs_and_keep_the_counts() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(8, 20_000, p=RATES["train"].classes)
    flipped = flip_labels(truth, rng)
    np.testing.assert_array_equal(np.bincount(flipped), np.bincount(truth))
    assert np.mean(flipped != truth) == pytest.approx(0.12, abs=0.001)
    pairs = {frozenset((EXPRESSIONS[a], EXPRESSIONS[b])) for a, b in zip(truth, flipped, strict=True) if a != b}
    assert pairs == {frozenset(p) for p in (("Neutral", "Other"), ("Anger", "Disgust"), ("Fear", "Surprise"))}


def test_flips_of_classes_that_do_not_occur_change_nothing() -> None:
    truth = np.full(50, EXPRESSIONS.index("Happiness"))
    np.testing.assert_array_equal(flip_labels(truth, np.random.default_rng(0)), truth)


def test_apportion_rounds_by_largest_remainders() -> None:
    # Exact shares of 10 are 4.5, 3.3 and 2.2: floors 4, 3, 2 leave one, and 4.5 has the largest remainder.
    np.testing.assert_array_equal(apportion(10, np.array([4.5, 3.3, 2.2])), [5, 3, 2])
    assert apportion(7, np.ones(3)).tolist() == [3, 2, 2]


def test_prototypes_show_the_units_that_name_them() -> None:
    shown = {
        EXPRESSIONS[k]: {u for u, x in zip(UNITS, make_prototype(k), strict=True) if x and u in ACTION_UNITS}
        for k in range(8)
    }
    assert shown["Neutral"] == set()
    assert shown["Happiness"] == {"AU6", "AU7", "AU10", "AU12", "AU25"}
    assert {"AU1", "AU2", "AU26"} <= shown["Surprise"]
    assert {"AU4", "AU7"} <= shown["Anger"]


def test_everybody_is_another_person_in_every_split() -> None:
    people = [make_person(0, split, video) for split in SYNTH_SPLITS for video in range(40)]
    assert len({p.seed for p in people}) == len(people)
    assert len({(p.skin, p.hair_color, p.face_width) for p in people}) == len(people)

import numpy as np
import pytest

from abawkit.frames.augmentation_config import draw_uniform

ROWS = np.arange(20_000)


def test_numbers_lie_in_the_half_open_interval() -> None:
    numbers = draw_uniform(0, 0, ROWS, 0)
    assert numbers.dtype == np.float64
    assert numbers.min() >= 0
    assert numbers.max() < 1


def test_a_row_draws_the_same_in_any_company() -> None:
    everything = draw_uniform(3, 5, ROWS, 2)
    some = np.random.default_rng(0).permutation(ROWS)[:100]
    assert np.array_equal(draw_uniform(3, 5, some, 2), everything[some])
    assert np.array_equal(draw_uniform(3, 5, ROWS.astype(np.int32), 2), everything)


def splitmix64(word: int) -> int:
    z = (word + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_the_hash_is_splitmix64_and_its_values_never_change() -> None:
    assert splitmix64(1234567) == 6457827717110365317  # the published first output for this seed
    key = 0
    for word in (1, 2, 3):
        key = splitmix64(key ^ word)
    rows = [0, 1, 142_381]
    expected = [(splitmix64(key ^ splitmix64(row)) >> 11) / 2**53 for row in rows]
    assert draw_uniform(1, 2, np.array(rows), 3).tolist() == expected
    assert expected[0] == 0.5803663343488144


@pytest.mark.parametrize("along", ["rows", "epochs", "purposes", "seeds", "rows that are far apart"])
def test_numbers_are_uniform_and_uncorrelated(along: str) -> None:
    row = np.array([7])
    if along.startswith("rows"):
        numbers = draw_uniform(0, 0, ROWS if along == "rows" else ROWS << 32, 0)
    elif along == "epochs":
        numbers = np.concatenate([draw_uniform(0, k, row, 0) for k in range(2000)])
    elif along == "purposes":
        numbers = np.concatenate([draw_uniform(0, 0, row, k) for k in range(2000)])
    else:
        numbers = np.concatenate([draw_uniform(k, 0, row, 0) for k in range(2000)])
    counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
    expected = len(numbers) / 50
    assert ((counts - expected) ** 2 / expected).sum() < 85.4  # chi-square, 49 degrees of freedom, p = 0.001
    steps = np.arange(len(numbers)) / len(numbers)
    assert np.abs(np.sort(numbers) - steps).max() < 1.95 / np.sqrt(len(numbers))  # Kolmogorov-Smirnov, p = 0.001
    for lag in (1, 2, 8):
        assert abs(np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]) < 4 / np.sqrt(len(numbers))


def test_purposes_epochs_and_seeds_are_independent_of_each_other() -> None:
    columns = [draw_uniform(seed, epoch, ROWS, purpose) for seed in (0, 1) for epoch in (0, 1) for purpose in (0, 1, 2)]
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 / np.sqrt(len(ROWS))


def test_swapping_seed_and_epoch_is_another_draw() -> None:
    assert not np.isclose(draw_uniform(1, 2, ROWS, 3), draw_uniform(2, 1, ROWS, 3)).any()


def test_any_integer_is_a_seed() -> None:
    assert draw_uniform(-1, 0, ROWS[:5], 0).tolist() == draw_uniform(2**64 - 1, 0, ROWS[:5], 0).tolist()

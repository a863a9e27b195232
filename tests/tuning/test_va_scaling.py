"""A scale and a shift for valence and arousal: as good as any linear map, and no sharper than videos support."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abawkit.scoring.metrics import ccc
from abawkit.tables import Array
from abawkit.tuning.va_scaling import MAX_SCALE, fit_scaling, fit_va
from tests.tuning.random_rows import videos_of_rows

seeds = st.integers(0, 2**32 - 1)


def stretched(rng: np.random.Generator, rows: int = 3000, videos: int = 60) -> tuple[Array, Array, Array]:
    """Truth, values that are narrower and moved, videos."""
    truth = rng.normal(0, 0.4, rows)
    return truth, 0.5 * truth + rng.normal(0, 0.05, rows) - 0.2, videos_of_rows(rows, videos)


def test_scale_and_shift_bring_deviations_and_means_together() -> None:
    truth, values, videos = stretched(np.random.default_rng(0))
    fit = fit_scaling(truth, values, videos)
    assert fit.reason == ""
    assert fit.scale == pytest.approx(truth.std() / values.std(), rel=0.02)
    assert (fit.scale * values + fit.shift).mean() == pytest.approx(truth.mean(), abs=0.01)
    assert ccc(truth, fit.scale * values + fit.shift) == pytest.approx(np.corrcoef(truth, values)[0, 1], abs=0.001)
    assert ccc(truth, values) < 0.7


def test_no_linear_map_has_a_higher_concordance_than_the_ratio_of_deviations() -> None:
    rng = np.random.default_rng(1)
    truth, values, _ = stretched(rng, rows=400)
    scale = truth.std() / values.std()
    best = ccc(truth, scale * values + truth.mean() - scale * values.mean())
    assert best == pytest.approx(np.corrcoef(truth, values)[0, 1], abs=1e-12)
    tried = [ccc(truth, a * values + b) for a in np.linspace(0.1, 4, 60) for b in np.linspace(-1, 1, 41)]
    assert max(tried) <= best


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0.05, 5), st.floats(-0.5, 0.5), st.floats(0.0, 2.0), st.integers(3, 12))
def test_a_scale_never_goes_beyond_the_ratio_of_deviations_and_never_lowers_the_concordance(
    seed: int, slope: float, offset: float, noise: float, videos: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, videos, 200)
    truth = rng.normal(0, 0.3, 200) + rng.normal(0, 0.3, videos)[groups]
    values = slope * truth + offset + noise * rng.normal(0, 0.3, videos)[groups] + noise * rng.normal(0, 0.1, 200)
    fit = fit_scaling(truth, values, groups)
    ratio = truth.std() / values.std()
    assert min(1, ratio) - 1e-9 <= fit.scale <= max(1, ratio) + 1e-9
    assert 1 / MAX_SCALE <= fit.scale <= MAX_SCALE
    assert ccc(truth, fit.scale * values + fit.shift) >= ccc(truth, values) - 1e-9
    assert (fit.reason == "") == ((fit.scale, fit.shift) != (1.0, 0.0))


def test_the_fewer_videos_support_it_the_less_is_sharpened() -> None:
    rng = np.random.default_rng(2)

    def share_of_the_way(videos: int) -> float:
        groups = np.repeat(np.arange(videos), 50)
        widths = rng.uniform(0.2, 0.8, videos)[groups]  # how wide a video's values are, against its annotations
        truth = rng.normal(0, 0.4, len(groups))
        values = widths * truth
        return float(np.log(fit_scaling(truth, values, groups).scale) / np.log(truth.std() / values.std()))

    few, some, many = (np.mean([share_of_the_way(videos) for _ in range(30)]) for videos in (4, 16, 64))
    assert 0.3 < few < some < many < 1


@pytest.mark.parametrize("sign", [-1, 0])
def test_values_that_do_not_go_with_the_annotations_are_left_alone(sign: int) -> None:
    truth, values, videos = stretched(np.random.default_rng(3))
    values = -values if sign else np.random.default_rng(4).permutation(values)
    fit = fit_scaling(truth, values, videos)
    assert (fit.scale, fit.shift) == (1.0, 0.0)
    assert "correlation" in fit.reason


@pytest.mark.parametrize("constant", ["truth", "values", "both", "all but one video"])
def test_what_does_not_vary_is_left_alone(constant: str) -> None:
    truth, values, videos = stretched(np.random.default_rng(5))
    if constant in ("truth", "both"):
        truth = np.full_like(truth, 0.25)
    if constant in ("values", "both"):
        values = np.full_like(values, 0.25)
    if constant == "all but one video":
        values = np.where(videos == 0, values, 0.1)
        truth = np.where(videos == 0, truth, 0.1)
    fit = fit_scaling(truth, values, videos)
    assert (fit.scale, fit.shift) == (1.0, 0.0)
    assert fit.reason


def test_perfect_values_are_left_alone() -> None:
    truth, _, videos = stretched(np.random.default_rng(6))
    assert fit_va(np.stack([truth, truth], 1), np.stack([truth, truth], 1), videos)[0].tolist() == [1.0, 1.0]

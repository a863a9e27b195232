"""The rows that are made of stored probabilities: which they are, whose probabilities, and that fits are kept."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from abawkit.ablation import run as rows_module
from abawkit.ablation.plan import Training
from abawkit.ablation.report import Row
from abawkit.ablation.run import TITLES, RowMaker, RuleFit, fit_rule
from abawkit.ablation.steps import Networks
from abawkit.ablation.workspace import AblationFolder
from abawkit.choices import Protocol
from abawkit.curation import open_curated
from abawkit.pipeline.step_cache import StepCache
from abawkit.postprocessing.averaging import average_members
from abawkit.probabilities.members import StoredMember, read_member, write_probabilities
from abawkit.scoring.score import score
from abawkit.tables import Annotations, Predictions
from abawkit.tuning.tune import tune

# a tiny release lacks classes and units
pytestmark = pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")


def noisy(truth: Annotations, seed: int) -> Predictions:
    """What a network might say: nearer to the truth than chance, and restless from frame to frame."""
    rng = np.random.default_rng(seed)
    va = np.clip(truth.va + rng.normal(0, 0.5, truth.va.shape), -1, 1)
    expression = rng.uniform(0.1, 1, (len(truth), 8))
    expression[np.arange(len(truth)), truth.expression] += 0.6
    expression /= expression.sum(axis=1, keepdims=True)
    au = np.clip(0.25 * truth.au + rng.uniform(0, 0.6, truth.au.shape), 0, 1)
    return Predictions(truth.images, *(column.astype(np.float32) for column in (va, expression, au)))


@pytest.fixture(scope="module")
def truth(curated: Path) -> Annotations:
    return open_curated(curated).splits["validation"].annotations


@pytest.fixture(scope="module")
def networks(
    tmp_path_factory: pytest.TempPathFactory, curated: Path, truth: Annotations, plan: list[Training]
) -> Networks:
    folder = AblationFolder(tmp_path_factory.mktemp("ablation"))
    folder.curated("per-task").symlink_to(curated)
    places = {}
    for number, (seed, variant) in enumerate(dict.fromkeys((run.seed, run.variant) for run in plan)):
        path = places[seed, variant] = folder.prediction(seed, variant).with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_probabilities(path, noisy(truth, number))
        # what a rule calls a member; without it all would be called base
        source = {"list_digest": truth.digest}
        members = [{"digest": f"{number:064x}"[::-1]}]
        content = {"submission_sha256": "", "source": source, "members": members}
        path.with_suffix(".json").write_text(json.dumps(content))
    return Networks(folder, plan, [], folder.start, places)


@pytest.fixture(scope="module")
def bench(networks: Networks) -> RowMaker:
    return RowMaker(networks, "official", lambda _: None)


@pytest.fixture(scope="module")
def rows(bench: RowMaker) -> dict[str, Row]:
    return {row.name: row for row in bench.make_rows()}


def test_there_is_a_row_for_every_choice_and_the_base_is_first(rows: dict[str, Row]) -> None:
    assert list(rows) == [
        *TITLES,
        *("thresholds", "calibration", "smoothing", "smoothing-calibration"),
        *("ensemble", "ensemble-tuned"),
    ]
    assert next(iter(rows)) == "base"


def test_every_variant_of_the_plan_has_a_row(plan: list[Training]) -> None:
    assert list(TITLES) == list(dict.fromkeys(run.variant for run in plan))


def test_a_variants_row_is_the_score_of_its_probabilities(
    bench: RowMaker, networks: Networks, rows: dict[str, Row]
) -> None:
    for name in TITLES:
        members = [read_member(networks.probabilities[seed, name]) for seed in (1, 2)]
        expected = [score(bench.truth, member.predictions.decide()).score for member in members]
        assert rows[name].scores["official"].each[:, 3] == pytest.approx(expected)
        assert not rows[name].fitted


def test_rows_of_fitted_knobs_are_the_score_of_decisions_on_videos_that_were_held_out(
    bench: RowMaker, rows: dict[str, Row]
) -> None:
    row = rows["smoothing-calibration"]
    tunings = [tune([member], bench.truth) for member in bench.base]
    expected = [score(bench.truth, tuning.held_out.decide()).score for tuning in tunings]
    assert row.fitted
    assert row.scores["official"].each[:, 3] == pytest.approx(expected)
    assert row.in_sample == pytest.approx([tuning.in_sample["score"] for tuning in tunings])


def test_the_ensemble_is_the_mean_of_the_base_of_all_seeds(bench: RowMaker, rows: dict[str, Row]) -> None:
    assert rows["ensemble"].scores["official"].each[:, 3] == pytest.approx(
        [score(bench.truth, average_members(bench.base).decide()).score]
    )


def test_one_seed_has_no_ensemble(networks: Networks) -> None:
    alone = {place: path for place, path in networks.probabilities.items() if place[0] == 1}
    one = RowMaker(Networks(networks.folder, networks.plan, [], networks.start, alone), "official", lambda _: None)
    found = one.make_rows()
    assert not [row for row in found if row.name.startswith("ensemble")]
    assert {len(row.scores["official"].each) for row in found} == {1}


def test_a_second_call_fits_nothing(networks: Networks, rows: dict[str, Row], monkeypatch: pytest.MonkeyPatch) -> None:
    first = [row.as_dict() for row in rows.values()]

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("fitted again")

    monkeypatch.setattr("abawkit.ablation.run.calibrate", refuse)
    monkeypatch.setattr("abawkit.ablation.run.tune", refuse)
    again = RowMaker(networks, "official", lambda _: None)
    assert [row.as_dict() for row in again.make_rows()] == first


class Counted:
    """Stands for a fit: counts how often it is made."""

    def __init__(self) -> None:
        self.made = 0
        self.__name__ = "everything"

    def __call__(self, members: Sequence[StoredMember], _: Annotations, protocol: Protocol) -> Any:
        self.made += 1
        return SimpleNamespace(
            held_out=members[0].predictions, in_sample={"score": 1.25}, evidence=lambda: {"protocol": protocol}
        )


def test_a_fit_is_kept_until_members_truth_protocol_or_kind_are_others(bench: RowMaker, tmp_path: Path) -> None:
    fit, cache = Counted(), StepCache(tmp_path)

    def result(
        members: Sequence[StoredMember], protocol: Protocol = "official", truth: Annotations = bench.truth
    ) -> RuleFit:
        return fit_rule(fit, members, truth, protocol, "deep/fit", cache)

    first = result(bench.base[:1])
    assert (first.in_sample, first.evidence) == (1.25, {"protocol": "official"})
    assert np.array_equal(first.held_out.au, bench.base[0].predictions.au)
    assert result(bench.base[:1]).evidence == first.evidence
    assert fit.made == 1
    result(bench.base[1:])
    result(bench.base[1:], "strict")
    other = replace(bench.truth, au=1 - bench.truth.au)
    result(bench.base[1:], "strict", other)
    assert fit.made == 4
    fit.__name__ = "thresholds"
    result(bench.base[1:], "strict", other)
    assert fit.made == 5


@pytest.mark.parametrize("name", ["fit.npz", "fit.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\x00"])
def test_a_fit_that_cannot_be_read_is_made_again(bench: RowMaker, tmp_path: Path, name: str, content: bytes) -> None:
    fit = Counted()
    for expected in (1, 2):
        fit_rule(fit, bench.base, bench.truth, "official", "fit", StepCache(tmp_path))
        assert fit.made == expected
        (tmp_path / "fitted/official" / name).write_bytes(content)


def test_decisions_are_named_once() -> None:
    assert not set(rows_module.DECISIONS) & set(TITLES)

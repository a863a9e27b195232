"""A network's score during training is the challenge's score over all rows at once."""

from pathlib import Path

import numpy as np
import pytest
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.errors import DataError
from abawkit.labels import TASKS, Task
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.scoring.score import Score, score
from abawkit.training.data import FramedRows, read_evaluation_rows
from abawkit.training.validation import check_protocol, compute_selection_score, evaluate, predict_rows

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> DDAMFN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.3)  # type: ignore[arg-type]
    return network


@pytest.fixture(scope="module")
def rows(curated: Path) -> FramedRows:
    return read_evaluation_rows(open_curated(curated), "validation")


@pytest.mark.filterwarnings("ignore::abawkit.errors.DataWarning")
def test_both_protocols_are_scored_over_all_rows_at_once(
    network: DDAMFN, rows: FramedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = predict_rows(network, rows, CPU).decide()
    expected = score(rows.annotations, submission, "official"), score(rows.annotations, submission, "strict")
    monkeypatch.setattr("abawkit.training.validation.CHUNK", 7)  # 50 rows: the last chunk has one row
    scores = evaluate(network, rows, CPU)
    for found, wanted in zip((scores["official"], scores["strict"]), expected, strict=True):
        assert found.rows == wanted.rows
        assert found.score == pytest.approx(wanted.score, abs=1e-4)


@pytest.mark.parametrize(
    ("tasks", "expected"), [(TASKS, 0.9), (("va",), 0.5), (("expression",), 0.1), (("au",), 0.3), (("va", "au"), 0.8)]
)
def test_the_figure_is_the_sum_of_the_trained_tasks_parts(tasks: tuple[Task, ...], expected: float) -> None:
    result = Score("official", 1, 0.4, 0.6, 0.5, 0.1, 0.3, 0.9, [0.1] * 8, [0.3] * 12)
    assert compute_selection_score(result, tasks) == pytest.approx(expected)


def test_an_answer_that_is_not_finite_is_refused_with_its_frames(rows: FramedRows) -> None:
    broken = DDAMFN(NETWORKS["ddamfn-nano"])
    torch.nn.init.constant_(broken.stem[0].norm.weight, float("nan"))  # type: ignore[arg-type, union-attr]
    with pytest.raises(DataError, match=rf"not finite for 50 rows: {rows.annotations.images[0].as_py()}"):
        predict_rows(broken, rows, CPU)


def test_a_protocol_without_rows_is_refused_before_training(rows: FramedRows) -> None:
    no_strict = np.flatnonzero(~rows.annotations.all_valid)
    partial = FramedRows(rows.annotations.select(no_strict), rows.rows[no_strict], rows.frames[no_strict], rows.store)
    check_protocol(partial, "official")
    with pytest.raises(DataError, match="no validation row counts under the strict protocol"):
        check_protocol(partial, "strict")

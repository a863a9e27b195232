"""Which code made a submission: what is done again when it changes, and what the manifest says of it."""

import pytest

from tests.submissions.conftest import Bench
from tests.submissions.test_submit import PREDICTED


def test_a_change_of_code_redoes_everything_but_trainings(written: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("steps", "decisions"):
        monkeypatch.setattr(f"abawkit.submissions.{module}.digest_code", lambda: "0123")
    result = written.submit()
    assert written.commands.outs == PREDICTED
    assert result.done[-2:] == ["fit decisions", "write predictions.txt"]
    assert [line for line in written.said if line.startswith("predict test all-seed1:")] == [
        "predict test all-seed1: code changed"
    ]
    assert written.submit().done == []


def test_the_manifest_names_the_code_that_trained_each_network_as_far_as_its_run_says(written: Bench) -> None:
    contents = ('{"data": {}, "environment": {"code": "0123", "git": "abc+changes", "threads": 1}}', "[")
    for seed, content in enumerate(contents, start=1):
        (written.folder / f"outputs/runs/all-seed{seed}/manifest.json").write_text(content)
    networks = written.submit().manifest.networks
    assert [(network.code, network.git) for network in networks] == [("0123", "abc+changes"), (None, None)]

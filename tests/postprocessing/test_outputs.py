"""The files of a prediction: three names, one manifest, and probabilities that decide to the submission."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.formats.base import get_format
from abawkit.labels import COMPOUND_EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.outputs import decide, find_needed_tasks, list_outputs, write_outputs
from abawkit.postprocessing.rule import Rule, digest_rule, make_rule_content
from abawkit.probabilities.members import read_member, write_probabilities
from abawkit.system.files import sha256_of
from abawkit.tables import Predictions


def predictions() -> Predictions:
    rng = np.random.default_rng(0)
    columns = rng.uniform(-1, 1, (6, 2)), rng.dirichlet(np.ones(8), 6), rng.uniform(0, 1, (6, 12))
    names = [f"v/{i:05d}.jpg" for i in range(1, 7)]
    return Predictions(pa.array(names), *(column.astype(np.float32) for column in columns))


@pytest.mark.parametrize("name", ["predictions.txt", "predictions", "p.csv"])
def test_probabilities_and_manifest_lie_beside_the_submission(name: str) -> None:
    out, npz, manifest = list_outputs(Path("runs") / name)
    assert out == Path("runs") / name
    assert (npz.name, manifest.name) == (f"{out.stem}.npz", f"{out.stem}.json")


@pytest.mark.parametrize("name", ["p.npz", "p.json"])
def test_a_submission_that_would_be_overwritten_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.npz and \.json are kept"):
        list_outputs(Path(name))


def test_the_probabilities_decide_to_the_submission_and_the_manifest_says_what_it_was_made_of(tmp_path: Path) -> None:
    plugin, rule = get_format("abaw7"), Rule(weights={"va": {"a": 1.0}})
    made = [{"path": "a.npz", "key": "a", "digest": "0" * 64, "tasks": list(TASKS)}]
    written = write_outputs(
        tmp_path / "p.txt", predictions(), TASKS, plugin, source={"list": "L"}, members=made, environment={}, rule=rule
    )
    assert plugin.encode(read_member(written.probabilities).predictions.decide()) == written.submission.read_bytes()
    content = json.loads(written.manifest.read_text())
    assert content["submission_sha256"] == written.digest == sha256_of(written.submission)
    assert content["source"] == {"list": "L", "list_digest": predictions().digest}
    assert (content["members"], content["format"], content["rows"]) == (made, "abaw7", 6)
    assert content["rule"] == {"digest": digest_rule(rule), **make_rule_content(rule)}


@pytest.mark.parametrize("tasks", [TASKS, ("va",)])
def test_the_manifest_names_the_probabilities_that_are_stored_and_no_others_take_their_place(
    tmp_path: Path, tasks: tuple[Task, ...]
) -> None:
    plugin = get_format("abaw5-va")
    made = [{"path": "a.npz", "key": "a", "digest": "0" * 64, "tasks": list(tasks)}]
    written = write_outputs(tmp_path / "p.txt", predictions(), tasks, plugin, source={}, members=made, environment={})
    member = read_member(written.probabilities)
    assert member.key == "a"
    assert json.loads(written.manifest.read_text())["probabilities_digest"] == member.digest
    write_probabilities(written.probabilities, replace(predictions(), va=-predictions().va), tasks)
    with pytest.raises(DataError, match=r"p\.npz: is not what .*p\.json describes"):
        read_member(written.probabilities)


def test_what_is_not_known_is_neither_stored_nor_written(tmp_path: Path) -> None:
    tasks: tuple[Task, ...] = ("va", "au")
    with pytest.raises(DataError, match="needs expression"):
        write_outputs(
            tmp_path / "p.txt", predictions(), tasks, get_format("abaw7"), source={}, members=[], environment={}
        )
    assert list(tmp_path.iterdir()) == []


def test_compound_expressions_are_decided_from_expressions() -> None:
    assert find_needed_tasks(("compound",)) == ("expression",)
    assert find_needed_tasks(("au", "va")) == ("va", "au")
    found = decide(predictions(), ("expression",))
    assert found.compound is not None
    assert found.tasks == ("expression",)
    assert set(found.compound.tolist()) <= set(range(len(COMPOUND_EXPRESSIONS)))
    assert decide(predictions(), ("va", "au")).compound is None

"""The ledger of what was sent, and the list of what was written."""

import json
import shutil
from pathlib import Path

import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.submissions.ledger import append_line, read_ledger
from abawkit.submissions.manifest import Manifest, read_manifest
from abawkit.submissions.slots import (
    State,
    find_sent_copy,
    find_state,
    list_submissions,
    measure_nearness,
    record_score,
    record_sent,
)
from abawkit.system.locks import LOCK
from tests.submissions.conftest import RECIPE, Bench


def another(bench: Bench, name: str, recipe: str) -> Path:
    """A second submission that was run, of the same networks."""
    folder = bench.root / name
    shutil.copytree(bench.folder, folder)
    (folder / "recipe.toml").write_text(recipe)
    bench.submit(folder)
    return folder


def test_an_absent_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger(tmp_path) == []


def test_what_was_sent_is_a_line_and_a_copy(written: Bench) -> None:
    line, near = record_sent(written.root, "first", slots=5, note="a first try")
    manifest = read_manifest(written.folder)
    assert manifest is not None
    assert (line.slot, line.name, line.note) == (1, "first", "a first try")
    assert line.sha256 == manifest.submission.sha256
    assert line.validation == manifest.validation.interval
    assert near == []
    assert read_ledger(written.root)[0].sent == line
    official = written.folder / manifest.submission.file
    assert find_sent_copy(written.root, line).read_bytes() == official.read_bytes()


def test_the_ledger_only_grows(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    before = (written.root / "ledger.jsonl").read_bytes()
    record_score(written.root, "first", 1.0412)
    after = (written.root / "ledger.jsonl").read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == 2
    assert all(json.loads(line) for line in after.splitlines())
    returned = read_ledger(written.root)[0].returned
    assert returned is not None
    assert returned.score == 1.0412


def test_the_same_file_is_not_sent_twice(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    with pytest.raises(ConfigError, match="this very file was sent as slot 1"):
        record_sent(written.root, "first", slots=5)
    assert len(read_ledger(written.root)) == 1


def test_there_are_as_many_slots_as_there_are(written: Bench) -> None:
    record_sent(written.root, "first", slots=1)
    another(written, "second", RECIPE.replace('["au"]', "[]"))
    with pytest.raises(ConfigError, match="all 1 slots are used"):
        record_sent(written.root, "second", slots=1)
    assert record_sent(written.root, "second", slots=2)[0].slot == 2


def test_a_file_like_one_that_was_sent_says_how_they_differ(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    another(written, "second", RECIPE.replace('["au"]', "[]"))
    line, (near,) = record_sent(written.root, "second", slots=5)
    assert (line.slot, near.slot) == (2, 1)
    assert near.va == 0  # thresholds alone are another
    assert near.expression == 0
    assert near.au is not None
    assert near.au > 0.01
    assert not near.near
    assert near.text().startswith("V and A by 0.000 on average, expressions in 0.0 % of rows, ")


def test_a_file_that_is_next_to_one_that_was_sent_is_near_it(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    manifest = read_manifest(written.folder)
    assert manifest is not None
    (near,) = measure_nearness(written.root, "first", manifest, read_ledger(written.root))
    assert near.near


def test_a_copy_that_is_gone_or_changed_is_not_compared_with(written: Bench) -> None:
    line, _ = record_sent(written.root, "first", slots=5)
    manifest = read_manifest(written.folder)
    assert manifest is not None
    find_sent_copy(written.root, line).write_text("something else")
    assert list(measure_nearness(written.root, "first", manifest, read_ledger(written.root))) == []
    find_sent_copy(written.root, line).unlink()
    assert list(measure_nearness(written.root, "first", manifest, read_ledger(written.root))) == []


def test_only_the_file_that_was_checked_is_sent(written: Bench) -> None:
    official = written.folder / "outputs/predictions.txt"
    official.write_bytes(official.read_bytes() + b"\n")
    with pytest.raises(DataError, match="is changed"):
        record_sent(written.root, "first", slots=5)
    official.unlink()
    with pytest.raises(DataError, match="is absent"):
        record_sent(written.root, "first", slots=5)
    assert read_ledger(written.root) == []


def test_a_file_that_changes_while_it_is_copied_is_not_noted(written: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def rewritten(source: Path, target: Path) -> None:
        source.write_text("abawkit submit at work")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr("abawkit.submissions.slots.shutil.copyfile", rewritten)
    with pytest.raises(DataError, match="changed while it was copied"):
        record_sent(written.root, "first", slots=5)
    assert read_ledger(written.root) == []
    assert not list((written.folder / "outputs/sent").iterdir())


def test_a_file_that_goes_before_it_is_copied_is_not_noted(written: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(source: Path, _: Path) -> None:
        raise FileNotFoundError(source)

    monkeypatch.setattr("abawkit.submissions.slots.shutil.copyfile", gone)
    with pytest.raises(DataError, match="can't be copied"):
        record_sent(written.root, "first", slots=5)
    assert read_ledger(written.root) == []


def test_what_is_sent_is_looked_at_under_the_lock(written: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    locks = []

    def looking(path: Path, manifest: Manifest) -> State:
        locks.append((written.root / LOCK).exists())
        return find_state(path, manifest)

    monkeypatch.setattr("abawkit.submissions.slots.find_state", looking)
    record_sent(written.root, "first", slots=5)
    assert locks == [True]


def test_what_was_left_of_another_copy_is_replaced(written: Bench) -> None:
    (written.folder / "outputs/sent/slot-1").mkdir(parents=True)
    line, _ = record_sent(written.root, "first", slots=5)
    assert find_sent_copy(written.root, line).is_file()


@pytest.mark.parametrize(
    ("note", "message"), [("n" * 10_001, "10,001 characters, expected at most"), ("\udcff", "UTF-8")]
)
def test_a_note_that_the_ledger_cannot_hold_is_refused(written: Bench, note: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        record_sent(written.root, "first", slots=5, note=note)
    assert read_ledger(written.root) == []
    assert record_sent(written.root, "first", slots=5, note="n" * 10_000)[0].slot == 1


@pytest.mark.parametrize("name", ["nothing", "../first", "first/outputs", ".", ""])
def test_what_is_no_submission_is_not_sent(written: Bench, name: str) -> None:
    with pytest.raises(ConfigError, match="no submission of this name"):
        record_sent(written.root, name, slots=5)


def test_what_was_never_run_is_not_sent(bench: Bench) -> None:
    with pytest.raises(ConfigError, match="was never run"):
        record_sent(bench.root, "first", slots=5)


@pytest.mark.parametrize("score", [3.1, -1.2, float("nan"), float("inf")])
def test_a_score_that_none_can_have_is_refused(written: Bench, score: float) -> None:
    record_sent(written.root, "first", slots=5)
    with pytest.raises(ConfigError, match="is no score"):
        record_score(written.root, "first", score)


def test_a_score_belongs_to_what_was_sent(written: Bench) -> None:
    with pytest.raises(ConfigError, match="was not sent yet"):
        record_score(written.root, "first", 1.0)
    record_sent(written.root, "first", slots=5)
    with pytest.raises(ConfigError, match="was not sent as slot 2"):
        record_score(written.root, "first", 1.0, slot=2)


def test_a_wrong_score_is_corrected_by_name_and_stays_in_the_ledger(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    record_score(written.root, "first", 1.0)
    with pytest.raises(ConfigError, match=r"has its score, 1\.0 \(slot 1\)"):
        record_score(written.root, "first", 1.1)
    record_score(written.root, "first", 1.1, correct=True)
    returned = read_ledger(written.root)[0].returned
    assert returned is not None
    assert returned.score == 1.1
    assert len((written.root / "ledger.jsonl").read_text().splitlines()) == 3


def test_of_two_that_were_sent_the_slot_says_which(written: Bench) -> None:
    record_sent(written.root, "first", slots=5)
    written.write(RECIPE.replace('["au"]', "[]"))
    written.submit()
    record_sent(written.root, "first", slots=5)
    with pytest.raises(ConfigError, match="slots 1, 2 could be meant"):
        record_score(written.root, "first", 1.0)
    assert record_score(written.root, "first", 1.0, slot=2) == 2
    assert record_score(written.root, "first", 0.9) == 1  # the only one that waits


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"event": "lost"}',
        '{"event": "returned", "slot": 1, "when": "now", "score": 1.0}',
        '{"event": "returned", "slot": 1, "when": "now", "score": NaN}',
        "\x00",
        "[" * 50_000,
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "ledger.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"ledger\.jsonl:1: is no line of a ledger"):
        read_ledger(tmp_path)


def test_slots_are_counted_through(written: Bench) -> None:
    line, _ = record_sent(written.root, "first", slots=5)
    append_line(written.root, line)
    with pytest.raises(DataError, match="slot 1 where 2 comes next"):
        read_ledger(written.root)


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", ".", "..", ""])
def test_a_name_in_the_ledger_leads_nowhere_else(written: Bench, name: str) -> None:
    line, _ = record_sent(written.root, "first", slots=5)
    content = {**line.model_dump(mode="json"), "name": name}
    (written.root / "ledger.jsonl").write_text(json.dumps(content) + "\n")
    with pytest.raises(DataError, match="is no line of a ledger"):
        read_ledger(written.root)


def test_a_listing_says_what_was_written_what_was_not_and_what_is_broken(written: Bench) -> None:
    for name, recipe, manifest in (("new", RECIPE, None), ("broken", RECIPE, "{}"), ("wrong", "seeds = 3", None)):
        (written.root / name).mkdir()
        (written.root / name / "recipe.toml").write_text(recipe)
        if manifest:
            (written.root / name / "manifest.json").write_text(manifest)
    (written.root / "no submission").mkdir()
    record_sent(written.root, "first", slots=5)
    entries, slots = list_submissions(written.root)
    assert [entry.name for entry in entries] == ["broken", "first", "new", "wrong"]
    broken, first, new, wrong = entries
    assert first.state == "as written"
    assert first.slots == [1] == [slot.sent.slot for slot in slots]
    assert new.manifest is None
    assert not new.problem
    assert "manifest.json: abawkit: got nothing, expected text; run `abawkit submit" in broken.problem
    assert "seeds" in wrong.problem


def test_a_listing_says_where_the_file_is_no_longer_the_one_that_was_written(written: Bench) -> None:
    official = written.folder / "outputs/predictions.txt"
    official.write_bytes(official.read_bytes()[:-5])
    assert list_submissions(written.root)[0][0].state == "changed"
    shutil.rmtree(written.folder / "outputs")
    assert list_submissions(written.root)[0][0].state == "absent"


def test_a_listing_says_where_the_recipe_is_no_longer_the_one_that_was_run(written: Bench) -> None:
    assert not list_submissions(written.root)[0][0].recipe_changed
    written.write(RECIPE.replace("[1, 2]", "[1, 2, 3]"))
    assert list_submissions(written.root)[0][0].recipe_changed


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        list_submissions(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("written", 3),
        ("format", None),
        ("submission", {"file": "../../predictions.txt", "sha256": "0" * 64, "rows": 1, "filled": 0}),
        ("validation", {}),
        ("extra", 1),
    ],
)
def test_a_manifest_that_submit_does_not_write_is_refused(written: Bench, key: str, value: object) -> None:
    path = written.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError, match=rf"manifest\.json: {key}.* expected .*; run `abawkit submit .*first` again"):
        read_manifest(written.folder)

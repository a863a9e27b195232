"""Submissions: what they were made from, and whether file, manifest, probabilities and networks belong together."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.formats.base import get_format
from abawkit.formats.editions import ABAW7
from abawkit.formats.writing import digest_submission, read_submission_bytes, write_submission
from abawkit.inspection import Inspection, inspect
from abawkit.inspection.submissions import inspect_submission
from abawkit.models.weights import digest_state, load_weights, save_weights
from abawkit.system.files import sha256_of
from abawkit.tables import FrameList, Predictions
from abawkit.training.run import Trained

Edit = Callable[[Path, str, Any], None]


def only_problem(found: Inspection) -> str:
    assert len(found.problems) == 1, found.problems
    return found.problems[0]


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def rewrite_npz(path: Path, **changes: Any) -> None:
    with np.load(path) as file:
        content = {name: file[name] for name in file.files} | changes
    np.savez_compressed(path, **content)


def test_a_submission_says_what_it_was_made_from(predicted: Path, release: Path, trained: Trained) -> None:
    found = inspect(predicted)
    listed = ABAW7().read_list(release / "test_set_examples/MTL.txt")
    assert (found.kind, found.problems) == ("submission", [])
    assert (found.facts["formats"], found.facts["rows"]) == (["abaw11", "abaw4", "abaw7"], len(listed))
    assert found.facts["source"]["list_file"] == "unchanged"
    best = trained.out / "best.safetensors"
    assert found.facts["members"] == [
        {
            "path": str(best),
            "digest": digest_state(load_weights(best).state),
            "tasks": ["va", "expression", "au"],
            "state": "unchanged",
        }
    ]
    assert found.facts["filled_rows"] == 0
    assert found.digests == {
        "file": sha256_of(predicted),
        "list": listed.digest,
        "probabilities": sha256_of(predicted.with_suffix(".npz")),
    }


def test_a_manifest_stands_for_its_submission(predicted: Path) -> None:
    assert inspect(predicted.with_suffix(".json")).as_dict() == inspect(predicted).as_dict()


def test_a_manifest_finds_its_submission_by_its_digest(submission: Path) -> None:
    named = submission.rename(submission.with_suffix(".csv"))
    submission.write_text("notes\n")
    assert inspect(submission.with_suffix(".json")).path == named


def test_a_manifest_without_its_submission_says_what_there_was(submission: Path) -> None:
    submission.unlink()
    found = inspect(submission.with_suffix(".json"))
    assert str(submission) in only_problem(found)
    assert found.facts["members"][0]["state"] == "unchanged"


def test_a_submission_alone_is_one_too(submission: Path) -> None:
    for suffix in (".json", ".npz"):
        submission.with_suffix(suffix).unlink()
    found = inspect(submission)
    assert (found.problems, found.facts["manifest"], found.facts["probabilities"]) == ([], "none", "none")


def test_probabilities_say_their_rows_and_columns(predicted: Path) -> None:
    found = inspect(predicted.with_suffix(".npz"))
    assert (found.kind, found.problems) == ("probabilities", [])
    assert found.facts["columns"] == {"va": 2, "expression": 8, "au": 12}
    assert found.digests["list"] == inspect(predicted).digests["list"]


def test_a_file_that_was_edited_is_a_problem(submission: Path) -> None:
    before = sha256_of(submission)
    first = submission.read_text().splitlines()[1].split(",")
    rewrite(submission, ",".join(first), ",".join([first[0], "0.123456", *first[2:]]))
    problem = only_problem(inspect(submission))
    assert before in problem
    assert sha256_of(submission) in problem


def test_a_file_that_is_cut_off_is_a_problem_with_its_line(submission: Path) -> None:
    lines = submission.read_text().splitlines()
    submission.write_text("\n".join([*lines[:9], lines[9][:20]]))
    found = inspect(submission)
    assert found.problems[0].startswith(f"{submission}:10: ")
    assert found.facts["members"][0]["state"] == "unchanged"


@pytest.mark.parametrize("content", [b"", b"\0" * 90, b"%PDF-1.7", b"notes\n"])
def test_a_file_that_no_longer_is_a_submission_is_a_problem_beside_its_manifest(
    submission: Path, content: bytes
) -> None:
    submission.write_bytes(content)
    found = inspect(submission)
    assert len(found.problems) == 2
    assert all(str(submission) in problem for problem in found.problems)


def test_a_network_that_was_replaced_is_a_problem_and_one_that_is_gone_is_not(
    submission: Path, trained: Trained, edit: Edit
) -> None:
    moved = submission.parent / "moved.safetensors"
    manifest = submission.with_suffix(".json")
    digest = inspect(submission).facts["members"][0]["digest"]
    member = {"path": str(moved), "digest": digest, "tasks": ["va"]}
    edit(manifest, "members", [member])
    assert (inspect(submission).facts["members"], inspect(submission).problems) == ([{**member, "state": "gone"}], [])
    shutil.copy(trained.out / "best.safetensors", moved)
    assert inspect(submission).facts["members"][0]["state"] == "unchanged"
    weights = load_weights(moved)
    weights.state["heads.va.bias"] += 1
    save_weights(moved, weights.config, weights.state)
    assert digest in only_problem(inspect(submission))


def test_a_network_is_found_from_where_the_submission_lies(submission: Path, trained: Trained, edit: Edit) -> None:
    shutil.copy(trained.out / "best.safetensors", submission.parent / "mine.safetensors")
    manifest = submission.with_suffix(".json")
    digest = inspect(submission).facts["members"][0]["digest"]
    edit(manifest, "members", [{"path": "mine.safetensors", "digest": digest, "tasks": ["va"]}])
    assert inspect(submission).facts["members"][0]["state"] == "unchanged"


def test_a_list_that_was_changed_is_a_problem(submission: Path, edit: Edit) -> None:
    listed = submission.parent / "MTL.txt"
    listed.write_text("image\nv/1.jpg\n")
    edit(submission.with_suffix(".json"), "source.list", str(listed))
    assert str(listed) in only_problem(inspect(submission))


def test_answers_that_other_frames_gave_are_listed(submission: Path, edit: Edit) -> None:
    filled = [{"row": 3, "image": "v/3.jpg", "from": "v/2.jpg"}]
    edit(submission.with_suffix(".json"), "filled", filled)
    found = inspect(submission)
    assert (found.facts["filled_rows"], found.facts["filled"]) == (1, filled)


def test_probabilities_that_give_another_file_are_a_problem(submission: Path) -> None:
    path = submission.with_suffix(".npz")
    with np.load(path) as file:
        flipped = 1 - file["au"]
    rewrite_npz(path, au=flipped)
    assert f"{path}: does not give predictions.txt" in only_problem(inspect(submission))
    assert f"{path}: is not what {path.with_suffix('.json')} describes: it has digest" in only_problem(inspect(path))


def test_probabilities_of_another_list_are_a_problem(submission: Path) -> None:
    path = submission.with_suffix(".npz")
    rewrite_npz(path, list_digest="0" * 64)
    assert f"{path}: names the list" in only_problem(inspect(path))
    assert f"{path}: names the list" in only_problem(inspect(submission))


@pytest.mark.parametrize("size", [0, 3, 1000, -1])
def test_truncated_probabilities_are_a_problem(submission: Path, size: int) -> None:
    path = submission.with_suffix(".npz")
    path.write_bytes(path.read_bytes()[:size])
    assert str(path) in only_problem(inspect(path))
    assert str(path) in only_problem(inspect(submission))


def test_objects_in_probabilities_are_not_unpickled(submission: Path) -> None:
    path = submission.with_suffix(".npz")
    rewrite_npz(path, va=np.array([{"any": "object"}], dtype=object))
    assert str(path) in only_problem(inspect(path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", 3),
        ("format", "other"),
        ("rows", "x"),
        ("rows", 3),
        ("members", {}),
        ("members", [3]),
        ("members", [{"path": 3, "digest": [], "tasks": "va"}]),
        ("members", [{"path": "\0", "digest": "x", "tasks": [float("inf")]}]),
        ("source", None),
        ("source.list", 3),
        ("source.list_digest", "x"),
        ("filled", 3),
        ("filled", [{"row": "x"}]),
        ("environment", []),
        ("submission_sha256", 3),
    ],
)
def test_a_wrong_value_in_a_manifest_is_a_problem_and_no_crash(
    submission: Path, edit: Edit, name: str, value: Any
) -> None:
    edit(submission.with_suffix(".json"), name, value)
    found = inspect(submission)
    assert found.problems
    assert all(str(submission.with_suffix(".json")) in problem for problem in found.problems)
    assert found.facts["rows"] > 3


@pytest.mark.parametrize("text", ["", "{", "3", "[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_named(submission: Path, text: str) -> None:
    manifest = submission.with_suffix(".json")
    manifest.write_text(text)
    assert str(manifest) in only_problem(inspect(submission))
    with pytest.raises(DataError, match=r"predictions\.json"):
        inspect(manifest)


def test_json_of_something_else_beside_a_submission_says_nothing_of_it(submission: Path) -> None:
    submission.with_suffix(".json").write_text('{"my": "notes"}')
    assert inspect(submission).facts["manifest"] == "none"


def in_format(name: str, submission: Path, edit: Edit) -> Path:
    """The same prediction in another format, with its manifest and its probabilities beside it."""
    with np.load(submission.with_suffix(".npz")) as file:
        images = pa.array(file["images"].tolist(), pa.string())
        predictions = Predictions(images, file["va"], file["expression"], file["au"])
    content = get_format(name).encode(predictions.decide())
    path = submission.with_name(name if isinstance(content, Mapping) else f"{name}.txt")
    write_submission(path, content)
    for suffix in (".json", ".npz"):
        shutil.copy(submission.with_suffix(suffix), path.with_suffix(suffix))
    edit(path.with_suffix(".json"), "format", name)
    edit(path.with_suffix(".json"), "submission_sha256", digest_submission(content))
    return path


@pytest.mark.parametrize("name", ["abaw5-va", "abaw5-expr", "abaw5-au", "abaw7-ce"])
def test_a_file_of_one_task_is_known_by_its_form_and_compared_with_its_probabilities(
    submission: Path, edit: Edit, name: str
) -> None:
    path = in_format(name, submission, edit)
    found = inspect(path)
    assert (found.problems, found.facts["formats"]) == ([], [name])
    assert found.summary.startswith(f"a submission ({name}) of ")
    assert inspect(path.with_suffix(".json")).as_dict() == found.as_dict()
    path.with_suffix(".json").unlink()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4] + ",9", *lines[5:]]))
    assert only_problem(inspect(path)).endswith(f"`abawkit check` lists all 1 defects as {name}")


@pytest.mark.parametrize("name", ["abaw3-va", "abaw3-expr", "abaw3-au"])
def test_a_folder_of_a_file_a_video_is_a_submission_like_any_other(submission: Path, edit: Edit, name: str) -> None:
    path = in_format(name, submission, edit)
    found = inspect_submission(path)
    assert (found.problems, found.facts["formats"]) == ([], [name])
    assert found.digests["file"] == digest_submission(read_submission_bytes(path))
    assert inspect(path.with_suffix(".json")).as_dict() == found.as_dict()
    first = min(path.iterdir())
    first.write_text(first.read_text() + first.read_text().splitlines()[-1] + "\n")
    changed = inspect_submission(path)
    assert changed.digests["file"] != found.digests["file"]
    assert only_problem(changed).endswith("it was changed after it was predicted")
    first.write_text(first.read_text() + "x\n")
    assert inspect_submission(path).problems[0].startswith(f"{first}:")


def test_a_folder_that_is_no_submission_is_refused_with_the_reason_of_each_format(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    with pytest.raises(DataError, match=r"is no submission in any installed format\nabaw3-au: .*is an empty folder"):
        inspect_submission(tmp_path / "notes")


def test_probabilities_whose_frames_a_folder_can_not_hold_do_not_give_it(submission: Path, edit: Edit) -> None:
    path = in_format("abaw3-va", submission, edit)
    with np.load(path.with_suffix(".npz")) as file:
        images = [name.replace(".jpg", "x.jpg") for name in file["images"].tolist()]
    listed = FrameList(images=pa.array(images, pa.string()), lines=np.arange(len(images)))
    rewrite_npz(path.with_suffix(".npz"), images=np.array(images), list_digest=listed.digest)
    assert "does not give abaw3-va: they are not of one prediction" in only_problem(inspect_submission(path))

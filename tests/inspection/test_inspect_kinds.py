"""What is none of the known kinds is named for what it looks like."""

import json
import os
import shutil
from pathlib import Path

import pytest

from abawkit.errors import DataError
from abawkit.formats.base import get_format
from abawkit.formats.writing import write_submission
from abawkit.inspection import inspect
from abawkit.inspection.report import Inspection, Record, make_plain
from abawkit.synth.release import RELEASE_VERSION
from abawkit.training.run import Trained


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        inspect(path)
    text = str(caught.value)
    assert str(path) in text
    assert (
        "a checkpoint of one, a submission, a curated set, stored features, a rule or a list of doubtful labels" in text
    )
    return text


def test_a_release_is_to_be_curated(release: Path) -> None:
    text = refusal(release)
    assert f"looks like a release (synthetic: version {RELEASE_VERSION}, size tiny" in text
    assert "; `abawkit curate` makes a curated set of it" in text


def test_packed_frames_belong_to_a_curated_set(curated: Path, encoded: Path) -> None:
    for folder in (curated, encoded):
        assert "the packed frames of a curated set" in refusal(folder / "frames")


def test_a_folder_of_checkpoints_belongs_to_a_run(trained: Trained) -> None:
    assert "the checkpoints of a run" in refusal(trained.out / "checkpoints")


def test_other_folders_are_described(tmp_path: Path) -> None:
    assert "is an empty folder" in refusal(tmp_path)
    for name in ("a", "b\x1b[31m", "c", "d"):
        (tmp_path / name).touch()
    assert r"4 entries (a, b\x1b[31m, c, ...)" in refusal(tmp_path)


def test_nothing_is_named_as_nothing(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "absent")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "neither a file nor a folder" in refusal(tmp_path / "pipe")


def test_annotations_and_lists_are_told_from_submissions(release: Path) -> None:
    assert "is an annotation file" in refusal(release / "training_set_annotations.txt")
    assert "is a list of frames" in refusal(release / "test_set_examples/MTL.txt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", "empty"),
        ("zeros.txt", b"\0" * 600, "zero bytes only"),
        ("notes.txt", b"my notes\n", "my notes"),
        ("page.html", b"<!doctype html>\n", "no submission"),
        ("movie.mp4", b"\0\0\0\x18ftypmp42", "video"),
        ("archive.zip", b"PK\x03\x04\0\0", "a ZIP archive"),
        ("list.json", b"[1]", "holds JSON, but no object"),
        ("notes.json", b"{}", "no manifest of a prediction"),
        ("deep.json", b"[" * 100_000, "is not JSON"),
        ("manifest.json", b"{}", "no manifest of a prediction"),
    ],
)
def test_other_files_are_described(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in refusal(tmp_path / name)


def test_a_submission_may_be_called_manifest(predicted: Path, tmp_path: Path) -> None:
    for path in predicted.parent.iterdir():
        shutil.copy(path, tmp_path / f"manifest{path.suffix}")
    assert inspect(tmp_path / "manifest.json").path == tmp_path / "manifest.txt"


def test_facts_are_json_values() -> None:
    nested: list[object] = []
    for _ in range(5000):
        nested = [nested]
    found = Inspection(Path("x"), "run")
    for name, value in {"a": float("-inf"), "b": {1: (2, Path("y"))}, "c": nested, "d": "\ud800"}.items():
        found.note(name, value)
    found.note("absent", None)
    assert list(found.facts) == ["a", "b", "c", "d"]
    assert (found.facts["a"], found.facts["b"]) == (None, {"1": [2, "y"]})
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_record_takes_no_boolean_for_a_number() -> None:
    problems: list[str] = []
    record = Record("r.json", {"a": {"b": True, "c": 3, "d": float("nan")}}, problems)
    assert record.get("a.b", int) is None
    assert record.get("a.c", float) == 3.0
    assert record.get("a.d", float) is None
    assert record.get("a.c.e", str, optional=True) is None
    assert problems == [
        "r.json: a.b: got True, expected a whole number",
        "r.json: a.d: got nan, expected a number",
    ]


def test_plain_keeps_what_json_has() -> None:
    content = {"a": [1, 2.5, "x", None, True, {"b": []}]}
    assert make_plain(content) == content


@pytest.mark.parametrize("name", ["recipe.toml", "metrics.jsonl", "manifest.json", "best.safetensors"])
def test_a_pipe_or_another_encoding_in_a_run_is_a_problem(trained: Trained, tmp_path: Path, name: str) -> None:
    run = Path(shutil.copytree(trained.out, tmp_path / "run"))
    (run / name).write_bytes(b"\xff\xfe\x00")
    assert any(name in problem for problem in inspect(run).problems)
    (run / name).unlink()
    os.mkfifo(run / name)
    assert any(name in problem for problem in inspect(run).problems)


def test_the_folder_of_a_submission_stands_for_what_it_wrote(predicted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "outputs").mkdir(parents=True)
    (folder / "recipe.toml").write_text('summary = "mine"\n')
    with pytest.raises(DataError, match=r"was not made yet; `abawkit submit` makes it"):
        inspect(folder)
    for path in predicted.parent.iterdir():
        shutil.copy(path, folder / "outputs")
    found = inspect(folder)
    assert (found.kind, found.problems) == ("submission", [])
    assert found.path == folder / "outputs/predictions.txt"


def test_a_folder_with_a_file_a_video_is_a_submission(submission: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    write_submission(folder, get_format("abaw3-va").encode(get_format("abaw7").read(submission)))
    assert inspect(folder).facts["formats"] == ["abaw3-va"]

"""The folder of an ablation is taken up by the same ablation, and by no other."""

from pathlib import Path

import pytest

from abawkit.ablation.workspace import ABLATION_NOTE, describe_origin, open_folder
from abawkit.errors import ConfigError, DataError


def test_a_folder_is_made_and_taken_up_again(tmp_path: Path) -> None:
    begun = describe_origin(None, "tiny", None)
    folder = open_folder(tmp_path / "new", begun)
    (folder.root / "release").mkdir()
    assert open_folder(tmp_path / "new", begun) == folder


def test_another_ablation_is_refused_with_what_differs(tmp_path: Path) -> None:
    open_folder(tmp_path, describe_origin(None, "tiny", None))
    with pytest.raises(ConfigError, match="release: was drawn, tiny, is drawn, demo"):
        open_folder(tmp_path, describe_origin(None, "demo", None))


def test_other_weights_are_another_ablation(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"one")
    first = describe_origin(None, "tiny", weights)
    weights.write_bytes(b"two")
    assert first != describe_origin(None, "tiny", weights) != describe_origin(None, "tiny", None)


def test_a_release_whose_labels_changed_is_another_one(release: Path, tmp_path: Path) -> None:
    for name in ("training_set_annotations.txt", "validation_set_annotations.txt"):
        (tmp_path / name).write_bytes((release / name).read_bytes())
    (tmp_path / "cropped_aligned").mkdir()
    before = describe_origin(tmp_path, "tiny", None)
    (tmp_path / "training_set_annotations.txt").write_bytes(b"")
    assert describe_origin(tmp_path, "tiny", None) != before


def test_a_release_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        describe_origin(tmp_path / "absent", "tiny", None)


def test_a_folder_with_anything_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ConfigError, match="not empty"):
        open_folder(tmp_path, describe_origin(None, "tiny", None))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_damaged_note_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ABLATION_NOTE).write_bytes(content)
    with pytest.raises(ConfigError):
        open_folder(tmp_path, describe_origin(None, "tiny", None))
    assert (tmp_path / ABLATION_NOTE).read_bytes() == content

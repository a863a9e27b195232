"""Where a release keeps its files: the official layout, or any other by option."""

from pathlib import Path

import pytest

from abawkit.curation import find_sources
from abawkit.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cropped_aligned").mkdir()
    for name in ("training_set_annotations.txt", "validation_set_annotations.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_official_layout_is_found(folder: Path) -> None:
    sources = find_sources(folder)
    assert sources.train == folder / "training_set_annotations.txt"
    assert sources.validation == folder / "validation_set_annotations.txt"
    assert sources.frames == folder / "cropped_aligned"


def test_each_path_may_be_given_instead(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    sources = find_sources(folder, train=other / "t", validation=other / "v", frames=other)
    assert (sources.train, sources.validation, sources.frames) == (other / "t", other / "v", other)


def test_compressed_annotations_are_found_and_plain_ones_come_first(folder: Path) -> None:
    (folder / "training_set_annotations.txt").rename(folder / "training_set_annotations.txt.gz")
    (folder / "validation_set_annotations.txt.gz").touch()
    sources = find_sources(folder)
    assert (sources.train.name, sources.validation.suffix) == ("training_set_annotations.txt.gz", ".txt")


def test_labels_only_needs_no_frames(folder: Path) -> None:
    (folder / "cropped_aligned").rmdir()
    assert find_sources(folder, labels_only=True).frames is None
    with pytest.raises(DataError, match="no such folder of frames; give it with --frames, or --labels-only"):
        find_sources(folder)


def test_labels_only_and_frames_contradict_each_other(folder: Path) -> None:
    with pytest.raises(ConfigError, match="contradict"):
        find_sources(folder, frames=folder, labels_only=True)


@pytest.mark.parametrize("name", ["none", "training_set_annotations.txt"])
def test_a_release_that_is_no_folder_is_named(folder: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"no such folder|is a file"):
        find_sources(folder / name)


def test_a_missing_annotation_file_is_named_with_its_option(folder: Path) -> None:
    (folder / "validation_set_annotations.txt").unlink()
    with pytest.raises(DataError, match=r"validation_set_annotations\.txt: no such file; .*--validation"):
        find_sources(folder)

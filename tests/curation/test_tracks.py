"""Single-task tracks of older editions: found by header, joined by frame, and refused where they are no tracks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from abawkit.curation import Sources, curate, find_sources, open_curated
from abawkit.curation.curated_set import read_curation_ledger
from abawkit.curation.reading import read_split
from abawkit.errors import ConfigError, DataError, DataWarning, ProblemsError
from abawkit.inspection import inspect
from abawkit.labels import ACTION_UNITS, EXPRESSIONS

Track = Callable[..., Path]

HEADERS = {"va": "valence,arousal", "expression": ",".join(EXPRESSIONS), "au": ",".join(ACTION_UNITS)}
UNITS = "0,1,0,0,0,0,0,0,0,0,0,1"


@pytest.fixture
def track(tmp_path: Path) -> Track:
    """Writes the folder of a track: a file for each video, a line for each frame."""

    def track(task: str, folder: str, **videos: list[str]) -> Path:
        path = tmp_path / folder
        path.mkdir(parents=True)
        for video, lines in videos.items():
            (path / f"{video}.txt").write_text("\n".join([HEADERS[task], *lines, ""]))
        return path

    return track


@pytest.fixture
def older(track: Track, tmp_path: Path) -> Path:
    """A release of an older edition: three tracks of different videos and lengths."""
    va, expression, au = "VA_Estimation_Challenge", "EXPR_Classification_Challenge", "AU_Detection_Challenge"
    track("va", f"old/{va}/Train_Set", b=["0.5,-0.5", "-5,-5", "0.25,0"], a_left=["1,-1"])
    track("va", f"old/{va}/Validation_Set", w=["0,0.5"])
    track("expression", f"old/{expression}/Train_Set", b=["3", "-1"], c=["7"])
    track("expression", f"old/{expression}/Validation_Set", w=["1"])
    track("au", f"old/{au}/Train_Set", b=[UNITS, UNITS, UNITS, UNITS])
    track("au", f"old/{au}/Validation_Set", w=[UNITS])
    return tmp_path / "old"


def test_a_release_of_single_tracks_is_joined_into_one_table(older: Path, out: Path) -> None:
    curation = curate(find_sources(older, labels_only=True), out, policy="per-task")
    train = open_curated(out).splits["train"].annotations
    assert train.images.to_pylist() == [
        *("a_left/00001.jpg", "b/00001.jpg", "b/00002.jpg", "b/00003.jpg", "b/00004.jpg", "c/00001.jpg"),
    ]
    assert train.va_valid.tolist() == [True, True, False, True, False, False]
    assert train.expression_valid.tolist() == [False, True, False, False, False, True]
    assert train.au_valid.tolist() == [False, True, True, True, True, False]
    assert train.va[[0, 1, 3]].tolist() == [[1.0, -1.0], [0.5, -0.5], [0.25, 0.0]]
    assert train.expression[[1, 5]].tolist() == [3, 7]
    assert train.au[4].tolist() == [int(unit) for unit in UNITS.split(",")]
    assert train.lines.tolist() == [2, 2, 3, 4, 5, 2]
    assert curation.splits["train"].kept_by == {"strict": 1, "per-task": 6}


def test_the_ledger_has_every_track_and_inspect_sees_that_one_changed(older: Path, out: Path) -> None:
    curate(find_sources(older, labels_only=True), out, policy="per-task")
    source = read_curation_ledger(out)["sources"]["train"]
    paths = [source["path"], *(track["path"] for track in source["joined_with"])]
    assert paths == [str(path) for path in sorted(older.glob("*/Train_Set"))]
    assert inspect(out).problems == []
    (older / "EXPR_Classification_Challenge/Train_Set/c.txt").write_text(f"{HEADERS['expression']}\n6\n")
    assert ["EXPR_Classification_Challenge" in problem for problem in inspect(out).problems] == [True]


def test_folders_and_flat_files_are_given_by_hand_in_any_order(track: Track, tmp_path: Path) -> None:
    folder = track("au", "units", v=[UNITS, UNITS])
    flat = tmp_path / "expr.txt"
    flat.write_text(f"image_location,{HEADERS['expression']}\nv/00002.jpg,5\nv/00009.jpg,1\n")
    for paths in ([folder, flat], [flat, folder]):
        source = read_split(paths)
        assert source.tasks == ("expression", "au")
        assert source.annotations.images.to_pylist() == [f"v/0000{frame}.jpg" for frame in (1, 2, 9)]
        assert source.annotations.expression_valid.tolist() == [False, True, True]
        assert source.annotations.au_valid.tolist() == [True, True, False]


def test_repeated_rows_of_a_flat_track_are_not_lost(tmp_path: Path, track: Track) -> None:
    flat = tmp_path / "va.txt"
    flat.write_text("image_location,valence,arousal\nv/00001.jpg,0,0\nv/00001.jpg,0.5,0.5\n")
    joined = read_split([flat, track("expression", "e", v=["4"])]).annotations
    assert joined.images.to_pylist() == ["v/00001.jpg"] * 2
    assert joined.va.tolist() == [[0.0, 0.0], [0.5, 0.5]]
    assert joined.expression_valid.tolist() == [True, False]


def test_one_track_alone_is_a_split(track: Track, out: Path) -> None:
    sources = Sources(track("va", "t", v=["0,0"]), track("va", "w", w=["0,0"]), None)
    assert curate(sources, out, policy="per-task").splits["train"].valid["va"] == 1  # and no word on other tasks
    with pytest.raises(DataError, match="keeps 0 of 1 training row: none is annotated with an expression or all"):
        curate(sources, out)


def test_two_folders_of_one_task_are_refused(track: Track) -> None:
    with pytest.raises(ConfigError, match="both hold va; give each single-task track once"):
        read_split([track("va", "one", v=["0,0"]), track("va", "two", w=["0,0"])])


def test_tracks_without_a_common_image_are_a_warning(track: Track) -> None:
    with pytest.warns(DataWarning, match=r"no image in common \(their first: v/00001.jpg, w/00001.jpg\)"):
        read_split([track("va", "one", v=["0,0"]), track("expression", "two", w=["0"])])


def test_every_problem_of_a_track_is_named_with_file_and_line(track: Track) -> None:
    folder = track("va", "t", v=["0,0", "0,1.5"], w=["0"])
    with pytest.raises(ProblemsError) as caught:
        read_split([folder])
    assert [(p.file, p.line, p.column) for p in caught.value.problems] == [("v.txt", 3, "arousal"), ("w.txt", 2, "")]


@pytest.mark.parametrize("content", [None, "0.1,0.2\n", "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise\n0\n"])
def test_a_folder_that_is_no_track_is_named_with_the_headers_of_tracks(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    if content:
        (folder / "v.txt").write_text(content)
    with pytest.raises(
        DataError, match=r"no file VIDEO\.txt in this folder has the header of a track \('valence,arousal', 'Neutral"
    ):
        read_split([folder])


def test_without_a_release_all_else_must_be_given(track: Track, tmp_path: Path) -> None:
    train, validation = track("va", "t", v=["0,0"]), track("va", "w", w=["0,0"])
    assert find_sources(train=train, validation=[validation], labels_only=True).paths("validation") == [validation]
    for given in ({"train": train}, {"train": train, "validation": validation}):
        with pytest.raises(ConfigError, match="without a RELEASE, give --train and --validation, and --frames"):
            find_sources(**given)  # type: ignore[arg-type]

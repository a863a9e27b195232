"""Import of features: every form gives the same store, and whatever does not fit the table is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import abawkit
from abawkit.curation.curated_set import open_curated
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.features.store import FeatureStore
from abawkit.tables import Array
from tests.features.conftest import NAMES, make_values

Write = Callable[..., Path]

FILE_NAMES = [NAMES[row] for row in (1, 0, 4, 3, 2)]


def expected_values() -> Array:
    """The features of the table's rows, where row i of a file has the numbers of row i of `make_values`."""
    return make_values(5)[[1, 0, 4, 3, 2]]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("image\n" + "".join(f"{name}\n" for name in NAMES))
    return path


def write_npz(folder: Path, names: list[str], values: Array) -> dict[str, Any]:
    np.savez(folder / "f.npz", images=np.array(names), features=values)
    return {"file": folder / "f.npz"}


def write_npy(folder: Path, names: list[str], values: Array) -> dict[str, Any]:
    np.save(folder / "f.npy", values)
    (folder / "names.txt").write_text("\n".join(names))
    return {"file": folder / "f.npy", "names": folder / "names.txt"}


def make_table(names: list[str], values: Array) -> pd.DataFrame:
    return pd.DataFrame({"image": names, **{f"x{i}": column for i, column in enumerate(values.T)}})


def write_csv(folder: Path, names: list[str], values: Array) -> dict[str, Any]:
    make_table(names, values).to_csv(folder / "f.csv", index=False)
    return {"file": folder / "f.csv"}


def write_gzip(folder: Path, names: list[str], values: Array) -> dict[str, Any]:
    make_table(names, values).to_csv(folder / "f.csv.gz", index=False)
    return {"file": folder / "f.csv.gz"}


def write_parquet(folder: Path, names: list[str], values: Array) -> dict[str, Any]:
    make_table(names, values).to_parquet(folder / "f.parquet", index=False)
    return {"file": folder / "f.parquet"}


def write_folder(folder: Path, names: list[str], values: Array) -> dict[str, Any]:
    (folder / "f").mkdir()
    for video in ("a", "b"):
        rows = [row for row, name in enumerate(names) if name.startswith(video)]
        made = write_npz(folder, [names[row] for row in rows], values[rows])
        made["file"].rename(folder / "f" / f"{video}.npz")
    return {"file": folder / "f"}


FORMS = [write_npz, write_npy, write_csv, write_gzip, write_parquet, write_folder]


@pytest.mark.parametrize("write", FORMS)
def test_every_form_is_joined_by_name_and_occurrence(tmp_path: Path, listed: Path, write: Any) -> None:
    arguments = write(tmp_path, FILE_NAMES, make_values(5))
    store = abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed, dtype="float32")
    assert list(store.names) == NAMES
    assert store.values.tolist() == expected_values().tolist()
    assert store.manifest.source["kind"] == "import"
    assert len(store.manifest.source.get("sha256") or store.manifest.source["files_sha256"]) == 64
    assert FeatureStore.open(tmp_path / "out").digest == store.digest


@pytest.mark.parametrize("write", FORMS)
def test_missing_rows_are_counted_and_named(tmp_path: Path, listed: Path, write: Any) -> None:
    arguments = write(tmp_path, FILE_NAMES[1:-1], make_values(3))
    with pytest.raises(DataError, match=r"no features for 2 of 5 rows: a/00007.jpg, b/00001.jpg \(1 of them are there"):
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed)
    assert not (tmp_path / "out").exists()


def test_a_row_without_features_takes_those_of_the_nearest_frame_and_the_manifest_names_it(tmp_path: Path) -> None:
    table = ["v/00001.jpg", "v/00004.jpg", "v/00009.jpg", "w/00005.jpg", "v/00009.jpg"]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(["image", *table]))
    arguments = write_npz(tmp_path, ["w/00005.jpg", "v/00001.jpg", "v/00009.jpg"], make_values(3))
    with pytest.raises(
        DataError, match=r"2 of 5 rows: v/00004.jpg, v/00009.jpg .*--missing neighbour gives them those"
    ):
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed)
    message = r"for 2 of 5 rows, which take those of .*: v/00004.jpg as v/00001.jpg, v/00009.jpg as v/00009.jpg$"
    with pytest.warns(DataWarning, match=message):
        store = abawkit.import_features(
            **arguments, out=tmp_path / "out", frame_list=listed, missing="neighbour", dtype="float32"
        )
    assert store.values.tolist() == make_values(3)[[1, 1, 2, 0, 2]].tolist()
    assert store.manifest.frames["filled"] == [
        {"row": 2, "image": "v/00004.jpg", "from": "v/00001.jpg"},
        {"row": 5, "image": "v/00009.jpg", "from": "v/00009.jpg"},
    ]


def test_a_video_without_any_features_has_no_neighbour_and_other_values_are_refused(
    tmp_path: Path, listed: Path
) -> None:
    arguments: dict[str, Any] = {**write_npz(tmp_path, NAMES[1:2], make_values(1)), "out": tmp_path / "out"}
    with pytest.raises(DataError, match=r"a/00007.jpg: no frame of its video has features; there is no neighbour"):
        abawkit.import_features(**arguments, frame_list=listed, missing="neighbour")
    wrong: Any = "nearest"
    with pytest.raises(ConfigError, match="missing 'nearest': expected refuse or neighbour"):
        abawkit.import_features(**arguments, frame_list=listed, missing=wrong)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("write", FORMS)
def test_extra_rows_are_named_and_left_out_by_an_option_alone(tmp_path: Path, listed: Path, write: Any) -> None:
    names = ["b/00009.jpg", *FILE_NAMES, "b/00010.jpg"]
    arguments = write(tmp_path, names, make_values(7))
    message = r"2 rows of features are not in the table: b/00009.jpg, b/00010.jpg; leave them out with --drop-extra"
    with pytest.raises(DataError, match=message):
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed)
    with pytest.warns(DataWarning, match=r"2 rows of features are not in the table, and left out"):
        store = abawkit.import_features(
            **arguments, out=tmp_path / "out", frame_list=listed, drop_extra=True, dtype="float32"
        )
    assert store.values.tolist() == make_values(7)[1:6][[1, 0, 4, 3, 2]].tolist()


@pytest.mark.parametrize("write", FORMS)
def test_repeated_rows_are_named_even_where_extra_ones_are_dropped(tmp_path: Path, listed: Path, write: Any) -> None:
    arguments = write(tmp_path, [*FILE_NAMES, "b/00002.jpg", "b/00009.jpg"], make_values(7))
    with pytest.raises(DataError, match=r"1 row of features is repeated more often than in the table: b/00002.jpg"):
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed, drop_extra=True)


@pytest.mark.parametrize("write", FORMS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_located(tmp_path: Path, listed: Path, write: Any, bad: float) -> None:
    values = make_values(5)
    values[3, 1] = bad
    arguments = write(tmp_path, FILE_NAMES, values)
    # in CSV, pandas writes NaN as an empty cell
    message = r"(column 'x1': CSV conv.*|number 2 is (nan|inf), expected a finite one \(1 such row among 5 rows)"
    with pytest.raises(DataError, match=message) as caught:
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed)
    where = str(caught.value).partition(" number")[0].partition(" column")[0]
    assert where.endswith((".csv:5:", ".gz:5:", "row 4:", "b.npz: row 3:"))
    assert not [entry for entry in tmp_path.iterdir() if entry.name.endswith(".unfinished")]


def test_what_float16_can_not_hold_is_named(tmp_path: Path, listed: Path) -> None:
    arguments = write_npz(tmp_path, FILE_NAMES, make_values(5) + 70_000)
    with pytest.raises(DataError, match=r"row 1, number 1 is 70000.4, expected a finite float16; store float32"):
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed)


def test_names_of_another_form_show_an_example(tmp_path: Path, listed: Path) -> None:
    arguments = write_npz(tmp_path, ["a_1.jpg"] * 5, make_values(5))
    with pytest.raises(DataError, match=r"no features for 5 of 5 rows: b/00002.jpg, .*; its first name is 'a_1.jpg'"):
        abawkit.import_features(**arguments, out=tmp_path / "out", frame_list=listed)


def test_a_folder_of_arrays_is_joined_by_frame_number(tmp_path: Path, listed: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    np.save(folder / "a.npy", make_values(2) + 100)
    np.save(folder / "b.npy", make_values(2))
    with pytest.raises(ConfigError, match=r"a\.npy: has no names; give --first-frame"):
        abawkit.import_features(folder, tmp_path / "out", frame_list=listed)
    with pytest.raises(DataError, match=r"no features for 2 of 5 rows: a/00007.jpg, a/00008.jpg"):
        abawkit.import_features(folder, tmp_path / "out", frame_list=listed, first_frame=1)
    np.save(folder / "a.npy", make_values(8) + 100)
    with pytest.raises(DataError, match=r"a\.npy: row 1: 6 rows of features are not in the table: a/00001.jpg"):
        abawkit.import_features(folder, tmp_path / "out", frame_list=listed, first_frame=1)
    with pytest.warns(DataWarning, match=r"6 rows of features are not in the table, and left out"):
        store = abawkit.import_features(
            folder, tmp_path / "out", frame_list=listed, first_frame=1, drop_extra=True, dtype="float32"
        )
    a, b = make_values(8) + 100, make_values(2)
    assert store.values.tolist() == [b[1].tolist(), b[0].tolist(), a[6].tolist(), b[0].tolist(), a[7].tolist()]


def test_rows_of_a_curated_set_without_a_frame_may_be_absent(
    curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_curated(curated)
    names = [n for split in opened.splits.values() for n in split.annotations.images.to_pylist()]
    values = np.random.default_rng(0).normal(size=(len(names), 4)).astype(np.float32)
    arguments = write_npz(tmp_path, names[1:], values[1:])
    with pytest.raises(DataError, match=rf"no features for 1 of {len(names)} rows: "):
        abawkit.import_features(**arguments, out=tmp_path / "out", data=curated)
    frames = np.array(opened.splits["train"].frames)
    frames[0] = -1
    object.__setattr__(opened.splits["train"], "frames", frames)
    monkeypatch.setattr("abawkit.features.import_rows.open_curated", lambda _: opened)
    with pytest.warns(DataWarning, match="no features for 1 row without a frame; they are left out"):
        store = abawkit.import_features(**arguments, out=tmp_path / "out", data=curated, dtype="float32")
    assert list(store.names) == names[1:]
    assert np.array_equal(store.values, values[1:])
    whole = write_npz(tmp_path, names, values)
    assert len(abawkit.import_features(**whole, out=tmp_path / "whole", data=curated).names) == len(names)
    assert json.loads((tmp_path / "whole/manifest.json").read_text())["frames"]["table_sha256"] == opened.digest

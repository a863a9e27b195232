"""Files that are no features in one of the known forms: each is refused with what was found."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abawkit.errors import AbawkitError, ConfigError, DataError
from abawkit.features.foreign_files import read_foreign_features
from tests.features.conftest import make_values


def test_arrays_that_are_no_features_are_described(tmp_path: Path) -> None:
    images, path = np.array(["a/1.jpg", "a/2.jpg"]), tmp_path / "f.npz"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"features": make_values(2)}, r"holds 'features', expected 'features' and 'images' alone"),
        ({"images": images, "features": make_values(2), "y": images}, "holds 'features', 'images', 'y', expected"),
        (
            {"images": images, "features": np.zeros((2, 3), int)},
            r"features is int64 \(2, 3\), expected floats",
        ),
        ({"images": images, "features": np.zeros(2)}, r"features is float64 \(2,\)"),
        ({"images": images, "features": np.zeros((2, 0))}, r"features is float64 \(2, 0\)"),
        ({"images": np.zeros(2), "features": make_values(2)}, r"images is float64 \(2,\), expected names, one a row"),
        (
            {"images": images.astype(object), "features": make_values(2)},
            "it holds Python objects; store names",
        ),
        ({"images": images[:1], "features": make_values(2)}, "has 1 name and 2 rows of numbers"),
    ]
    for arrays, message in cases:
        np.savez(path, **arrays)
        with pytest.raises(DataError, match=message):
            read_foreign_features(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.npz", b"PK\x03\x04 damaged", r"f\.npz: is no \.npz of names and numbers"),
        ("f.npz", b"", r"f\.npz: is no \.npz of names and numbers"),
        ("f.npy", b"\x93NUMPY\x01", r"f\.npy: is no \.npy of numbers"),
        ("f.parquet", b"PAR1", r"f\.parquet: can't be read as Parquet"),
        ("f.txt", b"x", r"f\.txt: has another ending; expected \.npz"),
        ("f.csv", b"image,x\n", r"f\.csv: holds a header and no rows"),
        ("f.csv", b"name,x\na/1.jpg,1\n", r"f\.csv:1: has the columns name, x, expected `image`"),
        ("f.csv", b"image\na/1.jpg\n", r"f\.csv:1: has the columns image, expected `image` and at least one number"),
        ("f.csv", b",image,x\n0,a/1.jpg,1\n", r"f\.csv:1: column 1 has no name, as an index that pandas wrote"),
        ("f.csv", b"image,x,x\na/1.jpg,1,2\n", r"f\.csv:1: column 'x' is there twice"),
        ("f.csv", b"image,x\na/1.jpg,1\na/2.jpg,one\n", r"f\.csv:3: column 'x': CSV conversion error .*'one'"),
        ("f.csv", b"image,x\na/1.jpg,1\na/2.jpg,\n", r"f\.csv:3: column 'x': CSV conversion error .*''"),
        ("f.csv", b"image,x\na/1.jpg,1\na/2.jpg,1,2\n", r"f\.csv:3: Expected 2 columns, got 3"),
        ("f.csv", b"image,x\na/1.jpg,1\n\na/2.jpg,1\n", r"f\.csv:3: column 'x': CSV conversion error .*''"),
        ("f.csv", b"\xff\xfei\0", r"f\.csv: looks like UTF-16 text"),
    ],
)
def test_other_files_are_described(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "names").write_text("a/1.jpg\n")
    with pytest.raises(DataError, match=message):
        read_foreign_features(tmp_path / name, tmp_path / "names" if name == "f.npy" else None)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a/1.jpg"], "x": [1]}, "column 'x': holds int64, expected floating-point numbers"),
        ({"image": [1], "x": [1.0]}, "column 'image': holds int64, expected names"),
        (
            {"image": ["a/1.jpg", None], "x": [1.0, 2.0]},
            "column 'image': holds (large_)?string, 1 of them absent, expected names",
        ),
        ({"x": [1.0]}, "has the columns x, expected `image`"),
        ({"image": [], "x": []}, "column 'image'|has no rows"),
    ],
)
def test_other_tables_are_described(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    pd.DataFrame(columns).to_parquet(tmp_path / "f.parquet", index=False)
    with pytest.raises(DataError, match=rf"f\.parquet: ({message})"):
        read_foreign_features(tmp_path / "f.parquet")


def test_folders_are_of_one_form_and_width(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    with pytest.raises(DataError, match="is an empty folder"):
        read_foreign_features(folder)
    np.savez(folder / "a.npz", images=np.array(["a/1.jpg"]), features=make_values(1))
    np.savez(folder / "b.npz", images=np.array(["b/1.jpg"]), features=make_values(1, 4))
    with pytest.raises(DataError, match=r"b\.npz: has 4 numbers a row, and a\.npz has 3 numbers"):
        read_foreign_features(folder)
    with pytest.raises(ConfigError, match=r"--first-frame: is for a folder of VIDEO.npy alone, and .* holds 'a.npz'"):
        read_foreign_features(folder, first_frame=1)
    (folder / "notes.md").write_text("x")
    with pytest.raises(DataError, match=r"holds 'notes\.md', which is no file of features"):
        read_foreign_features(folder)


def test_the_numbers_of_a_folder_are_put_side_by_side_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.csv").write_text("x,image,y\n1,a/1.jpg,2\n")
    (folder / "b.csv").write_text("image,y,x\nb/1.jpg,4,3\n")
    pd.DataFrame({"y": [6.0], "x": [5.0], "image": ["c/1.jpg"]}).to_parquet(folder / "c.parquet", index=False)
    assert [part.values.tolist() for part in read_foreign_features(folder)] == [[[1, 2]], [[3, 4]], [[5, 6]]]
    (folder / "b.csv").write_text("image,x,z\nb/1.jpg,3,4\n")
    with pytest.raises(DataError, match=r"b\.csv: has a column 'z' and no 'y', which a\.csv has"):
        read_foreign_features(folder)
    (folder / "b.csv").unlink()
    np.savez(folder / "b.npz", images=np.array(["b/1.jpg"]), features=make_values(1, 2))
    with pytest.raises(DataError, match=r"a\.csv: names its numbers, and b\.npz does not"):
        read_foreign_features(folder)


def test_names_may_be_written_on_windows(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", make_values(2))
    (tmp_path / "names").write_bytes("\ufeffa/1.jpg\r\nä/2.jpg\r\n".encode())
    (part,) = read_foreign_features(tmp_path / "f.npy", tmp_path / "names")
    assert part.images.to_pylist() == ["a/1.jpg", "ä/2.jpg"]


def test_options_that_do_not_fit_the_form_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", make_values(2))
    (tmp_path / "f.csv").write_text("image,x\na/1.jpg,1\n")
    (tmp_path / "names").write_text("a/1.jpg\n")
    cases: list[tuple[str, dict[str, Any], type[AbawkitError], str]] = [
        ("f.npy", {}, ConfigError, r"f\.npy: has no names; give --names FILE"),
        ("f.npy", {"names": tmp_path / "names"}, DataError, "has 1 name and 2 rows of numbers"),
        ("f.npy", {"names": tmp_path / "absent"}, DataError, "absent: can't be read"),
        ("f.csv", {"names": tmp_path / "names"}, ConfigError, r"--names: is for an \.npy"),
        ("f.csv", {"first_frame": 1}, ConfigError, "--first-frame: is for a folder with"),
        ("absent.csv", {}, DataError, r"absent\.csv: no such file or folder"),
        (".", {"names": tmp_path / "names"}, ConfigError, r"--names: is for one \.npy"),
    ]
    for name, options, kind, message in cases:
        with pytest.raises(kind, match=message):
            read_foreign_features(tmp_path / name, **options)

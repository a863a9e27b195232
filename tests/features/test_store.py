import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import DataError
from abawkit.features.store import FeatureStore, match_names
from abawkit.tables import FrameList
from tests.features.conftest import NAMES, make_values


def test_it_has_the_rows_in_the_order_of_the_table(store: FeatureStore) -> None:
    assert list(store.names) == NAMES
    assert store.dimension == 3
    assert isinstance(store.values, np.memmap)
    assert store.values.tolist() == make_values(5).tolist()
    assert store.mirrored is not None
    assert store.mirrored.tolist() == (-make_values(5)).tolist()
    assert not store.values.flags.writeable
    store.verify()


def test_its_names_have_the_digest_of_the_table_that_they_are_from(store: FeatureStore) -> None:
    table = FrameList(pa.array(NAMES), np.arange(5))
    assert store.manifest.names_sha256 == table.digest


def test_rows_are_found_by_name_and_occurrence(store: FeatureStore) -> None:
    names = ["a/00008.jpg", "b/00001.jpg", "b/00002.jpg", "b/00001.jpg"]
    assert store.select(names).tolist() == [4, 1, 0, 3]
    assert store.select(pa.array(names)).tolist() == [4, 1, 0, 3]
    assert store.select(NAMES).tolist() == [0, 1, 2, 3, 4]
    assert store.select([]).tolist() == []


def test_names_without_features_are_counted_and_shown(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"no features for 2 of 3 rows: c/00001\.jpg, c/00002\.jpg; extract features"):
        store.select(["c/00001.jpg", "b/00001.jpg", "c/00002.jpg"])
    with pytest.raises(DataError, match=r"for 12 of 12 rows: c/0\.jpg, .*c/9\.jpg, \.\.\. and 2 more; "):
        store.select([f"c/{i}.jpg" for i in range(12)])


def test_a_name_that_is_here_less_often_is_named_as_such(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"for 2 of 4 rows \(1 of them are here, but less often\): c/1.jpg, b/00002"):
        store.select(["c/1.jpg", "b/00002.jpg", "b/00002.jpg", "b/00001.jpg"])


def test_matching_agrees_with_a_dictionary_of_pairs() -> None:
    random = np.random.default_rng(5)
    known, requested = (random.integers(0, 9, n).astype(str).tolist() for n in (40, 70))

    def pair(names: list[str]) -> list[tuple[str, int]]:
        return [(name, names[:i].count(name)) for i, name in enumerate(names)]

    rows = {key: i for i, key in enumerate(pair(known))}
    expected = [rows.get(key, -1) for key in pair(requested)]
    assert match_names(pa.array(requested), pa.array(known)).tolist() == expected
    assert match_names(pa.array(requested[:3]), pa.array([], pa.string())).tolist() == [-1, -1, -1]


def test_the_digest_is_of_names_and_numbers(store: FeatureStore) -> None:
    moved = store.folder.rename(store.folder.with_name("moved"))
    assert FeatureStore.open(moved).digest == store.digest
    manifest = json.loads((moved / "manifest.json").read_text())
    for key, same in [("source", True), ("features_sha256", False), ("mirrored_sha256", False)]:
        changed = {**manifest, key: {"kind": "other"} if same else "0" * 64}
        (moved / "manifest.json").write_text(json.dumps(changed))
        assert (FeatureStore.open(moved).digest == store.digest) is same


def test_a_changed_number_is_found_by_reading_it_all(store: FeatureStore) -> None:
    for name in ("features.npy", "mirrored.npy"):
        path = store.folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"\x41")
        with pytest.raises(DataError, match=rf"{name}: is damaged, its SHA-256 is .*; make the features again"):
            FeatureStore.open(store.folder).verify()
        path.write_bytes(content)
    FeatureStore.open(store.folder).verify()


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def reshape(path: Path) -> None:
    np.save(path, np.zeros((5, 4), np.float32))


def retype(path: Path) -> None:
    np.save(path, np.zeros((5, 3), np.float64))


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, x=np.zeros(3))


def pickle(path: Path) -> None:
    np.save(path, np.array([None]), allow_pickle=True)


@pytest.mark.parametrize("name", ["features.npy", "mirrored.npy"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, r"can't be opened \(No such file or directory\)"),
        (shorten, "is damaged"),
        (empty, "is damaged"),
        (reshape, r"is float32 \(5, 4\), manifest.json says float32 \(5, 3\)"),
        (retype, r"is float64 \(5, 3\), manifest.json says float32 \(5, 3\)"),
        (archive, "is damaged"),
        (pickle, "is damaged"),
    ],
)
def test_a_damaged_array_is_refused(
    store: FeatureStore, name: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(store.folder / name)
    with pytest.raises(DataError, match=rf"{name}: {message}.*; make the features again"):
        FeatureStore.open(store.folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"b/00002.jpg\nb/00001.jpg\n", "is damaged, or of another store"),
        (b"", "is empty"),
        (b"\xff\n", "is not UTF-8 text"),
    ],
)
def test_other_names_are_refused(store: FeatureStore, content: bytes, message: str) -> None:
    (store.folder / "names.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"names\.txt: {message}"):
        FeatureStore.open(store.folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("complete", False, "features_sha256: a complete store has one"),
        ("features_sha256", None, "features_sha256: a complete store has one"),
        ("mirrored_sha256", None, "mirrored_sha256: a complete store with mirrored features has one"),
        ("format", "abawkit features 2", "format: got 'abawkit features 2', expected abawkit features 1"),
        ("rows", 6, r"names\.txt: has 5 names, manifest\.json says 6"),
        ("rows", 0, "rows: got 0"),
        ("dtype", "float64", "dtype: got 'float64', expected one of float16, float32"),
        ("nonsense", 1, "nonsense: unknown key"),
    ],
)
def test_another_manifest_is_refused(store: FeatureStore, key: str, value: object, message: str) -> None:
    path = store.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(DataError, match=message):
        FeatureStore.open(store.folder)


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no features \(manifest.json is absent\); make the features again"):
        FeatureStore.open(tmp_path)

"""Members in files: abawkit's own bit for bit, others in a documented form, and nothing that is neither."""

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.errors import ConfigError, DataError
from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS, TASKS, Task
from abawkit.probabilities.members import (
    digest_columns,
    read_member,
    read_members,
    read_probabilities,
    write_probabilities,
)
from abawkit.tables import Array, Predictions

NAMES = ["v/00001.jpg", "v/00001.jpg", "é/00002.jpg", "w/00009.jpg"]

Columns = dict[str, Any]


def predictions(seed: int = 0, names: list[str] = NAMES) -> Predictions:
    rng, n = np.random.default_rng(seed), len(names)
    columns = rng.uniform(-1, 1, (n, 2)), rng.dirichlet(np.ones(8), n), rng.uniform(0, 1, (n, 12))
    return Predictions(pa.array(names), *(column.astype(np.float32) for column in columns))


def content(**changes: Any) -> Columns:
    said = predictions()
    columns: Columns = {"images": np.array(NAMES), **{task: getattr(said, task) for task in TASKS}, **changes}
    return {name: column for name, column in columns.items() if column is not None}


def stored(path: Path, **changes: Any) -> Path:
    np.savez_compressed(path, **content(**changes))
    return path


def same(a: Predictions, b: Predictions) -> bool:
    return a.images.equals(b.images) and all(np.array_equal(getattr(a, task), getattr(b, task)) for task in TASKS)


def manifest(path: Path, digests: list[str], listed: str, **more: Any) -> None:
    members = [{"path": "x", "digest": digest, "tasks": list(TASKS)} for digest in digests]
    record = {"submission_sha256": "0" * 64, "source": {"list_digest": listed}, "members": members, **more}
    path.with_suffix(".json").write_text(json.dumps(record))


# abawkit's own files


def test_probabilities_read_back_bit_for_bit(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "p.npz", predictions())
    assert same(read_probabilities(tmp_path / "p.npz"), predictions())
    member = read_member(tmp_path / "p.npz")
    assert same(member.predictions, predictions())
    assert member.tasks == TASKS


@pytest.mark.parametrize("changes", [{"au": content()["au"].astype(np.float64)}, {}])
def test_probabilities_of_others_are_not_taken_for_abawkits_own(tmp_path: Path, changes: Columns) -> None:
    with pytest.raises(DataError, match=r"p\.npz: does not hold probabilities of abawkit"):
        read_probabilities(stored(tmp_path / "p.npz", **changes))


def test_tasks_that_were_not_written_are_not_known(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "p.npz", predictions(), ("au",))
    member = read_member(tmp_path / "p.npz")
    assert member.tasks == ("au",)
    assert np.array_equal(member.predictions.au, predictions().au)
    assert (member.predictions.expression == np.float32(1 / 8)).all()


def test_the_digest_of_what_is_read_is_known_when_it_is_written_though_rounding_is_cut(tmp_path: Path) -> None:
    va, au = predictions().va.copy(), predictions().au.copy()
    va[0], au[1], au[2] = np.nextafter(np.float32(1), np.float32(2)), -1e-9, -0.0
    said = replace(predictions(), va=va, au=au)
    tasks: tuple[Task, ...] = ("va", "au")
    write_probabilities(tmp_path / "p.npz", said, tasks)
    assert read_member(tmp_path / "p.npz").digest == digest_columns(said, tasks)


# keys


def test_a_member_is_called_by_the_networks_that_its_manifest_names_in_any_order(tmp_path: Path) -> None:
    path = stored(tmp_path / "p.npz")
    for digests in (["b" * 64, "a" * 64], ["a" * 64, "b" * 64]):
        manifest(path, digests, predictions().digest)
        assert read_member(path).key == f"{'a' * 12}+{'b' * 12}"


def test_an_ensemble_is_called_by_its_members_and_one_of_ensembles_shows_which_were_averaged_first(
    tmp_path: Path,
) -> None:
    path = stored(tmp_path / "p.npz")
    for keys, expected in ((["b", "a"], "a+b"), (["a+b"], "a+b"), (["c", "a+b"], "(a+b)+c"), (["c", "a@r"], "(a@r)+c")):
        members = [{"path": "x", "key": key, "digest": "0" * 64, "tasks": list(TASKS)} for key in keys]
        manifest(path, [], predictions().digest, members=members)
        assert read_member(path).key == expected


def test_a_member_is_called_otherwise_once_a_rule_was_applied_to_it(tmp_path: Path) -> None:
    path = stored(tmp_path / "p.npz")
    manifest(path, ["a" * 64], predictions().digest, rule={"digest": "c" * 64})
    assert read_member(path).key == f"{'a' * 12}@{'c' * 12}"


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"my": "notes"}', '{"members": 3, "submission_sha256": ""}'])
def test_a_member_without_a_manifest_of_abawkit_is_called_by_its_file(tmp_path: Path, text: str | None) -> None:
    path = stored(tmp_path / "their net.v2.npz")
    if text is not None:
        path.with_suffix(".json").write_text(text)
    assert read_member(path).key == "their net.v2"


def test_a_manifest_of_other_rows_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "p.npz")
    manifest(path, ["a" * 64], "0" * 64)
    with pytest.raises(DataError, match=r"p\.json: is about other rows than .*p\.npz"):
        read_member(path)


@pytest.mark.parametrize("described", ["0" * 64, None, 3, ["\x1b"]])
def test_a_manifest_of_other_probabilities_of_these_rows_is_refused(tmp_path: Path, described: Any) -> None:
    path = stored(tmp_path / "p.npz")
    manifest(path, ["a" * 64], predictions().digest, probabilities_digest=described)
    with pytest.raises(DataError, match=r"p\.npz: is not what .*p\.json describes: .*or remove the manifest"):
        read_member(path)


def test_a_manifest_of_these_probabilities_names_them(tmp_path: Path) -> None:
    path = stored(tmp_path / "p.npz", va=None)
    digest = digest_columns(predictions(), ("expression", "au"))
    manifest(path, ["a" * 64], predictions().digest, probabilities_digest=digest)
    assert read_member(path).key == "a" * 12


# other systems


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_any_floating_type_is_taken(tmp_path: Path, dtype: Any) -> None:
    columns = {task: getattr(predictions(), task).astype(dtype) for task in TASKS}
    found = read_member(stored(tmp_path / "p.npz", **columns)).predictions
    for task in TASKS:
        np.testing.assert_allclose(getattr(found, task), getattr(predictions(), task), rtol=0, atol=1e-3)


def test_columns_are_put_in_order_by_their_names(tmp_path: Path) -> None:
    said, alphabetical = predictions(), np.argsort(EXPRESSIONS)
    path = stored(
        tmp_path / "p.npz",
        expression=said.expression[:, alphabetical],
        expressions=np.array(EXPRESSIONS)[alphabetical],
        au=said.au[:, ::-1],
        action_units=np.array(ACTION_UNITS[::-1]),
        va=said.va[:, ::-1],
        dimensions=np.array(DIMENSIONS[::-1]),
    )
    assert same(read_member(path).predictions, said)


def test_names_of_columns_that_are_absent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="it has dimensions, which names the columns of va, and no va"):
        read_member(stored(tmp_path / "p.npz", va=None, dimensions=np.array(DIMENSIONS)))


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "p.npz")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("va.npy", archive.read("au.npy"))
    with pytest.raises(DataError, match="it has two arrays of one name"):
        read_member(path)


@pytest.mark.parametrize(
    "names",
    [EXPRESSIONS[:7], (*EXPRESSIONS[:7], "Contempt"), (*EXPRESSIONS[:7], "Neutral"), [x.lower() for x in EXPRESSIONS]],
)
def test_names_that_are_not_each_label_once_are_refused(tmp_path: Path, names: Any) -> None:
    with pytest.raises(DataError, match="expected each of Neutral, Anger"):
        read_member(stored(tmp_path / "p.npz", expressions=np.array(names)))


def test_a_system_of_one_task_knows_that_task(tmp_path: Path) -> None:
    member = read_member(stored(tmp_path / "p.npz", va=None, au=None))
    assert member.tasks == ("expression",)
    assert np.array_equal(member.predictions.expression, predictions().expression)


# values


def changed(task: Task, value: float) -> Columns:
    column: Array = getattr(predictions(), task).copy()
    column[2, 1] = value
    return {task: column}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed("va", 1.7), r"row 3: column 'arousal': got 1\.7, expected -1\.\.1"),
        (changed("va", np.nan), r"row 3: column 'arousal': got nan"),
        (changed("va", -5), r"row 3: column 'arousal': got -5, expected -1\.\.1"),
        (changed("au", 4.2), r"row 3: column 'AU2': got 4\.2, expected 0\.\.1 .*logits: store their sigmoid"),
        (changed("au", np.inf), r"row 3: column 'AU2': got inf"),
        (
            changed("expression", -3.1),
            r"row 3: column 'Anger': got -3\.1, expected 0\.\.1 .*logits: store their softmax",
        ),
        (changed("expression", 0.9), r"row 3: expression: got eight probabilities that sum to 1\.\d+, expected 1"),
    ],
)
def test_a_value_out_of_range_is_named_with_its_row_and_column(tmp_path: Path, changes: Columns, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_member(stored(tmp_path / "p.npz", **changes))


def test_rounding_beyond_the_range_is_cut(tmp_path: Path) -> None:
    va = predictions().va.copy()
    va[0] = np.nextafter(np.float32(1), np.float32(2))
    assert read_member(stored(tmp_path / "p.npz", va=va)).predictions.va.max() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "it has au, expression, va"),
        ({"va": None, "expression": None, "au": None}, "it has images"),
        ({"aus": content()["au"]}, "it has 'aus'"),
        ({"va": content()["va"][:3]}, r"va is float32 \(3, 2\), expected floats \(4, 2\)"),
        ({"au": content()["au"] > 0.5}, "au is bool"),
        ({"images": np.array(NAMES, dtype=object)}, "store names as np.array"),
        ({"images": np.arange(4)}, "images is int64"),
        ({"images": np.array([*NAMES[:3], "00009.jpg"])}, "row 4: got no video folder"),
        ({"images": np.array([*NAMES[:3], "\ud800"])}, "not Unicode"),
        ({"images": np.array([b"v/\xff.jpg"] * 4)}, "not Unicode"),
        ({"list_digest": "0" * 64}, "names the list 0000"),
        ({"list_digest": np.array(["0" * 64] * 2)}, "names the list 0000"),
        ({task: content()[task][:0] for task in ("images", *TASKS)}, "it has no rows"),
    ],
)
def test_what_is_not_the_form_is_refused_by_name(tmp_path: Path, changes: Columns, message: str) -> None:
    with pytest.raises(DataError, match=rf"p\.npz: .*{message}"):
        read_member(stored(tmp_path / "p.npz", **changes))


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-400])


def _damaged(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.index(b"va.npy") + 40
    path.write_bytes(whole[:start] + bytes(b ^ 255 for b in whole[start : start + 40]) + whole[start + 40 :])


def _array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, predictions().va)


def _claims(path: Path) -> None:
    """A header that says a trillion names of no width."""
    header = b"{'descr': '<U0', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", content)
        archive.writestr("va.npy", content.replace(b"<U0", b"<f4").replace(b"(1000000000000,)", b"(10**3,)        "))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("image,valence,arousal,expression,aus\n"),
        _truncated,
        _damaged,
        _array,
        _claims,
        lambda path: path.unlink(),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_a_file_that_holds_no_probabilities_is_refused_by_name(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = stored(tmp_path / "p.npz")
    spoil(path)
    with pytest.raises(DataError, match=r"p\.npz: (does not hold probabilities|can't be read)"):
        read_member(path)


def test_what_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path / "p.npz", va=np.zeros((1000, 1000)))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr("abawkit.probabilities.files.MAX_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"p\.npz: does not hold probabilities \(it unpacks to 8,00"):
        read_member(path)


# several


def test_members_of_other_rows_are_refused_with_the_first_row_that_differs(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "a.npz", predictions())
    others = [[*NAMES[:2], NAMES[3], NAMES[2]], NAMES[:3], [*NAMES, "w/00010.jpg"]]
    messages = ["row 3 is 'w/00009.jpg', not 'é/00002.jpg'", "it has 3 rows, not 4", "it has 5 rows, not 4"]
    for names, message in zip(others, messages, strict=True):
        write_probabilities(tmp_path / "b.npz", predictions(1, names))
        with pytest.raises(DataError, match=rf"b\.npz: has other rows than .*a\.npz: {message}"):
            read_members([tmp_path / "a.npz", tmp_path / "b.npz"])


def test_the_same_member_twice_is_refused_even_under_another_name_and_in_another_form(tmp_path: Path) -> None:
    write_probabilities(tmp_path / "a.npz", predictions())
    write_probabilities(tmp_path / "b.csv", predictions())
    with pytest.raises(DataError, match=r"b\.csv: the same probabilities as .*a\.npz .*count twice"):
        read_members([tmp_path / "a.npz", tmp_path / "b.csv"])


def test_two_members_of_one_name_are_refused_as_a_rule_could_not_tell_them_apart(tmp_path: Path) -> None:
    paths = [tmp_path / "one" / "net.npz", tmp_path / "two" / "net.npz"]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        write_probabilities(path, predictions(seed))
    with pytest.raises(DataError, match=r"two/net\.npz: is called net, as is .*one/net\.npz"):
        read_members(paths)


def test_no_member_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="no member was given"):
        read_members([])

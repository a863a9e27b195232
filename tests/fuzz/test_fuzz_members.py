"""Stored probabilities and rules: what was written is read, and anything else is refused by name."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from abawkit.errors import DataError
from abawkit.labels import TASKS
from abawkit.postprocessing.calibration import Calibration
from abawkit.postprocessing.rule import Rule, apply_rule, make_rule_content, write_rule
from abawkit.postprocessing.rule_file import read_rule
from abawkit.postprocessing.smoothing import Smoothing
from abawkit.probabilities.files import COLUMNS
from abawkit.probabilities.members import StoredMember, read_member, write_probabilities
from abawkit.tables import Predictions

Fuzz = Callable[..., None]

NAMES = ["v/00001.jpg", "v/00004.jpg", "w/00001.jpg"]


def predictions() -> Predictions:
    rng = np.random.default_rng(0)
    columns = rng.uniform(-1, 1, (3, 2)), rng.dirichlet(np.ones(8), 3), rng.uniform(0, 1, (3, 12))
    return Predictions(pa.array(NAMES), *(column.astype(np.float32) for column in columns))


def read(path: Path, content: bytes) -> str:
    """What becomes of a member: refused by name, or sound whatever it says."""
    path.write_bytes(content)
    try:
        member = read_member(path)
    except DataError as error:
        refusal = str(error)
    else:
        sound(member)
        return "read"
    assert str(path) in refusal
    return "refused"


def sound(member: StoredMember) -> None:
    said = member.predictions
    assert member.tasks
    assert len(said) > 0
    assert (np.abs(said.va) <= 1).all()
    assert (np.abs(said.expression.sum(axis=1) - 1) < 2e-3).all()
    assert ((said.au >= 0) & (said.au <= 1)).all()
    said.decide()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The file with some of its bytes changed, lost or added."""
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(content) - 1)) if content else 0
        edit = draw(st.sampled_from(["flip", "flip", "cut", "insert", "remove"]))
        if edit == "flip" and content:
            content = content[:i] + bytes([content[i] ^ draw(st.integers(1, 255))]) + content[i + 1 :]
        elif edit == "cut":
            content = content[:i]
        elif edit == "insert":
            content = content[:i] + draw(st.binary(min_size=1, max_size=8)) + content[i:]
        elif edit == "remove":
            content = content[:i] + content[i + draw(st.integers(1, 8)) :]
    return content


def test_damaged_archives_are_refused_or_sound(fuzz: Fuzz, tmp_path: Path) -> None:
    write_probabilities(tmp_path / "whole.npz", predictions())
    content = (tmp_path / "whole.npz").read_bytes()
    fuzz(lambda text: read(tmp_path / "p.npz", text), damaged(content), outcomes=("refused",), examples=100)


SHAPES = [(3, 2), (3, 8), (3, 12), (3,), (), (0, 2), (3, 2, 1), (2, 8)]
TYPES = ["<f4", ">f8", "<f2", "<i8", "|b1", "<c8", "<U3", "|S2", "|V4", "<M8[s]"]


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Archives of arrays, some as they should be, some of other shapes, types and names, some lying of their size."""
    said = predictions()
    columns: dict[str, Any] = {"images": np.array(NAMES), **{task: getattr(said, task) for task in TASKS}}
    stream = io.BytesIO()
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        name = draw(st.sampled_from([*columns, "list_digest", "expressions", "action_units", "logits", "../va"]))
        shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(TYPES))
        texts = st.lists(st.sampled_from(NAMES) | st.text(max_size=9), min_size=3, max_size=3).map(np.array)
        value = draw(st.just(np.zeros(shape, dtype)) | texts | st.just(np.full(shape, np.nan)))
        columns = {**columns, name: value} if draw(st.booleans()) else {k: v for k, v in columns.items() if k != name}
    with zipfile.ZipFile(stream, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as archive:
        for name, value in columns.items():
            array = io.BytesIO()
            np.save(array, value, allow_pickle=False)
            content = array.getvalue()
            if draw(st.sampled_from([False] * 7 + [True])):
                content = content.replace(b"(3, ", b"(3000000000, ")
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def test_archives_of_any_arrays_are_refused_or_sound(fuzz: Fuzz, tmp_path: Path) -> None:
    fuzz(lambda text: read(tmp_path / "p.npz", text), archives(), outcomes=("read", "refused"), examples=100)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Tables of text, most of them right but for a cell or a name."""
    said, tasks = predictions(), draw(st.lists(st.sampled_from(TASKS), unique=True, min_size=1))
    header = ["image", *(name for task in tasks for name in COLUMNS[task])]
    values = np.concatenate([getattr(said, task) for task in tasks], axis=1)
    rows = [[name, *map(str, row)] for name, row in zip(NAMES, values.tolist(), strict=True)]
    lines = [header, *rows]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        line = draw(st.sampled_from(lines))
        cells = [
            "",
            "nan",
            "1e400",
            "-5",
            "0",
            "1",
            "\u0661",
            " 0.5 ",
            '"0.5"',
            "a,b",
            "AU1",
            "image",
            "\x00",
            "x" * 500,
        ]
        line[draw(st.integers(0, len(line) - 1))] = draw(st.sampled_from(cells) | st.text(max_size=4))
    text = draw(st.sampled_from(["\n", "\n", "\r\n", "\n\n"])).join(",".join(line) for line in lines)
    return text.encode(errors="surrogatepass")


def test_tables_of_any_cells_are_refused_or_sound(fuzz: Fuzz, tmp_path: Path) -> None:
    fuzz(lambda text: read(tmp_path / "p.csv", text), tables(), outcomes=("read", "refused"), examples=100)


@pytest.fixture
def full() -> Rule:
    return Rule(
        {task: {"p": 0.5} for task in TASKS},
        {"va": Smoothing("gaussian", 2, 10.0), "au": Smoothing("median", 1)},
        Calibration(bias=np.linspace(-1, 1, 8)),
    )


def applied(rule: Rule, member: StoredMember) -> str:
    try:
        apply_rule(rule, [member]).decide()
    except DataError:
        return "of others"
    return "applied"


def test_forged_rules_are_refused_or_can_be_applied_and_written(
    fuzz: Fuzz, full: Rule, forged: Callable[..., Any], json_values: Any, tmp_path: Path
) -> None:
    write_probabilities(tmp_path / "p.npz", predictions())
    member, path = read_member(tmp_path / "p.npz"), tmp_path / "rule.json"
    write_rule(path, full, {})
    content = json.loads(path.read_text())
    numbers = st.sampled_from([0, 1, 0.02, 50, -50, 100, 1e10, 1e-300, 2.0, True])

    def check(given: Any) -> str:
        path.write_text(json.dumps(given))
        try:
            rule = read_rule(path)
        except DataError as error:
            refusal = str(error)
        else:
            write_rule(path, rule, {})
            assert make_rule_content(read_rule(path)) == make_rule_content(rule)
            return applied(rule, member)
        assert refusal.startswith(f"{path}: ")
        return "refused"

    fuzz(check, forged(content, json_values | numbers), outcomes=("applied", "refused"), examples=120)


def test_manifests_of_any_content_give_a_key_or_are_refused(
    fuzz: Fuzz, forged: Callable[..., Any], json_values: Any, tmp_path: Path
) -> None:
    path = tmp_path / "p.npz"
    write_probabilities(path, predictions())
    entries = [{"path": "x", "digest": "a" * 64, "tasks": ["va"]}, {"path": "y", "key": "k", "digest": "b" * 64}]
    source, rule = {"list_digest": predictions().digest}, {"digest": "c" * 64}
    content = {"members": entries, "submission_sha256": "d" * 64, "source": source, "rule": rule}

    def check(given: Any) -> str:
        (tmp_path / "p.json").write_text(json.dumps(given))
        try:
            key = read_member(path).key
        except DataError as error:
            refusal = str(error)
        else:
            assert key
            return "by its file" if key == "p" else "by its networks"
        assert str(tmp_path / "p.json") in refusal
        return "refused"

    fuzz(check, forged(content, json_values), outcomes=("refused", "by its file", "by its networks"), examples=100)

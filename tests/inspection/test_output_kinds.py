"""What ``--force`` takes for an output of its own kind, and what resembles one."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from abawkit.inspection.output_kinds import EXPORTED_NETWORK, PROBABILITIES, SUBMISSION
from abawkit.system.files import sha256_of, write_json

IMAGES = np.array(["a/1.jpg"])
VA = np.zeros((1, 2), np.float32)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"va": VA}, True),
        ({"va": VA, "list_digest": np.array("0" * 64)}, True),
        ({}, False),
        ({"features": VA}, False),
        ({"va": VA, "features": VA}, False),
    ],
)
def test_an_archive_of_probabilities_has_a_task_and_nothing_else(
    tmp_path: Path, arrays: dict[str, Any], expected: bool
) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, **arrays)
    assert (PROBABILITIES.difference(tmp_path / "a.npz") == "") is expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["image", "valence", "arousal"], True),
        (["image", "valence"], False),
        (["image", "f0", "f1"], False),
        (["image", "valence", "arousal", "line"], False),
        (["valence", "arousal"], False),
    ],
)
def test_a_table_of_probabilities_has_all_of_a_task_and_nothing_else(
    tmp_path: Path, columns: list[str], expected: bool
) -> None:
    table = pd.DataFrame([["a/1.jpg"] * len(columns)], columns=columns)
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet", index=False)
    for name in ("a.csv", "a.parquet"):
        assert (PROBABILITIES.difference(tmp_path / name) == "") is expected


def test_a_curated_set_is_no_table_of_probabilities(curated: Path) -> None:
    assert PROBABILITIES.difference(curated / "table.parquet")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\x08\x0a\x12\x07abawkit\x1a\x050.1.0", True),
        (b"\x08\x0a\x12\x07pytorch\x1a\x032.9 abawkit", False),
        (b"import abawkit\n", False),
        (b'{"abawkit": "0.1.0"}', False),
        (b'\x20\0\0\0\0\0\0\0{"__metadata__": {"abawkit": "1"}}', False),
    ],
)
def test_an_exported_network_names_abawkit_where_onnx_names_its_producer(
    tmp_path: Path, content: bytes, expected: bool
) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    assert (EXPORTED_NETWORK.difference(tmp_path / "a.onnx") == "") is expected


def test_a_manifest_speaks_for_its_own_submission_alone(tmp_path: Path) -> None:
    notes, submission = tmp_path / "p.md", tmp_path / "p.txt"
    notes.write_text("my notes\n")
    submission.write_text("a format without a header\n")
    assert SUBMISSION.difference(submission)
    write_json(tmp_path / "p.json", {"submission_sha256": sha256_of(submission)})
    assert SUBMISSION.difference(notes)
    assert SUBMISSION.difference(submission) == ""
    notes.unlink()
    submission.write_text("changed by hand\n")
    assert SUBMISSION.difference(submission) == ""

"""JSON records: what a model describes is read; anything else is refused with the path of its key."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from abawkit.errors import DataError
from abawkit.system.json_records import read_json, read_object


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    share: Annotated[float, Field(ge=0, le=1)] = 0.0


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    rows: Annotated[int, Field(ge=0)]
    parts: list[Part] = []
    note: str | None = None


def test_what_a_model_describes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('{"rows": 3, "parts": [{"name": "a", "share": 1}]}')
    assert read_json(path, Record, "a record") == Record(rows=3, parts=[Part(name="a", share=1.0)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "rows: got nothing, expected a whole number, at least 0"),
        ({"rows": -1}, "rows: got -1, expected a whole number, at least 0"),
        ({"rows": True}, "rows: got True, expected a whole number"),
        ({"rows": 1, "note": 2}, "note: got 2, expected text"),
        ({"rows": 1, "parts": {}}, "parts: got {}, expected a list"),
        ({"rows": 1, "parts": [3]}, "parts.0: got 3, expected an object"),
        ({"rows": 1, "parts": [{"name": "a", "share": 2}]}, "parts.0.share: got 2, expected a number, 0..1"),
        ({"rows": 1, "parts": [{"name": "a", "x\x1b": 2}]}, "parts.0.x\\x1b: unknown key; expected any of name, share"),
    ],
)
def test_the_first_key_at_fault_is_named(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read_json(path, Record, "a record")
    assert str(caught.value).startswith(f"{path}: {message}")


def test_a_file_that_is_too_large_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text('{"rows": 1}')
    with pytest.raises(DataError, match="has 11 bytes, at most 10 are allowed; expected a record"):
        read_object(tmp_path / "large.json", "a record", limit=10)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is not a regular file; expected a record"):
        read_object(tmp_path / "pipe", "a record")


def test_a_message_ends_with_the_advice(tmp_path: Path) -> None:
    for content in ("[]", "{", '{"rows": -1}'):
        (tmp_path / "record.json").write_text(content)
        with pytest.raises(DataError, match=r"expected .*; copy it again$"):
            read_json(tmp_path / "record.json", Record, "a record", "copy it again")

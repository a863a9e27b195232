"""The fields of files, as docs/reference/files.md lists them and as the files have them."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tests.pages.markdown import ROOT

SECTION = re.compile(r"^### `([^`]*(?:json|jsonl|npz|parquet))`\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)


def find_sections() -> dict[str, set[str]]:
    """For each heading that names a file, as a pattern for `Path.glob`, the fields in the table below it."""
    text = (ROOT / "docs/reference/files.md").read_text(encoding="utf-8")
    return {pattern: _documented_fields(section) for pattern, section in SECTION.findall(text)}


def _documented_fields(section: str) -> set[str]:
    cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    return {field for cell in cells for field in re.findall(r"`([^`]*)`", cell)}


def read_fields(path: Path) -> set[str]:
    """The names that a file has at its top."""
    if path.suffix == ".parquet":
        return set(pq.read_schema(path).names)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return set(arrays.files)
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    return {field for line in lines for field in json.loads(line)}

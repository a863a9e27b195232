"""The notebook: its cells run in order in an empty folder, and it is stored without what they have shown."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pages.markdown import ROOT

NOTEBOOK = ROOT / "docs/tutorial.ipynb"


def read_cells(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.e2e
@pytest.mark.slow
def test_its_cells_run_in_order_and_leave_what_they_say(tmp_path: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in read_cells("code"))
    (tmp_path / "cells.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "cells.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for name in ("curation.html", "runs/seed1/report.html", "score.html", "rule.html", "rule.json", "predictions.txt"):
        assert (tmp_path / name).stat().st_size > 0
        assert name.partition("/")[0] in NOTEBOOK.read_text()


def test_no_output_is_stored() -> None:
    assert read_cells("code")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in read_cells("code"))


def test_its_links_lead_to_pages() -> None:
    text = "".join("".join(cell["source"]) for cell in read_cells("markdown"))
    links = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert links
    assert [link for link in links if not (NOTEBOOK.parent / link).is_file()] == []

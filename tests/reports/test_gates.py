"""Maps of attention in the report of a run: those of the network, without faces unless they may be shown."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.curation import open_curated
from abawkit.models.inference import infer_gates
from abawkit.prediction.networks import load_members
from abawkit.reports.charts import draw_maps
from abawkit.reports.gates import GATE_FRAMES, make_gate_sections
from abawkit.reports.page import Page, Section, render_page
from tests.prediction.conftest import write_member


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_member(tmp_path / "best.safetensors", seed=3)
    return tmp_path


def make_section(run: Path, data: Path, *, with_frames: bool = False) -> Section:
    manifest: dict[str, Any] = {"data": {"folder": str(data)}}
    (section,) = make_gate_sections(run, manifest, with_frames=with_frames)
    return section


def count_images(section: Section) -> int:
    return len(re.findall("data:image/png", render_page(Page("", "", [section]))))


@pytest.fixture
def licensed(curated: Path, tmp_path: Path) -> Path:
    """The same set, of annotations that no synthetic release lies beside."""
    copy = tmp_path / "licensed"
    shutil.copytree(curated, copy)
    ledger = json.loads((copy / "ledger.json").read_text())
    for source in ledger["sources"].values():
        source["path"] = str(tmp_path / "elsewhere" / Path(source["path"]).name)
    (copy / "ledger.json").write_text(json.dumps(ledger))
    return copy


def test_the_tables_hold_the_gates_of_the_network(run: Path, curated: Path) -> None:
    section = make_section(run, curated)
    assert len(section.charts) == GATE_FRAMES
    part = open_curated(curated).splits["validation"]
    names = part.annotations.images.to_pylist()
    rows = [names.index(chart.title) for chart in section.charts]
    assert rows[0] == 0
    assert rows[-1] == len(names) - 1
    pixels = open_curated(curated).open_frames().take(part.frames[rows])
    (member,) = load_members([run / "best.safetensors"], torch.device("cpu"), ())
    maps, _ = infer_gates(member.network, pixels)  # type: ignore[arg-type] # it is no sequence network
    for chart, each in zip(section.charts, maps, strict=True):
        assert [row[0] for row in chart.table.rows] == ["head 1", "head 2", "maximum"]
        assert [row[3] for row in chart.table.rows] == [f"{head.max():.3f}" for head in each]


def test_synthetic_frames_are_shown_and_others_only_on_request(run: Path, curated: Path, licensed: Path) -> None:
    bare = make_section(run, licensed)
    assert "not shown" in bare.text
    maps = count_images(bare)
    for section in (make_section(run, curated), make_section(run, licensed, with_frames=True)):
        assert count_images(section) == maps + GATE_FRAMES
        assert "not shown" not in section.text
    assert [chart.table for chart in bare.charts] == [chart.table for chart in make_section(run, curated).charts]


def test_what_cannot_be_read_is_said_and_the_rest_of_the_report_stays(run: Path, curated: Path, tmp_path: Path) -> None:
    assert make_section(run, tmp_path / "absent").notes[0].startswith("Not drawn: ")
    (run / "best.safetensors").write_bytes(b"damaged")
    assert make_section(run, curated).notes[0].startswith("Not drawn: ")


def test_the_random_numbers_of_what_comes_after_stay_the_same(run: Path, curated: Path) -> None:
    before = torch.random.get_rng_state()
    make_section(run, curated)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_map_is_drawn_from_its_lowest_to_its_highest_and_a_flat_one_stays_flat() -> None:
    slope = np.linspace(0, 1, 49).reshape(7, 7)
    steep, half, flat = (draw_maps("a", "t", "d", [("h", values)], None) for values in (slope, slope / 2, slope * 1e-5))
    assert steep == half
    assert flat != steep

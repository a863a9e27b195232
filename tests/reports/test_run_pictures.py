"""The pictures and the report of a run: made of its files alone, the same for the same files, and never in its way."""

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from abawkit.errors import DataWarning
from abawkit.labels import ACTION_UNITS, EXPRESSIONS
from abawkit.reports import run_pictures
from abawkit.reports.page import render_page
from abawkit.reports.run_pictures import RunPictures, draw_mosaic, draw_results
from abawkit.reports.training import make_training_page
from abawkit.training.batches import AugmentedFrames
from abawkit.training.losses import Targets

EVIL = "<script>alert(1)</script>\"' onload=x"


def make_line(epoch: int, tasks: tuple[str, ...] = ("va", "expression", "au")) -> dict[str, Any]:
    parts = {"ccc_va": ("va", 0.1 * epoch), "expression_f1": ("expression", 0.2), "au_f1": ("au", 0.3)}
    score = {"score": 1.0, **{key: value if task in tasks else None for key, (task, value) in parts.items()}}
    return {
        "epoch": epoch,
        "stage": "all",
        "losses": {"total": 3.0 / epoch, **dict.fromkeys(tasks, 1.0 / epoch), "attention": 30.0},
        "learning_rate": 1e-3 / epoch,
        "seconds": 2.0,
        "images_per_second": 50.0,
        "figure": 0.1 * epoch,
        "official": score,
        "strict": score,
        "per_class": {
            "expression": dict.fromkeys(EXPRESSIONS, 0.25) if "expression" in tasks else None,
            "au": dict.fromkeys(ACTION_UNITS, 0.5) if "au" in tasks else None,
        },
    }


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """The folder of a finished run, as far as pictures and report read it."""

    def run(
        text: str = "plain", epochs: int = 3, tasks: tuple[str, ...] = ("va", "expression", "au"), **others: Any
    ) -> Path:
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        lines = [make_line(epoch, tasks) for epoch in range(1, epochs + 1)]
        (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        (folder / "recipe.toml").write_text(f"network = {json.dumps(text)}\nseed = 3\n[all]\nepochs = {epochs}\n")
        score = {**lines[-1]["official"], "rows": 50}
        per_class = lines[-1]["per_class"]
        score |= {"expression_f1_per_class": per_class["expression"], "au_f1_per_unit": per_class["au"]}
        goodput = {"share": 0.8, "seconds": dict.fromkeys(run_activities(), 1.0), "lost_steps": 2}
        manifest = {
            "data": {"folder": text, "policy": text, "table_digest": "d"},
            "environment": {"device": text, "ops": {text: text}, "git": None},
            "tasks": list(tasks),
            "rows": {"train": 100, "validation": 50},
            "weights": {"path": text, "sha256": "w"},
            "best": {"epoch": epochs, "figure": 1.0, "selected_by": "official", "official": score, "strict": score},
            "checkpoints": {"best.safetensors": text, "last.safetensors": "l"},
            "resumed": [{"from": "0001-000000", "drift": [text]}],
            "goodput": goodput,
        }
        manifest["best"] |= others.pop("best", {})
        (folder / "manifest.json").write_text(json.dumps({**manifest, **others}))
        return folder

    return run


def run_activities() -> tuple[str, ...]:
    return ("start", "data", "steps", "validation", "checkpoints", "lost", "other")


def make_frames(count: int) -> AugmentedFrames:
    valid = torch.arange(count) % 2 == 0
    au = torch.ones(count, 12)
    pixels = np.full((count, 112, 112, 3), 200, np.uint8)
    va = torch.tensor([[0.5, -0.25]]).repeat(count, 1)
    return AugmentedFrames(pixels, Targets(va, torch.full((count,), 4), au, valid, valid, valid))


def test_the_picture_is_the_same_for_the_same_lines_whatever_is_trained() -> None:
    for tasks in (("va", "expression", "au"), ("va",), ("au",)):
        lines = [make_line(epoch, tasks) for epoch in (1, 2)]
        picture = draw_results(lines)
        assert picture == draw_results(lines)
        assert Image.open(io.BytesIO(picture)).size == (1260, 700)


def test_a_run_from_before_scores_by_class_is_drawn() -> None:
    line = make_line(1)
    del line["per_class"]
    assert draw_results([line, make_line(2)])


def test_a_mosaic_has_a_tile_for_each_frame() -> None:
    picture = draw_mosaic(make_frames(10))
    assert picture == draw_mosaic(make_frames(10))
    image = Image.open(io.BytesIO(picture))
    assert image.size == (8 * 160, 2 * 222)
    assert image.getpixel((80, 80)) == (200, 200, 200)
    assert image.getpixel((8 * 160 - 80, 222 + 80)) == (255, 255, 255)  # there is no eleventh frame


def test_what_cannot_be_drawn_is_one_warning(run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run()
    pictures = RunPictures(folder)

    def fail(lines: object) -> bytes:
        raise RuntimeError(f"no font for {lines is not None}\nand more")

    monkeypatch.setattr(run_pictures, "draw_results", fail)
    monkeypatch.setattr(run_pictures, "_SHARE", float("inf"))
    with pytest.warns(DataWarning, match=r"results\.png: not drawn \(no font for True\); the run goes on"):
        pictures.show_results()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.show_results()
    (folder / "manifest.json").write_text("{")
    with pytest.warns(DataWarning, match=r"report\.html: not drawn"):
        pictures.write_report()
    assert not list(folder.glob("*.html"))


def test_short_epochs_are_not_all_drawn_but_the_last_one_is(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now, drawn = [0.0], []

    def draw(lines: list[Any]) -> bytes:
        now[0] += 1.0  # a second each
        drawn.append(len(lines))
        return b"picture"

    monkeypatch.setattr("abawkit.reports.run_pictures.time.monotonic", lambda: now[0])
    monkeypatch.setattr(run_pictures, "draw_results", draw)
    pictures = RunPictures(run())
    for _ in range(9):  # epochs of three seconds: one in four is drawn
        now[0] += 3.0
        pictures.show_results()
    assert len(drawn) == 3
    run(epochs=4)
    now[0] += 3.0
    pictures.show_results()
    pictures.write_report()
    assert drawn[-1] == 4
    assert (pictures.run / "results.png").read_bytes() == b"picture"


def test_the_report_is_made_of_the_files_of_a_run(run: Callable[..., Path]) -> None:
    page = make_training_page(run(epochs=30))
    assert [section.title for section in page.sections] == [
        "Result", "Progress", "Expressions", "Action units", "Attention", "Where the time went", "What was run", "Next"
    ]  # fmt: skip
    classes = page.sections[2].tables[0]
    assert classes.columns[1] == "epoch 1"
    assert classes.columns[-1] == "epoch 30"
    assert len(classes.columns) <= 13
    text = render_page(page)
    assert text == render_page(make_training_page(run(epochs=30)))
    assert len(text) < 3_000_000
    assert "data:image" not in text
    assert f"abawkit predict {run(epochs=30)} --data plain --split validation" in text


@pytest.mark.parametrize("with_frames", [False, True])
def test_frames_are_shown_as_the_run_was_told(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, with_frames: bool
) -> None:
    told: list[bool] = []

    def note(_: Path, __: object, *, with_frames: bool) -> list[object]:
        told.append(with_frames)
        return []

    monkeypatch.setattr("abawkit.reports.training.make_gate_sections", note)
    pictures = RunPictures(run(), with_frames=True) if with_frames else RunPictures(run())
    pictures.write_report()
    assert told == [with_frames]


def test_a_report_of_one_task_leaves_the_others_out(run: Callable[..., Path]) -> None:
    page = make_training_page(run(tasks=("va",)))
    assert "Expressions" not in [section.title for section in page.sections]
    assert [tile.label for tile in page.sections[0].tiles] == ["sum of the parts", "CCC", "best epoch", "goodput"]


def test_the_report_of_a_network_on_all_rows_says_what_it_is_scored_on(run: Callable[..., Path]) -> None:
    fold = {"number": 0, "of": 5, "over": "train+validation", "seed": 3, "validated_on": "its own training rows"}
    page = make_training_page(run(best={"selected_by": "last epoch"}, fold=fold))
    assert page.sections[0].text == (
        "Scores of the last epoch, which is kept as the best. Scored on: its own training rows."
    )
    assert ["fold, of", "5"] in page.sections[6].tables[2].rows


def test_text_of_a_run_is_never_markup(run: Callable[..., Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = render_page(make_training_page(run(EVIL)))
    assert "<script>alert" not in text
    assert "onload=x" in text  # as text, with its quotes escaped
    assert 'onload=x"' not in text.replace("&#34;", "").replace("&#39;", "").replace("&quot;", "")

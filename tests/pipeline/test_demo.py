"""The demo: a second call does what is missing, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abawkit.errors import ConfigError
from abawkit.inspection.output_kinds import DEMO
from abawkit.pipeline import demo
from abawkit.pipeline.demo import DemoResult, holds_demo, open_demo, run_demo
from abawkit.system.files import refuse_folder


class Commands:
    """Stands for `run_together`: leaves a file for each output, and is interrupted before a command of some name."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.interrupt = ""

    def __call__(self, commands: list[list[str]], _: Callable[[str], None]) -> list[dict[str, Any]]:
        for command in commands:
            if command[0] == self.interrupt:
                raise KeyboardInterrupt
            self.calls.append(command)
            if command[0] in ("check", "score"):
                continue
            out = Path(command[command.index("--out") + 1] if "--out" in command else command[1])
            if command[0] == "train":
                out.mkdir(exist_ok=True)
                out /= "best.safetensors"
            if command[0] == "synth":
                out.mkdir(exist_ok=True)
                out /= "training_set_annotations.txt"
            out.write_text(" ".join(part for part in command if not part.startswith("--")))
        return [{} for _ in commands]

    @property
    def made(self) -> list[str]:
        return [command[0] for command in self.calls if command[0] not in ("check", "score")]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    pretended = Commands()
    monkeypatch.setattr(demo, "run_together", pretended)
    monkeypatch.setattr(demo, "_write_constant", lambda *_: None)
    return pretended


def call(out: Path, *, force: bool = False, lines: list[str] | None = None) -> DemoResult:
    said = [] if lines is None else lines
    return run_demo(open_demo(out, size="tiny", force=force), size="tiny", say=said.append)


def test_a_finished_demo_does_nothing_again(commands: Commands, tmp_path: Path) -> None:
    call(tmp_path / "demo")
    assert commands.made == ["synth", "curate", "train", "train", "predict", "predict", "predict"]
    commands.calls.clear()
    lines: list[str] = []
    call(tmp_path / "demo", lines=lines)
    assert commands.made == []
    assert sum(line.endswith("is there already") for line in lines) == 7


def test_the_mean_is_scored_with_a_report_that_a_second_call_replaces(commands: Commands, tmp_path: Path) -> None:
    report = tmp_path / "demo/report.html"
    assert call(tmp_path / "demo").report == report
    report.write_text("a page")
    commands.calls.clear()
    call(tmp_path / "demo")
    reported = [command for command in commands.calls if "--report" in command]
    assert [(Path(command[1]).name, command[-3:]) for command in reported] == [
        ("predictions.txt", ["--report", str(report), "--force"])
    ]


def test_a_whole_demo_with_its_report_can_be_started_anew_and_one_with_other_files_not(
    commands: Commands, tmp_path: Path
) -> None:
    out = tmp_path / "demo"
    call(out).report.write_text("a page")
    (out / "release/held_out").mkdir()
    (out / "release/held_out/test_set_annotations.txt").touch()
    assert DEMO.difference(out) == ""
    (out / "thesis.tex").touch()
    assert DEMO.difference(out) == "holds 'thesis.tex'"


def test_a_demo_that_was_stopped_goes_on_with_its_networks(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    commands.interrupt = "train"
    with pytest.raises(KeyboardInterrupt):
        call(out)
    (out / "runs/seed1").mkdir()  # it had begun
    commands.interrupt = ""
    commands.calls.clear()
    call(out)
    assert commands.made == ["train", "train", "predict", "predict", "predict"]
    assert [command[-1] for command in commands.calls[:2]] == ["--resume", str(out / "runs/seed2")]


def test_what_has_changed_is_made_again_with_all_that_rests_on_it(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    call(out)
    commands.calls.clear()
    (out / "runs/seed2/best.safetensors").write_text("damaged")
    call(out)
    assert commands.made == ["train"]  # its bytes are as before, and so is what was predicted
    assert commands.calls[0][-1] == "--force"


def test_a_demo_of_another_size_and_other_things_are_refused(commands: Commands, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    call(out)
    with pytest.raises(ConfigError, match=r"holds a demo of other inputs:\n  size: was tiny, is demo"):
        holds_demo(out, "demo", force=False)
    (out / "demo.json").write_text("{")
    with pytest.raises(ConfigError, match=r"demo\.json: can't be read"):
        holds_demo(out, "tiny", force=False)
    assert not holds_demo(out, "tiny", force=True)
    commands.calls.clear()
    call(out, force=True)
    assert len(commands.made) == 7
    assert json.loads((out / "demo.json").read_text()) == {"demo": 1, "size": "tiny"}
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.tex").touch()
    with pytest.raises(ConfigError, match="is not empty"):
        refuse_folder(tmp_path / "thesis", force=holds_demo(tmp_path / "thesis", "tiny", force=False), kind=DEMO)

"""How far training is: bars that fit 80 columns, lines where there is no terminal, and warnings that are not lost."""

import fcntl
import io
import json
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from abawkit.cli import _output as training_bar
from abawkit.cli._output import describe_epoch, report_epoch, watch_training
from abawkit.cli._output import show_training as bar_of_training
from abawkit.pipeline.commands import PROGRESS, report_progress, run_together, watch_steps
from abawkit.training.callbacks import StepInfo

NETWORKS = [["train", "demo", "--out", f"runs/{name}"] for name in ("seed1", "seed2")]
LINE: dict[str, Any] = {
    "epoch": 2,
    "losses": {"total": 1.5},
    "images_per_second": 58.4,
    "official": {"score": 0.9, "ccc_va": 0.5, "expression_f1": 0.1, "au_f1": 0.3},
}
MOMENT = StepInfo("all", 2, 6, 431, 1_234, 27_584, 78_976, 1_058.2, 1e-3, {"total": 1.5})


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """A terminal of 80 columns on stderr; gives what was drawn there, without its control sequences."""
    drawn = io.StringIO()
    console = Console(force_terminal=True, color_system=None, width=80, file=drawn)
    monkeypatch.setattr(training_bar, "stderr", lambda: console)
    return lambda: re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", drawn.getvalue()).replace("\r", "\n")


def test_the_bar_of_one_run_shows_epoch_step_speed_and_time_left_in_80_columns(
    screen: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PROGRESS, raising=False)
    with bar_of_training() as show:
        assert show is not None
        show(MOMENT)
    line = next(line for line in reversed(screen().splitlines()) if "2/6" in line)
    for part in ("epoch 2/6", "step 431/1234", "1058 images/s", "━", "-:--"):
        assert part in line
    assert len(line.rstrip()) <= 80


def test_networks_that_train_at_the_same_time_have_a_line_each(screen: Callable[[], str]) -> None:
    with watch_training(NETWORKS) as show:
        show(1, training_bar._make_event(MOMENT))
        show(0, {"text": "epoch 1/6: is for those who have no terminal"})
        show(0, {})
    drawn = screen()
    lines = [line for line in drawn.splitlines() if "seed" in line][-2:]
    assert [line.split()[0] for line in lines] == ["seed1", "seed2"]
    assert "step 431/1234" in lines[1]
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "no terminal" not in drawn


def test_without_a_terminal_each_epoch_of_each_network_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with watch_training([["train", "--out", "seed1/base"], ["train", "--out", "seed2/base"]]) as show:
        show(1, training_bar._make_event(MOMENT))
        show(1, {"text": "epoch 1/6: loss 1.5"})
    assert capsys.readouterr().err == "seed2/base: epoch 1/6: loss 1.5\n"


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ((), "validation P 0.9000 (CCC 0.5000, EXPR 0.1000, AU 0.3000), 58 images/s"),
        (("expression_f1", "au_f1"), "validation CCC 0.5000, 58 images/s"),
        (("expression_f1",), "validation CCC 0.5000, AU 0.3000, 58 images/s"),
    ],
)
def test_the_line_of_an_epoch_shows_what_was_trained(absent: tuple[str, ...], expected: str) -> None:
    line = {**LINE, "official": {**LINE["official"], **dict.fromkeys(absent)}}
    assert describe_epoch(line, 6) == f"epoch 2/6: loss 1.500, {expected}"


def test_a_step_of_another_command_reports_to_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(PROGRESS, str(writing))
    with bar_of_training() as show:
        assert show is not None
        show(MOMENT)
        show(MOMENT)  # so soon after the first that nobody would see it
    report_epoch(LINE, 6)
    os.close(writing)
    with os.fdopen(reading) as told:
        events = [json.loads(line) for line in told]
    assert [event.get("step") for event in events] == [None, 431, None]
    assert events[2]["text"] in capsys.readouterr().err


def test_what_nobody_reads_stops_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(PROGRESS, str(writing))
    assert report_progress({"step": 1})
    os.close(writing)
    assert report_progress({"step": 1})
    monkeypatch.setenv(PROGRESS, "none")
    assert not report_progress({})


CHILD = """#!/bin/sh
echo '{"step": 1}' >/proc/self/fd/$ABAWKIT_PROGRESS
echo '{"text": "epoch 1 of '$4'"}' >/proc/self/fd/$ABAWKIT_PROGRESS
echo "half of a li" >/proc/self/fd/$ABAWKIT_PROGRESS
printf 'epoch 1: quite well\\nwarning: no row has an expression\\n  among them a\\ndone\\nwarning: of %s\\n' $4 >&2
echo {}
"""


def test_steps_are_followed_and_their_warnings_are_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(CHILD)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    seen: list[tuple[int, dict[str, Any]]] = []
    said: list[str] = []

    class Watch:
        def __init__(self, commands: object) -> None:
            del commands

        def __enter__(self) -> Callable[[int, dict[str, Any]], None]:
            return lambda i, event: seen.append((i, event))

        def __exit__(self, *_: object) -> None:
            pass

    with watch_steps(Watch):
        run_together([["train", "a"], ["train", "b"]], said.append)
    assert sorted((i, str(event)) for i, event in seen) == sorted(
        (i, str(event)) for i, name in enumerate("ab") for event in ({"step": 1}, {"text": f"epoch 1 of {name}"})
    )
    assert said[2:-1] == [
        "warning: no row has an expression",
        "  among them a",
        "warning: of a",
        "warning: of b",
    ]


def test_a_terminal_that_is_real_gets_the_bar(tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = os.fork()
    if child == 0:
        os.dup2(terminal, 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        os.environ.pop("COLUMNS", None)
        with watch_training(NETWORKS) as show:
            show(0, training_bar._make_event(MOMENT))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(terminal)
    drawn = b""
    try:
        while part := os.read(master, 1 << 16):
            drawn += part
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(master)
    assert b"step 431/1234" in drawn
    assert b"seed2" in drawn

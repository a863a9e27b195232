"""A plan for invented counts of rows, and runs that are pretended: what counts is which commands would be run."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from abawkit.ablation.plan import Choices, Training, plan_trainings
from abawkit.ablation.steps import TrainingRun
from abawkit.choices import Policy
from abawkit.labels import Task
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.run_names import LAST, MANIFEST, RECIPE
from abawkit.training.recipe import read_recipe

ROWS: dict[tuple[Policy, Task | None], int] = {
    ("per-task", None): 5_120,
    ("per-task", "va"): 3_700,
    ("per-task", "expression"): 3_300,
    ("per-task", "au"): 3_710,
    ("strict", None): 1_900,
    ("strict", "va"): 1_900,
    ("strict", "expression"): 1_900,
    ("strict", "au"): 1_900,
}

SIX = ("all.epochs=6",)
"""Epochs in which strict curation takes exactly as many steps as the base, rounded up to whole epochs."""


@pytest.fixture(scope="session")
def plan() -> list[Training]:
    return plan_trainings(Choices(settings=SIX, seeds=(1, 2)), ROWS)


@pytest.fixture
def options(commands: "Commands") -> ExecutionOptions:
    return ExecutionOptions(jobs=2, threads=1, run=commands)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    return path


class Commands:
    """Stands for `run_together`: notes what would be run, and leaves what training and prediction would leave.

    Attributes:
        together: Every command so far, those that ran at the same time together.
        interrupt: Command before which Ctrl-C is pressed; ``late``: in training that has begun.
        version: Goes into the weights.
    """

    def __init__(self) -> None:
        self.together: list[list[list[str]]] = []
        self.table_digest = "table"
        self.interrupt = ""
        self.version = 1

    @property
    def alone(self) -> list[list[str]]:
        return [command for together in self.together for command in together]

    def __call__(self, commands: list[list[str]], _: Any) -> list[dict[str, Any]]:
        self.together.append(commands)
        for command in commands:
            if command[0] == self.interrupt:
                raise KeyboardInterrupt
            if command[0] == "train":
                self.train(command)
            if command[0] == "predict":
                self.predict(command)
        return [{} for _ in commands]

    def train(self, command: list[str]) -> None:
        out = Path(option(command, "--out"))
        out.mkdir(parents=True, exist_ok=True)
        (out / RECIPE).unlink(missing_ok=True)
        (out / RECIPE).write_text(recipe_of(command))
        if self.interrupt == "late":
            raise KeyboardInterrupt
        (out / LAST).write_text(f"{out} {self.version}")
        manifest = {
            "checkpoints": {LAST: hashlib.sha256(str(out).encode()).hexdigest()},
            "data": {"table_digest": self.table_digest},
            "weights": {"sha256": "weights"} if "--weights" in command else None,
            "environment": {"python": "3.11"},
            "steps": 480,
            "seconds": 1.5,
        }
        (out / MANIFEST).write_text(json.dumps(manifest))

    def predict(self, command: list[str]) -> None:
        out = Path(option(command, "--out"))
        networks = [Path(argument).parent for argument in command if argument.endswith(LAST)]
        members = [{"digest": json.loads((run / MANIFEST).read_bytes())["checkpoints"][LAST]} for run in networks]
        content = {"members": members, "source": {"table_sha256": self.table_digest}}
        out.with_suffix(".json").write_text(json.dumps(content))
        out.with_suffix(".npz").touch()
        out.touch()


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def recipe_of(command: list[str]) -> str:
    """The recipe that `abawkit train` makes of a command."""
    changes = [value for name, value in pairwise(command) if name == "--set"]
    tasks = [value for name, value in pairwise(command) if name == "--tasks"]
    changes += [f"seed={option(command, '--seed')}", *([f"tasks={tasks}"] if tasks else [])]
    return read_recipe(command[1], changes).to_toml()


@pytest.fixture
def commands() -> Commands:
    """What would be run, instead of running it."""
    return Commands()


@pytest.fixture
def runs(plan: list[Training], tmp_path: Path, weights: Path) -> list[TrainingRun]:
    """The plan's runs, in a folder of their own."""
    return [
        TrainingRun(
            f"seed{run.seed} {run.name}",
            tmp_path / "runs" / f"seed{run.seed}" / run.name,
            "demo",
            run.changes,
            run.recipe,
            tmp_path / run.policy,
            "table",
            weights,
            "weights",
            run.cost,
        )
        for run in plan
    ]

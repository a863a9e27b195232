"""A plan for invented counts of rows, and runs that are pretended: what counts is which commands would be run."""

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from abawkit.ablation.plan import Training, make_plan
from abawkit.ablation.steps import ExecutionOptions, Provenance
from abawkit.choices import Policy
from abawkit.labels import Task
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


@pytest.fixture(scope="session")
def plan() -> list[Training]:
    return make_plan("demo", [], (1, 2), ROWS)


@pytest.fixture
def options() -> ExecutionOptions:
    return ExecutionOptions(jobs=2, threads=1, force=False, say=lambda _: None)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    path.write_bytes(b"weights")
    return path


class Commands:
    """Stands for `run_together`: notes what would be run, and leaves what training and prediction would leave."""

    def __init__(self) -> None:
        self.together: list[list[list[str]]] = []
        self.table_digest = "table"
        self.weights_digest: str | None = None

    @property
    def alone(self) -> list[list[str]]:
        return [command for together in self.together for command in together]

    def __call__(self, commands: list[list[str]], _: Any) -> list[dict[str, Any]]:
        self.together.append(commands)
        for command in commands:
            if command[0] == "train":
                self.train(command)
            if command[0] == "predict":
                self.predict(command)
        return [{} for _ in commands]

    def train(self, command: list[str]) -> None:
        out = Path(option(command, "--out"))
        out.mkdir(parents=True, exist_ok=True)
        (out / RECIPE).write_text(recipe_of(command))
        weights = {"sha256": self.weights_digest} if self.weights_digest else None
        manifest = {
            "data": {"table_digest": self.table_digest},
            "checkpoints": {LAST: hashlib.sha256(str(out).encode()).hexdigest()},
            "weights": weights,
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
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """What would be run, instead of running it."""
    pretended = Commands()
    for module in ("steps", "workspace"):
        monkeypatch.setattr(sys.modules[f"abawkit.ablation.{module}"], "run_together", pretended)
    return pretended


@pytest.fixture
def runs(plan: list[Training], tmp_path: Path, weights: Path, commands: Commands) -> list[Provenance]:
    """The plan's runs, in a folder of their own."""
    commands.weights_digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return [
        Provenance(
            tmp_path / "runs" / f"seed{run.seed}" / run.name,
            "demo",
            run.changes,
            run.recipe,
            tmp_path / run.policy,
            "table",
            weights,
            run.cost,
        )
        for run in plan
    ]

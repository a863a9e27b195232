"""A submission on the tiny release, whose training and prediction are replaced by something that takes no time."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abawkit.curation import open_curated
from abawkit.features.store import FeatureStore
from abawkit.formats.base import get_format
from abawkit.labels import TASKS
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.postprocessing.outputs import find_needed_tasks, write_outputs
from abawkit.submissions.submit import SubmissionResult, submit
from abawkit.submissions.workspace import SubmissionInputs
from abawkit.system.files import sha256, sha256_of
from abawkit.tables import Array, Predictions
from tests.sequence_features import list_rows, write_store

RECIPE = """
summary = "two seeds of a small network"
seeds = [1, 2]

[[networks]]
name = "all"
recipe = "demo"

[decisions]
calibration = ["au"]
folds = 2
"""


@dataclass
class Commands:
    """Does what `abawkit train` and `abawkit predict` do as far as files go; answers depend on the weights alone.

    Attributes:
        calls: Every command so far.
        waves: How many ran at the same time.
        interrupt: Names of commands before which Ctrl-C is pressed; ``late``: in training that has begun.
    """

    calls: list[list[str]] = field(default_factory=list)
    waves: list[int] = field(default_factory=list)
    interrupt: tuple[str, ...] = ()

    def __call__(self, commands: list[list[str]], say: Callable[[str], None]) -> list[dict[str, Any]]:
        self.waves.append(len(commands))
        for arguments in commands:
            say(f"$ abawkit {' '.join(arguments)}")
            self.calls.append(arguments)
            if arguments[0] in self.interrupt:
                raise KeyboardInterrupt
            {"train": self._train, "features": self._extract, "predict": self._predict}[arguments[0]](arguments)
        return [{}] * len(commands)

    @property
    def outs(self) -> list[str]:
        """Command and name of the output of each call."""
        return [
            f"{call[0]} {Path(option(call, '--out')).parent.name}/{Path(option(call, '--out')).name}"
            for call in self.calls
        ]

    def _train(self, arguments: list[str]) -> None:
        out = Path(option(arguments, "--out"))
        out.mkdir(exist_ok=True)
        (out / "recipe.toml").unlink(missing_ok=True)
        (out / "recipe.toml").write_text(str(arguments))
        if "late" in self.interrupt:
            raise KeyboardInterrupt
        choices = [arguments[1], option(arguments, "--seed")]
        choices += [arguments[i + 1] for i, part in enumerate(arguments) if part in ("--set", "--tasks")]
        choices += [sha256_of(Path(option(arguments, "--weights")))] if "--weights" in arguments else []
        choices += [FeatureStore.open(folder).digest for folder in options_of(arguments, "--features")]
        for epoch in ("best", "last"):
            (out / f"{epoch}.safetensors").write_text(f"{epoch} {choices}")

    def _extract(self, arguments: list[str]) -> None:
        source, out = Path(arguments[1]), Path(option(arguments, "--out"))
        if "--data" in arguments:
            images = list_rows(Path(option(arguments, "--data")))
        else:
            listed = get_format(option(arguments, "--format")).read_list(Path(option(arguments, "--list")))
            images = listed.images.to_pylist()
        if out.exists() and "--force" in arguments:
            shutil.rmtree(out)
        seed = int(sha256_of(source)[:8], 16) if source.is_file() else 0
        values = np.random.default_rng(seed).standard_normal((len(images), 3)).astype(np.float32)
        write_store(out, images, values, values if "--flip" in arguments else None)

    def _predict(self, arguments: list[str]) -> None:
        networks = [Path(part) for part in arguments[1:] if part.endswith(".safetensors")]
        digests = [sha256_of(path) for path in networks]
        for folder in options_of(arguments, "--features"):
            FeatureStore.open(folder)
        name = option(arguments, "--format") if "--format" in arguments else "abaw7"
        plugin = get_format(name)
        if "--split" in arguments:
            curated = open_curated(Path(option(arguments, "--data")))
            images = curated.splits["validation"].annotations.images
        else:
            images = plugin.read_list(Path(option(arguments, "--list"))).images
        write_outputs(
            Path(option(arguments, "--out")),
            noise(images, int(sha256("".join(digests).encode())[:8], 16)),
            find_needed_tasks(plugin.tasks),
            plugin,
            source={"list": "there"},
            members=[
                {"path": str(p), "digest": d, "tasks": list(TASKS)} for p, d in zip(networks, digests, strict=True)
            ],
            environment={"python": "3"},
            force="--force" in arguments,
        )


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def options_of(arguments: list[str], name: str) -> list[Path]:
    return [Path(arguments[i + 1]) for i, part in enumerate(arguments) if part == name]


def noise(images: pa.StringArray, seed: int) -> Predictions:
    """Answers that know nothing, as decided as those of a network."""
    rng = np.random.default_rng(seed)
    n = len(images)

    def between(low: float, high: float, width: int) -> Array:
        return rng.uniform(low, high, (n, width)).astype(np.float32)

    expression = np.exp(3 * between(0, 1, 8))
    return Predictions(images, between(-1, 1, 2), expression / expression.sum(axis=1, keepdims=True), between(0, 1, 12))


@dataclass
class Bench:
    """A folder of submissions with one in it, and what it is made of.

    Attributes:
        root: Folder of submissions.
        folder: The submission.
        inputs: What goes in.
        commands: What stands for training and prediction.
        said: Lines that were said.
    """

    root: Path
    folder: Path
    inputs: SubmissionInputs
    commands: Commands
    said: list[str]

    def submit(self, folder: Path | None = None, **options: Any) -> SubmissionResult:
        self.commands.calls.clear()
        self.said.clear()
        chosen = {"jobs": 2, "threads": 1, "run": self.commands, "say": self.said.append, **options}
        return submit(folder or self.folder, self.inputs, ExecutionOptions(**chosen))

    def list_for_any_track(self, folder: Path) -> None:
        """Takes the same frames under a header that names no task."""
        header, _, rows = self.inputs.listed.read_text().partition("\n")
        assert header.startswith("image,")
        (folder / "list.txt").write_text(f"image\n{rows}")
        self.inputs = replace(self.inputs, listed=folder / "list.txt")

    def write(self, recipe: str) -> None:
        (self.folder / "recipe.toml").write_text(recipe)


@pytest.fixture
def bench(tmp_path: Path, curated: Path, release: Path) -> Bench:
    root = tmp_path / "submissions"
    (root / "first").mkdir(parents=True)
    (root / "first/recipe.toml").write_text(RECIPE)
    inputs = SubmissionInputs(curated, release / "test_set_examples/MTL.txt", release / "test_data/cropped_aligned")
    return Bench(root, root / "first", inputs, Commands(), [])


@pytest.fixture(scope="module")
def written_once(tmp_path_factory: pytest.TempPathFactory, curated: Path, release: Path) -> Bench:
    """A submission that was run."""
    root = tmp_path_factory.mktemp("written") / "submissions"
    (root / "first").mkdir(parents=True)
    (root / "first/recipe.toml").write_text(RECIPE)
    inputs = SubmissionInputs(curated, release / "test_set_examples/MTL.txt", release / "test_data/cropped_aligned")
    made = Bench(root, root / "first", inputs, Commands(), [])
    made.submit()
    return made


@pytest.fixture
def written(written_once: Bench, tmp_path: Path) -> Bench:
    """A copy of a submission that was run, in a place of its own."""
    root = tmp_path / "submissions"
    shutil.copytree(written_once.root, root)
    return Bench(root, root / "first", written_once.inputs, Commands(), [])

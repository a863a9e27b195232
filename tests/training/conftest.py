"""A tiny procedural release, curated once, and two runs that the tests of a run share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from abawkit.curation.curate import curate
from abawkit.curation.release import find_sources
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs
from tests.sequence_features import list_rows, write_planted, write_random_store


def small_recipe(**changes: Any) -> Recipe:
    """Two short epochs of the small network: heads, then everything."""
    chosen = {"heads": Stage(epochs=1, learning_rate=1e-2), "all": Stage(epochs=1, learning_rate=1e-3), **changes}
    return Recipe.model_validate({"network": "ddamfn-nano", "batch_size": 48, "device": "cpu", **chosen})


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    return small_recipe


@pytest.fixture(scope="session")
def labels_only(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    curate(find_sources(release, labels_only=True), folder, policy="per-task", workers=1)
    return folder


@pytest.fixture(scope="session")
def heads_run(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One epoch of the heads alone."""
    out = tmp_path_factory.mktemp("heads")
    return train(small_recipe(all=Stage(epochs=0)), Inputs(curated), out)


@pytest.fixture(scope="session")
def full_run(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Both stages, with a moving average."""
    out = tmp_path_factory.mktemp("full")
    return train(small_recipe(ema=0.9), Inputs(curated), out)


def small_sequence(**changes: Any) -> Recipe:
    """Two epochs of a small network over time; keys of its section begin with ``sequence_``."""
    section = {key.removeprefix("sequence_"): changes.pop(key) for key in list(changes) if key.startswith("sequence_")}
    section = {"kind": "bigru", "width": 8, "window": 6, "context": 4, "dropout": 0.3, **section}
    settings = {"all": Stage(epochs=2, learning_rate=1e-2), "batch_size": 48, "device": "cpu", **changes}
    return Recipe.model_validate({"network": "sequence", "sequence": section, **settings})


@pytest.fixture(scope="session")
def sequence_recipe() -> Callable[..., Recipe]:
    return small_sequence


@pytest.fixture(scope="session")
def features(curated: Path, once: Callable[..., Path]) -> Path:
    """Random features of all rows of the curated set, and of their mirrored frames."""

    def fill(folder: Path) -> None:
        names = list_rows(curated)
        write_random_store(folder / "store", names, source={"kind": "network", "digest": "a" * 64})

    return once("features", fill) / "store"


@pytest.fixture(scope="session")
def planted(release: Path, once: Callable[..., Path]) -> Path:
    return once("planted", lambda folder: write_planted(release, folder))

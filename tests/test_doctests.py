"""The examples in docstrings do what they say: of metrics, readers and writers, and of the Python API in its order."""

import doctest
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import abawkit
from abawkit.errors import DataWarning

MODULES = (
    "abawkit.scoring.metrics",
    "abawkit.formats.readers",
    "abawkit.formats.single_file",
    "abawkit.formats.custom_table",
    "abawkit.formats.writing",
    "abawkit.probabilities.members",
)

API = (
    "write_release",
    "curate",
    "open_curated",
    "train",
    "extract_features",
    "open_features",
    "import_features",
    "predict",
    "score",
    "compare",
    "tune",
    "review_labels",
)
"""In the order in which each finds what it needs."""


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # networks of one epoch
        yield


def run_examples(thing: object, name: str, module: ModuleType) -> int:
    """Runs the examples of a module, or of a function; the count of lines that were tried."""
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder(exclude_empty=True).find(thing, name, module=module):
        runner.run(test)
    found = runner.summarize(verbose=False)
    assert found.failed == 0
    return found.attempted


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name: str) -> None:
    module = import_module(name)
    assert run_examples(module, name, module) > 0


def test_examples_of_the_api(capfd: pytest.CaptureFixture[str]) -> None:
    for name in API:
        function = getattr(abawkit, name)
        finder = doctest.DocTestFinder(exclude_empty=True)
        (test,) = [
            t for t in finder.find(function, name, module=False, globs={"abawkit": abawkit, "np": np}) if t.examples
        ]
        assert doctest.DocTestRunner().run(test).failed == 0, capfd.readouterr().out

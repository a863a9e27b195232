"""An extractor of someone else's package: installed in earnest, found by its name, and used."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from abawkit.curation.curated_set import open_curated
from abawkit.features.frame_rows import CuratedRows
from abawkit.features.store import FeatureStore
from tests.commands import Started

Use = Callable[..., subprocess.CompletedProcess[str]]

CLASS = """
import torch

class Thing:
    name = "thing"
    dimension = 2
    size = 8
    mean = (0.0, 0.0, 0.0)
    deviation = (1.0, 1.0, 1.0)

    def extract(self, frames):
        return frames.mean(dim=(2, 3))[:, :2]
"""


@pytest.mark.e2e
def test_the_example_extracts_what_its_page_says(
    plugin_environment: dict[str, str], curated: Path, tmp_path: Path
) -> None:
    arguments = ("features", "example/colours", "--data", curated, "--out", tmp_path / "out", "--dtype", "float32")
    shown = Started(*arguments, packages=Path(plugin_environment["PYTHONPATH"])).wait()
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == f"{tmp_path / 'out'}: 229 rows of 96 numbers (float32)\n"
    store = FeatureStore.open(tmp_path / "out")
    source = store.manifest.source
    assert (source["kind"], source["name"], source["package"]) == (
        "extractor",
        "example/colours",
        "abawkit-example 0.1",
    )
    pixels = next(CuratedRows(open_curated(curated)).read(0, 5)) / 255
    cells = pixels.reshape(5, 4, 28, 4, 28, 3).transpose(0, 5, 1, 3, 2, 4).reshape(5, 48, 784)
    expected = np.concatenate([cells.mean(axis=2), cells.std(axis=2)], axis=1)
    np.testing.assert_allclose(store.values[:5], expected, atol=1e-5)


@pytest.fixture
def use(tmp_path: Path, curated: Path) -> Use:
    """Runs `abawkit features` where a package registers its class under a name."""

    def run(code: str, name: str = "odd/thing", *, twice: bool = False) -> subprocess.CompletedProcess[str]:
        site = tmp_path / "site"
        for package in ("odd", "even")[: 2 if twice else 1]:
            (site / f"{package}-1.0.dist-info").mkdir(parents=True)
            (site / f"{package}_module.py").write_text(code)
            metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
            (site / f"{package}-1.0.dist-info/METADATA").write_text(metadata)
            entries = f"[abawkit.features]\nodd/thing = {package}_module:Thing\n"
            (site / f"{package}-1.0.dist-info/entry_points.txt").write_text(entries)
        arguments = ("features", name, "--data", curated, "--out", tmp_path / "out")
        return Started(*arguments, cwd=tmp_path, packages=site).wait()

    return run


def test_a_class_of_a_package_is_used(use: Use, tmp_path: Path) -> None:
    assert use(CLASS).returncode == 0
    store = FeatureStore.open(tmp_path / "out")
    assert store.values.shape == (229, 2)
    assert store.manifest.preprocessing["size"] == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import torch", "raise ValueError('no licence')", "odd_module:Thing can't be loaded: no licence"),
        ("import torch", "raise SystemExit(0)", "odd_module:Thing can't be loaded: it exits (0)"),
        (
            "class Thing",
            "class Other",
            "odd_module:Thing can't be loaded: module 'odd_module' has no attribute",
        ),
        ("    size = 8\n", "", "is no extractor of features, it has no size"),
        ("def extract", "def compute", "is no extractor of features, it has no extract"),
        ("dimension = 2", "dimension = 0", "its dimension is 0, expected a whole number, 1..1048576"),
        ("size = 8", "size = 8.0", "its size is 8.0, expected a whole number, 1..1024"),
        ("mean = (0.0, 0.0, 0.0)", "mean = (0.0,)", "its mean is (0.0,), expected three numbers"),
        (
            "(1.0, 1.0, 1.0)",
            "(1.0, 0.0, 1.0)",
            "its deviation is (1.0, 0.0, 1.0), expected three numbers, each",
        ),
    ],
)
def test_what_is_no_extractor_is_named(use: Use, old: str, new: str, message: str) -> None:
    assert old in CLASS
    shown = use(CLASS.replace(old, new))
    assert shown.returncode == 2
    assert f"odd/thing: {message}" in shown.stderr or message in shown.stderr


def test_one_that_returns_another_dimension_is_named(use: Use) -> None:
    shown = use(CLASS.replace("[:, :2]", ""))
    assert shown.returncode == 3
    assert "thing: returned torch.float32 (32, 3) for 32 frames, expected" in shown.stderr


def test_a_name_that_two_packages_offer_is_refused(use: Use) -> None:
    shown = use(CLASS, twice=True)
    assert shown.returncode == 2
    owners = "even_module:Thing (even 1.0), odd_module:Thing (odd 1.0)"
    assert f"odd/thing: offered by {owners}, expected one package; uninstall all others" in shown.stderr


def test_an_unknown_name_lists_those_that_are_installed(use: Use) -> None:
    shown = use(CLASS, "odd/thong")
    assert shown.returncode == 3
    assert "odd/thong: no such file or folder; give a run's folder" in shown.stderr
    assert "or the name of an installed extractor: odd/thing" in shown.stderr

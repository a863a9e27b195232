"""Imports only go down: a stage never reaches into one that comes after it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import abawkit

ROOT = Path(abawkit.__file__).parent

LAYERS = (
    ("labels", "choices", "errors", "frame_names", "run_names"),
    ("frame_columns",),
    ("system",),
    ("tables", "execution"),
    ("formats", "frames"),
    ("curation", "synth"),
    ("scoring", "ops"),
    ("probabilities",),
    ("review",),
    ("postprocessing",),
    ("tuning",),
    ("models",),
    ("features",),
    ("training",),
    ("prediction",),
    ("pipeline",),
    ("submissions", "ablation", "bench", "doctor", "inspection"),
    ("reports",),
    ("claims",),
    ("api",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# Stages that must work on a machine where torch is broken or absent.
WITHOUT_TORCH = (
    *(
        "labels",
        "choices",
        "errors",
        "frame_names",
        "run_names",
        "frame_columns",
        "system",
        "tables",
        "formats",
        "curation",
    ),
    *("synth", "scoring", "probabilities", "review", "postprocessing", "tuning", "pipeline", "submissions"),
)


def stage_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module


MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def test_every_stage_has_a_layer() -> None:
    assert {stage_of(path) for path in MODULES} == set(RANK)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_goes_up(path: Path) -> None:
    stage = stage_of(path)
    for line, module in imports_of(path):
        parts = module.split(".")
        if parts[0] != "abawkit" or len(parts) == 1 or parts[1] == stage:
            continue
        assert RANK[parts[1]] < RANK[stage], f"{path}:{line}: {stage} imports {module}"


@pytest.mark.parametrize("path", [p for p in MODULES if stage_of(p) in WITHOUT_TORCH], ids=str)
def test_early_stages_do_not_import_torch(path: Path) -> None:
    modules = {module.split(".")[0] for _, module in imports_of(path)}
    assert "torch" not in modules


def test_print_belongs_to_the_command_line() -> None:
    for path in MODULES:
        if stage_of(path) == "cli":
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        assert not [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"], path


def test_no_file_is_longer_than_400_lines() -> None:
    repository = ROOT.parent
    outside = ("tests", "benchmarks", "examples")
    files = [*MODULES, *(path for folder in outside for path in repository.glob(f"{folder}/**/*.py"))]
    assert [str(path) for path in files if len(path.read_text().splitlines()) > 400] == []

"""A name means one thing: few are defined in more than one module, and no more may become so."""

import ast
from collections import defaultdict
from pathlib import Path

import abawkit

ROOT = Path(abawkit.__file__).parent

COMMANDS = {
    *(
        "ablate",
        "bench",
        "calibrate",
        "check",
        "compare",
        "curate",
        "extract_features",
        "import_features",
        "extract_features",
        "import_features",
        "inspect",
        "leaderboard",
        "open_curated",
        "predict",
        "review_labels",
        "score",
        "submit",
        "train",
    ),
    *("tune", "write_release"),
}
"""Meant: a command and a function of the API have the name of what they call."""

PUBLIC, PRIVATE = 29, 16
"""Other names that more than one module defines; each is local to its module, and these numbers may only fall."""


def definitions() -> dict[str, set[str]]:
    """Functions, classes and constants at the top level of modules, by name: the modules that define them."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            else:
                names = (
                    [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []
                )
            for name in names:
                found[name].add(str(path.relative_to(ROOT)))
    return {name: modules for name, modules in found.items() if len(modules) > 1 and not name.startswith("__")}


def test_names_of_several_meanings_do_not_grow_in_number() -> None:
    names = set(definitions()) - COMMANDS
    assert sum(not name.startswith("_") for name in names) <= PUBLIC
    assert sum(name.startswith("_") for name in names) <= PRIVATE


def test_what_is_meant_is_defined_more_than_once() -> None:
    assert set(definitions()) >= COMMANDS

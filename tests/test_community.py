"""The files by which a project presents itself: how it is cited, what it trusts, what its CI runs."""

import re
from pathlib import Path
from typing import Any

import yaml

import abawkit

ROOT = Path(__file__).parents[1]


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_citation_is_that_of_this_version() -> None:
    found = read_yaml("CITATION.cff")
    assert found["cff-version"] == "1.2.0"
    assert found.keys() >= {"message", "title", "authors"}, "required by the Citation File Format"
    assert (found["type"], found["license"], found["version"]) == ("software", "Apache-2.0", abawkit.__version__)
    assert found["authors"] == [{"name": "The abawkit authors"}]


def test_the_citation_names_the_papers_that_abawkit_rests_on() -> None:
    references = read_yaml("CITATION.cff")["references"]
    for reference in references:
        assert reference.keys() >= {"type", "title", "authors"}, "required by the Citation File Format"
        assert all(author.keys() == {"given-names", "family-names"} for author in reference["authors"])
    identifiers = [entry["value"] for reference in references for entry in reference.get("identifiers", [])]
    assert identifiers == ["arXiv:2407.03835", "arXiv:2407.12390"]


def workflow_commands() -> list[str]:
    """Every line that a step of the workflow runs."""
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"].values()
    scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    return [line for script in scripts for line in script.splitlines() if line.strip()]


def test_the_workflow_runs_what_ci_runs_and_nothing_that_is_not_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    commands = workflow_commands()
    assert ".ci/run" in commands
    for command in commands:
        name, *arguments = command.split()
        if name == "make":
            assert {argument for argument in arguments if "=" not in argument} <= set(targets), command
        else:
            assert (ROOT / name).is_file(), command
            assert (ROOT / name).stat().st_mode & 0o100, f"{name} can't be executed"


def test_the_workflow_has_the_pythons_that_are_promised() -> None:
    promised = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text())
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    steps = [step for step in jobs["ci"]["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
    assert sorted(steps[0]["with"]["python-version"].split()) == sorted(promised)


def test_the_workflow_reads_the_repository_and_writes_nothing() -> None:
    assert read_yaml(".github/workflows/ci.yml")["permissions"] == {"contents": "read"}

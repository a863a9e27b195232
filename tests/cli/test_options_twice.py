"""An option that takes one value takes one: a second is refused, on every command, instead of replacing the first."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from abawkit.cli import app
from abawkit.cli._command import Command, Group
from abawkit.training.recipe import drop_overridden, refuse_repeated_keys

Run = Callable[..., subprocess.CompletedProcess[str]]


def commands(command: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, *path, name)


COMMANDS = list(commands(typer.main.get_command(app)))
OPTIONS = [
    (path, option)
    for path, command in COMMANDS
    for option in command.params
    if option.param_type_name == "option" and "--help" not in option.opts
]
NAMED = [pytest.param(path, option, id=" ".join([*path, option.opts[0]])) for path, option in OPTIONS]
SEVERAL = {
    ("train", "--set"),
    ("train", "--tasks"),
    ("train", "--log"),
    ("ablate", "--set"),
    ("ensemble", "--weights"),
    ("calibrate", "--tasks"),
    ("tune", "--tasks"),
    ("ops", "bench", "--images"),
}
"""Options that take several values, each of which counts."""


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said of arguments that are refused, on one line."""
    with pytest.raises(SystemExit) as end:
        app(list(arguments), prog_name="abawkit")
    assert end.value.code == 2
    return " ".join(re.sub("[─│╭╮╰╯]", " ", capsys.readouterr().err).split())


def test_every_command_reads_its_options_strictly() -> None:
    assert [path for path, command in COMMANDS if not isinstance(command, Command | Group)] == []


def test_the_options_that_take_several_values_are_known() -> None:
    found = {(*path, option.opts[0]) for path, option in OPTIONS if option.multiple}
    assert found >= SEVERAL


@pytest.mark.parametrize(("path", "option"), NAMED)
def test_a_second_value_is_refused(path: tuple[str, ...], option: Any, capsys: pytest.CaptureFixture[str]) -> None:
    if option.multiple or (option.is_flag and not option.secondary_opts):
        return
    given = [option.opts[0]] if option.is_flag else [option.opts[0], "1"]
    other = [option.secondary_opts[0]] if option.is_flag else [option.opts[0], "2"]
    said = refusal(capsys, *path, *given, *other)
    assert f"{option.opts[0]}" in said
    assert "is given twice" in said


def test_the_second_value_is_refused_where_it_is_the_same_or_written_with_an_equals_sign(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "--list is given twice" in refusal(capsys, "check", "a", "--list", "b", "--list=b")
    assert "--seed is given 3 times" in refusal(capsys, "synth", "--seed=1", "a", "--seed", "2", "--seed=3")


def test_a_flag_may_be_repeated(run: Run, tmp_path: Path) -> None:
    run("synth", tmp_path / "a", "--size", "tiny", "--labels-only", "--json", "--json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("curate r --out --force", "--out has no value, as --force is an option"),
        ("check a --list --json", "--list has no value, as --json is an option"),
        ("submissions sent x --note --slots 3", "--note has no value, as --slots is an option"),
        ("submissions --folder --json", "--folder has no value, as --json is an option"),
        ("ensemble a.npz --weights --rule r.json --out o", "--weights has no value, as --rule is an option"),
        ("tune a --truth t --out --no-weights", "--out has no value, as --no-weights is an option"),
    ],
)
def test_an_option_is_not_taken_for_the_value_of_another(
    capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    assert said in refusal(capsys, *arguments.split())


def test_a_value_may_be_called_as_an_option_is(run: Run, tmp_path: Path) -> None:
    shown = run("submissions", "sent", "x", "--note=--slots", "--slots", "3", "--folder", tmp_path, code=2).stderr
    assert "no submission of this name" in shown
    run("synth", "--size", "tiny", "--labels-only", "--", "--json", cwd=tmp_path)
    assert (tmp_path / "--json").is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("compare a b --protocol official", "--protocol does nothing without --truth"),
        ("ensemble a.npz --out o --protocol strict", "--protocol does nothing without --truth"),
        ("ensemble a.npz --truth t --folds 5", "--folds does nothing without --weights"),
        ("ensemble a.npz --out o --seed 1", "--seed does nothing without --truth"),
        ("ensemble a.npz --truth t --format abaw4", "--format does nothing without --out"),
        ("ensemble a.npz --truth t --force", "--force does nothing without --out or --save-rule or --probabilities"),
        ("synth x --labels-only --difficulty 0.3", "--difficulty does nothing with --labels-only"),
        ("curate r --out o --labels-only --max-missing 0.5", "--max-missing does nothing with --labels-only"),
        ("train demo --data d --dry-run --log tensorboard", "--log does nothing with --dry-run"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: str, said: str
) -> None:
    assert said in refusal(capsys, *arguments.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "all.epochs=2", "--set", "all.epochs = 3"], "both set 'all.epochs'"),
        (["--set", "all={epochs=1}", "--set", "all.epochs=3"], "both set 'all'"),
        (["--seed", "1", "--set", "seed=2"], "both set 'seed'"),
        (["--tasks", "va", "--set", "tasks=['au']"], "both set 'tasks'"),
    ],
)
def test_a_key_of_the_recipe_is_set_once(run: Run, tmp_path: Path, arguments: list[str], said: str) -> None:
    shown = run("train", "demo", "--data", tmp_path, "--out", tmp_path / "run", *arguments, code=2).stderr
    assert said in shown
    assert not (tmp_path / "run").exists()
    if arguments[0] == "--set":
        assert said in run("ablate", "--out", tmp_path / "a", *arguments, code=2).stderr


def test_keys_that_only_begin_alike_are_apart() -> None:
    refuse_repeated_keys(["losses.va=1", "losses.valence=1", "all.epochs=1", "heads.epochs=1"])


def test_of_changes_that_override_each_other_the_last_is_left() -> None:
    assert drop_overridden(["a=1", "b.c=2", "a=3", "b=4"]) == ["b.c=2", "a=3", "b=4"]


@pytest.mark.parametrize(("group", "inner"), [("ops", "bench"), ("submissions", "returned")])
def test_json_of_a_group_is_not_lost_on_its_command(run: Run, group: str, inner: str) -> None:
    arguments = ["a", "1"] if group == "submissions" else []
    assert f"give it behind `{inner}`" in run(group, "--json", inner, *arguments, code=2).stderr

"""The functions of `abawkit`: found without a search, imported when they are used, the same as the command line's."""

import inspect
import subprocess
import sys
import threading
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import abawkit
from abawkit.errors import ConfigError, DataError, DataWarning

FUNCTIONS = [name for name in abawkit.__all__ if name != "__version__"]

RENAMED_COMMANDS = {
    "write_release": ("synth", "synth"),
    "extract_features": ("features", "extract_features"),
    "import_features": ("features", "import_features"),
    "review_labels": ("review", "review"),
}

COMMANDS = {
    name: RENAMED_COMMANDS.get(name, (name, name))
    for name in FUNCTIONS
    if name not in ("open_curated", "open_features")
}
"""The command of each function: its module below `abawkit.cli`, and its name there."""

OPTIONS_ALONE = ("as_json", "dry_run")
"""What no function takes: it says what the command line prints."""

RENAMED = {"table": "probabilities"}


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_importing_abawkit_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import abawkit; print(*(set(sys.modules) - before))"
    assert run_python(code).split() == ["abawkit"]


def test_functions_are_listed_before_they_are_imported_and_need_no_torch_to_be() -> None:
    code = "import sys, abawkit; print(*dir(abawkit)); abawkit.train, abawkit.score; print('torch' in sys.modules)"
    listed, imported = run_python(code).splitlines()
    assert {*abawkit.__all__} <= {*listed.split()}
    assert imported == "False"
    with pytest.raises(AttributeError, match="module 'abawkit' has no attribute 'absent'"):
        getattr(abawkit, "absent")  # noqa: B009 - mypy knows that there is none


def test_the_version_is_a_literal_that_can_be_read_without_running_the_package() -> None:
    assert f'\n__version__ = "{abawkit.__version__}"\n' in Path(abawkit.__file__).read_text()


def plain(default: Any) -> Any:
    """The default of an option or an argument, however it is written."""
    return (default.value if isinstance(default, Enum) else default) or None


@pytest.mark.parametrize("name", COMMANDS)
def test_a_function_takes_what_its_command_takes_with_the_same_defaults(name: str) -> None:
    module, command_name = COMMANDS[name]
    command = inspect.signature(getattr(import_module(f"abawkit.cli.{module}"), command_name)).parameters
    function = inspect.signature(getattr(abawkit, name)).parameters
    options = {RENAMED.get(key, key): value for key, value in command.items() if key not in OPTIONS_ALONE}
    assert options.keys() == function.keys() - {"progress", "on_run", "on_step", "on_epoch"}
    for key, option in options.items():
        if function[key].default is not inspect.Parameter.empty:
            assert plain(function[key].default) == plain(option.default), key


@pytest.mark.parametrize("name", FUNCTIONS)
def test_everything_that_a_function_takes_is_described(name: str) -> None:
    function = getattr(abawkit, name)
    text = inspect.getdoc(function) or ""
    for argument in inspect.signature(function).parameters:
        assert f"\n    {argument}: " in text, argument
    assert all(f"\n{section}:\n" in text for section in ("Args", "Raises", "Example"))


def test_what_is_there_is_replaced_by_force_alone_and_outputs_are_let_go(tmp_path: Path) -> None:
    out = tmp_path / "new" / "release"
    for force in (False, True):
        assert abawkit.write_release(str(out), size="tiny", labels_only=True, force=force).train.rows == 180
    with pytest.raises(ConfigError, match="--force"):
        abawkit.write_release(out, size="tiny", labels_only=True)
    assert [path.name for path in out.parent.iterdir()] == ["release"]


def test_columns_and_paths_are_given_as_python_has_them(release: Path, tmp_path: Path) -> None:
    lines = (release / "training_set_annotations.txt").read_text().splitlines()[1:]
    table = tmp_path / "mine.csv"
    rows = [",".join(line.split(",")[:3]) for line in lines]
    table.write_text("\n".join(['"file, cropped",v,a', *rows, ""]))
    columns = {"image": "file, cropped", "valence": "v", "arousal": "a"}
    with pytest.warns(DataWarning, match="180 rows? .*|are in both splits|never annotated"):
        found = abawkit.curate(
            None,
            tmp_path / "curated",
            train=str(table),
            validation=[table],
            columns=columns,
            labels_only=True,
            allow_shared_videos=True,
            policy="per-task",
        )
    assert found.splits["train"].rows == 180
    assert abawkit.open_curated(str(tmp_path / "curated")).splits["train"].annotations.va_valid.any()


def test_a_file_scored_against_itself_is_a_warning(release: Path) -> None:
    truth = release / "held_out" / "test_set_annotations.txt"
    with pytest.raises(DataError), pytest.warns(DataWarning, match="is its own --truth"):
        abawkit.score(str(truth), truth)  # what is not annotated is no answer


def test_arguments_out_of_range_are_refused(curated: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--test-videos: got 0"):
        abawkit.score("a.txt", "b.txt", test_videos=0)
    with pytest.raises(ConfigError, match="--pack zip: expected one of raw, encoded"):
        abawkit.curate("release", tmp_path / "curated", pack="zip")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--log paper: expected one of tensorboard"):
        abawkit.train("demo", curated, tmp_path / "run", log=["paper"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="losses\\.va"):
        abawkit.train("demo", curated, tmp_path / "run", changes={"losses.va": "much"})
    with pytest.raises(ConfigError, match="--tasks smile: no such task"):
        abawkit.tune("a.npz", curated, tmp_path / "rule.json", tasks="smile")
    assert list(tmp_path.iterdir()) == []


def test_training_runs_in_a_thread_calls_back_and_leaves_torch_as_it_was(curated: Path, tmp_path: Path) -> None:
    epochs: list[tuple[int, int]] = []
    steps: list[int] = []
    results = []
    changes = {"all.epochs": 1, "losses.attention": 0, "augmentation.scale": [1.0, 1.0], "schedule.name": "cosine"}

    def train() -> None:
        results.append(
            abawkit.train(
                "demo",
                str(curated),
                tmp_path / "run",
                changes=changes,
                tasks="va",
                threads=1,
                on_step=lambda step: steps.append(step.steps),
                on_epoch=lambda line, total: epochs.append((line["epoch"], total)),
            )
        )

    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert results[0].tasks == ("va",)
    assert epochs == [(1, 1)]
    assert steps == [1, 2]
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before

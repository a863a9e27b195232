"""Continuing a run: its newest whole checkpoint, and whether what is here is what the run was made of."""

import json
import shlex
import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.frames.paths import FrameFolders, make_given_folders
from abawkit.models.sequence_config import SEQUENCE
from abawkit.run_names import LAST, RECIPE
from abawkit.training.checkpoint import Checkpoint, Position, find_newest_checkpoint
from abawkit.training.checkpoint_state import read_run_state
from abawkit.training.distributed import Distributed
from abawkit.training.folds import VideoFold
from abawkit.training.recipe import flatten_recipe

_NO_MATTER: Final = ("git", "pandas")
"""What the environment notes and results don't depend on. The code's own version does count."""

_NOT_COMPARED: Final = ("checkpoints.", "capture", "device", "weights")
"""Keys of a recipe that may change on the way: the device that serves is part of the environment, and `weights` only
says whether a file is asked for, which is compared itself."""


def find_checkpoint(run: Path, processes: Distributed) -> Checkpoint | None:
    """The newest whole checkpoint of a run, the same one in all processes; None where it has none.

    Raises:
        DataError: If there are checkpoints and none is whole, or a process does not find the first one's.

    Warns:
        DataWarning: If newer ones had to be passed over.
    """
    checkpoint: Checkpoint | None = None
    if processes.is_main:
        checkpoint, problems = find_newest_checkpoint(run)
        for problem in problems:
            warnings.warn(f"{problem}; continuing from the checkpoint before it", DataWarning, stacklevel=2)
    epoch, batch = processes.broadcast_numbers(checkpoint.position if checkpoint else (-1, -1))
    if epoch < 0 or processes.is_main:
        return checkpoint
    checkpoint, _ = find_newest_checkpoint(run, Position(epoch, batch))
    if checkpoint is None:
        raise DataError(
            f"{run}: the checkpoint {Position(epoch, batch).name} is not to be seen here; processes share --out"
        )
    return checkpoint


class Recorded(NamedTuple):
    """What a run was begun with, as its newest checkpoint has it.

    Attributes:
        recipe: The resolved recipe, TOML.
        data: Folder of the curated set.
        frames: Folders of image files that frames are read from, or None.
        threads: CPU threads.
        ops: The implementation of the operator that was asked for by name, or None.
        features: Stores of features.
        fold: Its fold, of a run in a folder of folds.
    """

    recipe: str
    data: Path
    frames: FrameFolders | None
    threads: int
    ops: str | None
    features: tuple[Path, ...] = ()
    fold: VideoFold | None = None


def read_recorded(run: Path) -> Recorded | None:
    """What a run was begun with; None where there is no checkpoint.

    Raises:
        DataError: If there are checkpoints and none is whole, or the newest holds something else.
    """
    checkpoint, _ = find_newest_checkpoint(run)
    if checkpoint is None:
        return None
    state = read_run_state(checkpoint)
    frames = state["data"]["frames"]
    folders = [frames] if isinstance(frames, str) else frames
    source = make_given_folders([Path(folder) for folder in folders or []], state["data"].get("follow_links", False))
    data, threads = Path(state["data"]["folder"]), state["environment"]["threads"]
    features = tuple(Path(folder) for folder in state["data"].get("features", []))
    fold = VideoFold.from_dict(kept) if (kept := state["data"].get("fold")) else None
    return Recorded(state["recipe"], data, source, threads, state["asked_ops"], features, fold)


def find_begun_run(run: Path, processes: Distributed) -> bool:
    """Whether a run was begun, or continued, by what started these processes; the same answer in all of them.

    Processes that ``torchrun`` or Slurm starts again were asked to begin a run; they
    continue it if they had come so far.
    """
    mine = False
    if processes.is_main and processes.restarts:
        checkpoint, _ = find_newest_checkpoint(run)
        mine = checkpoint is not None and read_run_state(checkpoint)["launcher"] == processes.launcher
    return bool(processes.broadcast_numbers([mine])[0])


def check_same_run(state: Mapping[str, Any], notes: Mapping[str, Any], allow_drift: bool, run: Path) -> list[str]:
    """Checks that a run would go on as if it had not been interrupted.

    Args:
        state: Of the checkpoint, from `read_run_state`.
        notes: Recipe, data, weights and environment here and now.
        allow_drift: Whether the environment may differ. The number of processes may in any case where batch norms are
            synchronised or there are none, as it changes no more than the order of sums.
        run: Folder of the run.

    Returns:
        A line for each difference that was allowed.

    Raises:
        ConfigError: If the recipe differs, or the environment does without `allow_drift`; each difference is named.
        DataError: If the data or the weights that it started from differ.

    Warns:
        DataWarning: If the environment differs and may.
    """
    if changed := list_recipe_changes(state["recipe"], notes["recipe"]):
        raise ConfigError(
            "\n".join(["this run was begun with another recipe:", *changed, _describe_new_run(run, state, notes)])
        )
    started = state["weights"]
    if notes["weights"] and (started is None or started["sha256"] != notes["weights"]["sha256"]):
        raise DataError("this run was begun from other weights; leave --weights out: its own are in the checkpoint")
    if state["data"]["table_digest"] != notes["data"]["table_digest"]:
        raise DataError(
            f"this run was begun on another curated set (digest {state['data']['table_digest'][:12]}, here "
            f"{notes['data']['table_digest'][:12]}); give the --data that it was begun with, "
            f"{state['data']['folder']} then, or train on this one in a new run"
        )
    if state["data"]["rows"] != notes["data"]["rows"] and notes["data"].get("features"):
        raise DataError(
            "this run was begun on other features, or on the same in another order; give the --features that it was "
            "begun with, or train on these in a new run"
        )
    if state["data"]["rows"] != notes["data"]["rows"]:
        raise DataError(
            "other frames can be read than when this run was begun, or their pixels differ, so that its batches would "
            "be others; bring the frames back, or begin anew"
        )
    environments = [{**made["environment"], "frames": made["data"]["frames"]} for made in (state, notes)]
    compared = [{k: v for k, v in e.items() if k not in _NO_MATTER} for e in environments]
    drift = _differences(*compared)
    if drift and _may_change_processes(tomllib.loads(notes["recipe"])) and _differ_in_processes(*compared):
        return drift
    if drift and not allow_drift:
        raise ConfigError(
            "\n".join(
                [
                    "this run was begun under other conditions, under which its result can't be the same:",
                    *drift,
                    "bring them back, or continue all the same with --allow-drift",
                ]
            )
        )
    if drift:
        warnings.warn("\n".join(["continued under other conditions:", *drift]), DataWarning, stacklevel=2)
    return drift


def list_recipe_changes(before: str, now: str) -> list[str]:
    """A line for each key in which two recipes differ, TOML, but for those that a run may change on its way."""
    recipes = [flatten_recipe(tomllib.loads(text)) for text in (before, now)]
    return _differences(
        *({key: value for key, value in recipe.items() if not key.startswith(_NOT_COMPARED)} for recipe in recipes)
    )


def _may_change_processes(recipe: Mapping[str, Any]) -> bool:
    """Whether the number of processes changes no more than the order of sums: sequence networks have no batch norms."""
    return bool(recipe["sync_batchnorm"]) or recipe["network"] == SEQUENCE


def _differ_in_processes(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether nothing but the number of processes differs, and the implementation that one of several can't take."""
    by_count = {"processes", "ops"} if 1 in (before["processes"], now["processes"]) else {"processes"}
    return {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)} <= by_count


def _describe_new_run(run: Path, state: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    """The commands that do what was wanted of a run that can't change."""
    same = "to continue it as it was begun, give the same recipe, or none"
    if not state["progress"]["best_epoch"]:
        return f"{same}; for another recipe, begin a new run"
    changes = [
        f"--set {shlex.quote(f'{key}={now if isinstance(now, str) else json.dumps(now)}')}"
        for key, (before, now) in _paired(state, notes).items()
        if before != now and not key.startswith(_NOT_COMPARED) and not isinstance(now, list)
    ]
    command = ["abawkit train", shlex.quote(str(run / RECIPE)), "--data", shlex.quote(notes["data"]["folder"])]
    command += [f"--features {shlex.quote(folder)}" for folder in notes["data"].get("features", [])]
    command += [*changes, "--weights", shlex.quote(str(run / LAST)), "--out NEW"]
    return (
        f"{same}. A learning rate follows the epochs that a run was begun with, so that no more can be added to it; to "
        f"train on, begin a new run from its weights:\n  {' '.join(command)}"
    )


def _paired(state: Mapping[str, Any], notes: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    before, now = (flatten_recipe(tomllib.loads(made["recipe"])) for made in (state, notes))
    return {key: (before.get(key), value) for key, value in now.items()}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = sorted(before.keys() | now.keys())
    return [f"  {key}: was {before.get(key)}, is {now.get(key)}" for key in keys if before.get(key) != now.get(key)]

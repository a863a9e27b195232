"""Ensembles of stored probabilities: weights as they are given or fitted, and the files that are written."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import abawkit
from abawkit.choices import Protocol
from abawkit.errors import ConfigError, format_count, printable
from abawkit.formats.base import SubmissionFormat
from abawkit.labels import TASKS, Task
from abawkit.postprocessing.averaging import LINEAR, Pools, average_members, find_known_tasks
from abawkit.postprocessing.outputs import WrittenOutputs, find_needed_tasks, write_outputs
from abawkit.postprocessing.rule import MAX_WEIGHT, Rule, apply_rule, check_made_for
from abawkit.probabilities.members import StoredMember, is_out_of_fold, read_manifest_beside, write_probabilities
from abawkit.scoring.bootstrap import DRAWS
from abawkit.system.provenance import read_git_commit
from abawkit.tables import Annotations, Array
from abawkit.tuning.cross_validation import CrossValidation, FittedRule, Tuning
from abawkit.tuning.ensemble_weights import WeightFit
from abawkit.tuning.folds import FOLDS
from abawkit.tuning.support import LOSES, MIN_POSITIVES, MIN_VIDEOS, NotFitted


def parse_weights(texts: Sequence[str], members: Sequence[StoredMember]) -> dict[Task, dict[str, float]]:
    """Reads weights as they are typed: ``va=2,1``, a number for each member in their order.

    Args:
        texts: One for each task, at most.
        members: The members.

    Returns:
        For each task that is named the weight of each member that knows it, by its key.

    Raises:
        ConfigError: If a text is not of this form, or a member gets weight in a task that it does not know.
    """
    found: dict[Task, dict[str, float]] = {}
    for text in texts:
        name, _, numbers = text.partition("=")
        task = next((task for task in TASKS if task == name), None)
        if task is None or task in found:
            fault = "is weighed twice" if task else f"is no task; give one of {', '.join(TASKS)}"
            raise ConfigError(f"--weights {printable(text)}: '{printable(name)}' {fault}, as va=2,1")
        weights = [_parse_weight(text, number) for number in numbers.split(",")]
        if len(weights) != len(members):
            raise ConfigError(
                f"--weights {printable(text)}: got {format_count(len(weights), 'number')} for "
                f"{format_count(len(members), 'member')}; give one for "
                "each, in their order"
            )
        for member, weight in zip(members, weights, strict=True):
            if weight and task not in member.tasks:
                raise ConfigError(f"--weights {text}: {member.path} does not know {task}; its weight must be 0")
        if not any(weights):
            raise ConfigError(f"--weights {text}: got no weight above 0, expected at least one")
        found[task] = {m.key: w for m, w in zip(members, weights, strict=True) if task in m.tasks}
    return found


def fit_ensemble(
    members: Sequence[StoredMember],
    truth: Annotations,
    *,
    pools: Pools = LINEAR,
    protocol: Protocol = "official",
    folds: int = FOLDS,
    seed: int = 0,
    draws: int = DRAWS,
) -> Tuning:
    """Fits the weights of each task on all videos; and for each fold on the others, to score them out of fold.

    Args:
        members: Stored probabilities of the rows of `truth`.
        truth: The annotations.
        pools: How expressions and action units are pooled; weights are those that are best for this.
        protocol: The rows that count.
        folds: Folds of videos.
        seed: Of the folds and of the bootstrap.
        draws: Of the bootstrap.

    Returns:
        The rule and its scores; `Tuning.untuned` are those of the same pool with equal weights.

    Raises:
        DataError: If the rows of a member are not those of the truth, or too few videos are annotated.
    """
    cv = CrossValidation(members, truth, find_known_tasks(members), protocol)
    weight_fit = WeightFit(members, truth)

    def fit(rows: Array, without: Sequence[Task]) -> FittedRule:
        masks = {task: mask for task, mask in cv.select_rows(rows).items() if task not in without}
        weights = weight_fit.fit(masks, pools)
        rule = check_made_for(Rule(weights=weights, pool=pools), members, cv.tasks)
        why = {
            task: LOSES if task in without else _explain_equal_weights(weight_fit, task)
            for task in cv.tasks
            if task not in weights
        }
        not_fitted = tuple(NotFitted(f"weights of {task}", reason) for task, reason in why.items())
        return FittedRule(rule, apply_rule(rule, members, cv.tasks), {}, not_fitted)

    equal = average_members(members, tasks=cv.tasks, pools=pools)
    return cv.cross_validate(fit, equal, folds, seed, draws, None)


def write_ensemble(
    out: Path,
    members: Sequence[StoredMember],
    rule: Rule | None,
    plugin: SubmissionFormat,
    *,
    force: bool = False,
) -> WrittenOutputs:
    """Combines members and writes the three files that `abawkit.prediction.predict.predict` writes for networks.

    The manifest names each row that a member answered from another frame, as far as manifests beside members name it.

    Args:
        out: The official file or folder.
        members: The members.
        rule: How they are combined; the mean where it is None.
        plugin: The format; members must know its tasks, and what they know of others is stored too.
        force: Whether a folder that is at `out` is replaced.

    Raises:
        DataError: If no member knows a task of the format, or the rule is for other members.
    """
    needed = {*find_needed_tasks(plugin.tasks), *find_known_tasks(members)}
    tasks = tuple(task for task in TASKS if task in needed)
    made = [
        {"path": str(m.path), "key": m.key, "digest": m.digest, "tasks": list(m.tasks)}
        | ({"precision": m.precision} if m.precision else {})
        for m in members
    ]
    return write_outputs(
        out,
        apply_rule(rule or Rule(), members, tasks),
        tasks,
        plugin,
        source=_find_source(members),
        members=made,
        environment={
            "python": platform.python_version(),
            "abawkit": abawkit.__version__,
            "numpy": version("numpy"),
            "git": read_git_commit(Path.cwd()),
        },
        rule=rule,
        filled=_collect_filled(members),
        force=force,
    )


def write_combined(path: Path, members: Sequence[StoredMember], rule: Rule | None) -> None:
    """Writes the combined probabilities of all tasks that a member knows, and nothing beside them."""
    tasks = find_known_tasks(members)
    write_probabilities(path, apply_rule(rule or Rule(), members, tasks), tasks)


def _parse_weight(text: str, number: str) -> float:
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_WEIGHT:
        raise ConfigError(
            f"--weights {printable(text)}: got '{printable(number)}', expected numbers from 0 to {MAX_WEIGHT:g}, "
            "as va=2,1"
        )
    return value


def _explain_equal_weights(weight_fit: WeightFit, task: Task) -> str:
    if len(weight_fit.keys[task]) < 2:
        return "one member knows it"
    what = {"va": "rows are annotated", "expression": "rows have one expression", "au": "rows have one action unit"}
    return f"fewer than {MIN_POSITIVES} {what[task]}, or they are of fewer than {MIN_VIDEOS} videos"


def _find_source(members: Sequence[StoredMember]) -> Mapping[str, Any]:
    """What was predicted, by the first manifest beside a member, and whether all that have one are out of fold."""
    beside = [read_manifest_beside(member.path) for member in members]
    manifests = [manifest for manifest in beside if manifest and isinstance(manifest.get("source"), dict)]
    if not manifests:
        return {}
    return {**manifests[0]["source"], **({"out_of_fold": True} if all(map(is_out_of_fold, manifests)) else {})}


def _collect_filled(members: Sequence[StoredMember]) -> list[dict[str, Any]]:
    """The rows that any member answered from another frame, in order; of several for a row, the first member's."""
    found: dict[int, dict[str, Any]] = {}
    for member in members:
        entries = (read_manifest_beside(member.path) or {}).get("filled")
        for entry in entries if isinstance(entries, list) else []:
            if _is_filled(entry, member):
                found.setdefault(entry["row"], {name: entry[name] for name in ("row", "image", "from")})
    return [found[row] for row in sorted(found)]


def _is_filled(entry: Any, member: StoredMember) -> bool:
    """Whether an entry of a manifest names a row of the member, and the frame that answered it."""
    if not isinstance(entry, dict) or type(entry.get("row")) is not int or not isinstance(entry.get("from"), str):
        return False
    images, row = member.predictions.images, entry["row"]
    return 1 <= row <= len(images) and bool(entry.get("image") == images[row - 1].as_py())

"""Inspects the file of a rule: what it does with members' probabilities, and what it was fitted on."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from abawkit.errors import DataError, format_count
from abawkit.inspection.report import Inspection
from abawkit.labels import TASKS
from abawkit.postprocessing.calibration import list_calibrated
from abawkit.postprocessing.rule import Rule
from abawkit.postprocessing.rule_file import MAX_RULE_BYTES, read_evidence, read_rule
from abawkit.system.files import sha256_of
from abawkit.system.json_records import read_object

_FITTED_ON: Final = ("protocol", "rows", "videos", "folds", "tasks")
_SCORES: Final = ("cross_fitted", "untuned", "difference")


def is_rule(path: Path) -> bool:
    """Whether a JSON file is a rule, whole or damaged.

    Raises:
        DataError: If it is not a JSON object.
    """
    content = read_object(path, "a record", limit=MAX_RULE_BYTES)
    return "rule" in content and "submission_sha256" not in content


def inspect_rule(path: Path) -> Inspection:
    """Inspects a rule; one that can't be used is a problem, not an error.

    Args:
        path: Its file, as `abawkit tune` and `abawkit calibrate` write it, or written by hand.
    """
    found = Inspection(path, "rule", "a rule that can't be used")
    try:
        rule, evidence = read_rule(path), read_evidence(path)
    except DataError as error:
        found.problems.append(str(error))
        return found
    members = {key for weights in rule.weights.values() for key, weight in weights.items() if weight}
    done = _list_effects(rule)
    found.note("weights", rule.weights or None)
    found.note("pool", rule.pool or None)
    found.note("smoothing", {task: asdict(smoothing) for task, smoothing in rule.smoothing.items()} or None)
    found.note("calibration", list_calibrated(rule.calibration) or None)
    found.note("fitted_on", {name: evidence[name] for name in _FITTED_ON if name in evidence} or None)
    found.note("members", _list_members(evidence) or None)
    found.note("scores", {name: evidence[name] for name in _SCORES if name in evidence} or None)
    found.digests["rule"] = sha256_of(path)
    of = f" for {format_count(len(members), 'member')}" if members else ""
    found.summary = f"a rule{of}: {'; '.join(done) or 'changes nothing'}{_describe_fit(evidence)}"
    return found


def _list_members(evidence: Mapping[str, Any]) -> dict[str, str]:
    """The files of the members that it was fitted on, by the keys that its weights have."""
    members = evidence.get("members")
    pairs = [(m.get("key"), m.get("file")) for m in members if isinstance(m, dict)] if isinstance(members, list) else []
    return {key: file for key, file in pairs if isinstance(key, str) and isinstance(file, str)}


def _list_effects(rule: Rule) -> list[str]:
    parts = {
        "weighs": [task for task in TASKS if len(set(rule.weights.get(task, {}).values())) > 1],
        "smooths": [task for task in TASKS if task in rule.smoothing and rule.smoothing[task].kind != "none"],
        "calibrates": list(list_calibrated(rule.calibration)),
    }
    return [f"{verb} {', '.join(tasks)}" for verb, tasks in parts.items() if tasks]


def _describe_fit(evidence: Mapping[str, Any]) -> str:
    rows, videos = evidence.get("rows"), evidence.get("videos")
    if not (isinstance(rows, int) and isinstance(videos, int)):
        return ""
    return f"; fitted on {format_count(rows, 'row')} of {format_count(videos, 'video')}"

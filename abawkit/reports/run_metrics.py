"""The lines of a run's ``metrics.jsonl``, as its picture and its page show them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from abawkit.run_names import METRICS

Lines = Sequence[Mapping[str, Any]]
"""Lines of ``metrics.jsonl``."""

_PART_NAMES: Final = {"ccc_va": "CCC", "expression_f1": "EXPR F1", "au_f1": "AU F1"}


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``metrics.jsonl``."""
    return [json.loads(line) for line in (run / METRICS).read_text(encoding="utf-8").splitlines()]


def get_class_scores(line: Mapping[str, Any]) -> dict[str, float]:
    """F1 of each expression and action unit in a line of metrics; of older runs there is none."""
    found = line.get("per_class") or {}
    return {**(found.get("expression") or {}), **(found.get("au") or {})}


def list_scored_parts(lines: Lines) -> dict[str, str]:
    """The parts of the score that the lines have, each with its heading."""
    return {key: name for key, name in _PART_NAMES.items() if any(line["official"][key] is not None for line in lines)}

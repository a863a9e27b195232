"""What a run came to, from its manifest and its metrics: without torch, and without an error for a broken run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from abawkit.choices import FoldsOver, Protocol
from abawkit.errors import AbawkitError, DataError
from abawkit.labels import Task
from abawkit.run_names import BEST, MANIFEST, METRICS, RECIPE
from abawkit.system.json_records import MAX_RECORD, read_json
from abawkit.training.recipe import Recipe, parse_recipe

RunState = Literal["finished", "unfinished", "broken"]
"""``broken``: what is there can't be read, or weights are absent."""

_Count = Annotated[int, Field(ge=0)]


class _SummaryPart(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Parts(_SummaryPart):
    score: FiniteFloat
    ccc_va: FiniteFloat | None = None
    expression_f1: FiniteFloat | None = None
    au_f1: FiniteFloat | None = None


class _Best(_SummaryPart):
    epoch: _Count
    figure: FiniteFloat
    selected_by: str = ""
    official: _Parts | None = None
    strict: _Parts | None = None


class _RunFold(_SummaryPart):
    number: _Count
    of: _Count
    over: FoldsOver
    seed: _Count
    validated_on: str = ""
    best_epochs: tuple[int, ...] = ()


class _Rows(_SummaryPart):
    train: _Count
    validation: _Count


class _Manifest(_SummaryPart):
    format: Literal["abawkit.run.2"]
    tasks: tuple[Task, ...]
    rows: _Rows
    best: _Best
    seconds: FiniteFloat
    fold: _RunFold | None = None


@dataclass(frozen=True)
class RunSummary:
    """What a run came to.

    Attributes:
        folder: Its folder.
        state: Whether it is finished.
        problem: Why it is broken; the empty string where it is not.
        recipe: Its recipe, where that can be read.
        tasks: The tasks that were trained; of an unfinished run, those of its recipe.
        rows: Training rows; None before its end.
        scored_rows: Rows that it is validated on; None before its end.
        epochs: Epochs that are done.
        best_epoch: From 1; None before there is one.
        best_score: Its selection score.
        scores: For each protocol, the score of that epoch and its parts by name; None for tasks that are not scored.
        seconds: Duration; None before its end.
        fold: ``number``, ``of``, ``over``, ``seed`` and ``validated_on``, of a run in a folder of folds.
    """

    folder: Path
    state: RunState
    problem: str = ""
    recipe: Recipe | None = None
    tasks: tuple[Task, ...] = ()
    rows: int | None = None
    scored_rows: int | None = None
    epochs: int = 0
    best_epoch: int | None = None
    best_score: float | None = None
    scores: Mapping[Protocol, Mapping[str, float | None]] = field(default_factory=dict)
    seconds: float | None = None
    fold: Mapping[str, Any] | None = None

    @property
    def network(self) -> str | None:
        """Its network; of a sequence network, with its kind."""
        if self.recipe is None:
            return None
        return f"sequence ({self.recipe.sequence.kind})" if self.recipe.is_sequence else self.recipe.network


def summarise_run(folder: Path) -> RunSummary:
    """Reads what a run came to; a run that can't be read is ``broken``, and says why."""
    try:
        recipe = parse_recipe((folder / RECIPE).read_text(), str(folder / RECIPE))
    except (AbawkitError, OSError, ValueError) as error:
        return RunSummary(folder, "broken", f"{RECIPE}: {_shorten_error(error)}")
    try:
        lines = _read_metrics(folder / METRICS)
        if not (folder / MANIFEST).exists():
            return _summarise_lines(folder, recipe, lines)
        found = read_json(folder / MANIFEST, _Manifest, "the manifest of a run")
    except (AbawkitError, OSError) as error:
        return RunSummary(folder, "broken", _shorten_error(error), recipe)
    absent = not (folder / BEST).is_file()
    scores = {protocol: parts.model_dump() for protocol in _SUMMARISED if (parts := getattr(found.best, protocol))}
    return RunSummary(
        folder,
        "broken" if absent else "finished",
        f"{BEST} is absent" if absent else "",
        recipe,
        found.tasks,
        found.rows.train,
        found.rows.validation,
        len(lines),
        found.best.epoch,
        found.best.figure,
        scores,
        found.seconds,
        found.fold.model_dump() if found.fold else None,
    )


_SUMMARISED: tuple[Protocol, ...] = ("official", "strict")


def _summarise_lines(folder: Path, recipe: Recipe, lines: list[dict[str, Any]]) -> RunSummary:
    """An unfinished run: the best of the epochs that are done."""
    best = max(lines, key=lambda line: float(line["figure"]), default=None)
    if best is None:
        return RunSummary(folder, "unfinished", recipe=recipe, tasks=recipe.tasks)
    scores = {protocol: dict(best[protocol]) for protocol in _SUMMARISED if protocol in best}
    summary = RunSummary(folder, "unfinished", "", recipe, recipe.tasks, None, None, len(lines))
    return RunSummary(**{**vars(summary), "best_epoch": best["epoch"], "best_score": best["figure"], "scores": scores})


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``.

    Raises:
        DataError: If one is no line of an epoch.
    """
    if not path.exists():
        return []
    if path.stat().st_size > MAX_RECORD:
        raise DataError(f"{path}: has more than {MAX_RECORD:,} bytes")
    lines = []
    for number, text in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        try:
            line = json.loads(text)
            _Best(epoch=line["epoch"], figure=line["figure"], official=line["official"], strict=line.get("strict"))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{path}:{number}: is not the line of an epoch") from error
        lines.append(line)
    return lines


def _shorten_error(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

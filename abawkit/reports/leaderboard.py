"""Everything that was trained below some folders, with what it scored, and on which rows."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median_high
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from abawkit.choices import Protocol
from abawkit.errors import DataError
from abawkit.labels import TASKS, Task
from abawkit.run_names import BEST, CHECKPOINTS, FOLDS_RECORD, LAST, METRICS, OUT_OF_FOLD_NAME, RECIPE, REFIT_FOLDER
from abawkit.scoring.bootstrap import PART_OF
from abawkit.scoring.score import PROTOCOLS
from abawkit.system.json_records import read_json
from abawkit.training.fold_folder import FoldsContent, is_fold_folder, list_fold_runs, read_folds
from abawkit.training.nearest_recipe import find_nearest_recipe
from abawkit.training.recipe import Recipe, read_recipe
from abawkit.training.run_files import RUN
from abawkit.training.run_summary import RunState, RunSummary, summarise_run

if TYPE_CHECKING:
    import pandas as pd

ScoredOn = Literal["validation", "out of fold", "own fold", "in-sample"]
"""The rows of a score. ``out of fold``: each row by the network that has not seen its video. ``own fold``: the rows of
one fold by its network. ``in-sample``: rows that the network was trained on, so that the score is too high."""

_RUN_ENTRIES: Final = {CHECKPOINTS, METRICS, BEST, LAST}


@dataclass(frozen=True)
class TrainedResult:
    """A run, or all folds of a folder together.

    Attributes:
        path: Its folder.
        state: Whether it is finished.
        problem: Why it is broken, or what is unfinished; the empty string where neither.
        scored_on: The rows of its scores, and those of which split in `rows_of`.
        rows_of: ``validation``, ``train`` or ``train+validation``.
        recipe: The nearest recipe that comes with abawkit; None where there is none near.
        changed: Keys in which its recipe differs from that.
        network: Its network, with the kind of a sequence network.
        seed: Of its recipe.
        tasks: The tasks that were trained.
        rows: Training rows; of folds, all that are divided.
        scored_rows: Rows of its scores.
        epochs: Epochs that are done; of folds, None.
        best_epoch: Its best epoch; of folds, the median.
        scores: For each protocol the score and its parts by name; None for tasks that are not scored.
        interval: The 95 % forecast of the official score for a test of as many videos, where it is known.
        seconds: Duration of the training.
        prediction_seconds: Duration of the prediction of all scored rows, where it was stored.
    """

    path: Path
    state: RunState
    problem: str
    scored_on: ScoredOn
    rows_of: str
    recipe: str | None = None
    changed: int = 0
    network: str | None = None
    seed: int | None = None
    tasks: tuple[Task, ...] = ()
    rows: int | None = None
    scored_rows: int | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    scores: Mapping[Protocol, Mapping[str, float | None]] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    seconds: float | None = None
    prediction_seconds: float | None = None

    @property
    def score(self) -> float | None:
        """The official score: P where all three tasks were trained, else the sum of their parts."""
        return self.scores.get("official", {}).get("score")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        interval = {"low": self.interval[0], "high": self.interval[1]} if self.interval else None
        scores = {protocol: dict(parts) for protocol, parts in self.scores.items()}
        return {
            **asdict(self),
            "path": str(self.path),
            "tasks": list(self.tasks),
            "scores": scores,
            "interval": interval,
        }


class Leaderboard(list[TrainedResult]):
    """Results, the best first, with a table for notebooks."""

    def to_frame(self) -> "pd.DataFrame":
        """A table with a row for each result, by its folder.

        Returns:
            Columns ``state``, ``scored_on``, ``rows_of``, ``recipe``, ``network``, ``seed``, ``scored_rows`` and
            ``seconds``, and for the official and the strict protocol ``score`` and its parts, as ``official score``
            and ``official ccc_va``. Scores of different ``scored_on`` are of different rows, and not comparable.
        """
        import pandas as pd

        names = ("state", "scored_on", "rows_of", "recipe", "network", "seed", "scored_rows", "seconds")
        parts = [(protocol, part) for protocol in PROTOCOLS for part in ("score", *PART_OF.values())]
        rows = [
            {name: getattr(each, name) for name in names}
            | {f"{protocol} {part}": each.scores.get(protocol, {}).get(part) for protocol, part in parts}
            for each in self
        ]
        columns = [*names, *(f"{protocol} {part}" for protocol, part in parts)]
        return pd.DataFrame(rows, index=[str(each.path) for each in self], columns=columns)

    def _repr_html_(self) -> str:
        """The table in a notebook."""
        return str(self.to_frame().to_html(float_format="{:.4f}".format, na_rep=""))


class _RecordPart(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Bounds(_RecordPart):
    low: FiniteFloat
    high: FiniteFloat


class _Forecast(_RecordPart):
    score: _Bounds


class _ScoreContent(_RecordPart):
    rows: Annotated[int, Field(ge=0)]
    score: FiniteFloat
    ccc_va: FiniteFloat | None = None
    expression_f1: FiniteFloat | None = None
    au_f1: FiniteFloat | None = None
    forecast: _Forecast | None = None


class _OutOfFoldContent(_RecordPart):
    format: Literal["abawkit.out-of-fold.1"]
    scores: dict[Protocol, _ScoreContent]
    seconds: FiniteFloat


def list_results(folders: Sequence[Path]) -> Leaderboard:
    """Everything that was trained below some folders: the finished first, by score; links are not followed.

    Args:
        folders: Each may be a run or a folder of folds itself.

    Raises:
        DataError: If a folder is absent.
    """
    found: dict[Path, TrainedResult] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder that runs are in")
        for result in _walk(folder):
            found.setdefault(result.path.resolve(), result)
    return Leaderboard(sorted(found.values(), key=_rank))


def _rank(result: TrainedResult) -> tuple[bool, bool, float, str]:
    partial = set(result.tasks) != set(TASKS)
    return result.state != "finished", partial, -(result.score if result.score is not None else -9.0), str(result.path)


def _walk(folder: Path) -> Iterator[TrainedResult]:
    """The results in a folder and below; what is in a run is part of it."""
    names = {entry.name for entry in os.scandir(folder)} if os.access(folder, os.R_OK | os.X_OK) else set()
    if FOLDS_RECORD in names:
        yield from _summarise_folds(folder)
    elif names & _RUN_ENTRIES or (RECIPE in names and not RUN.difference(folder)):
        siblings = _summarise_folds(folder.parent) if is_fold_folder(folder.parent) else ()
        own = [result for result in siblings if result.path == folder]
        yield own[0] if own else _make_result(summarise_run(folder), "validation", "validation")
    else:
        for name in sorted(names):
            path = folder / name
            if path.is_dir() and not path.is_symlink() and not name.startswith("."):
                yield from _walk(path)


def _summarise_folds(folder: Path) -> Iterator[TrainedResult]:
    """All folds together, and each of their runs that was begun."""
    try:
        content = read_folds(folder)
    except DataError as error:
        yield TrainedResult(folder, "broken", str(error), "out of fold", "train")
        return
    runs = [summarise_run(run) if run.is_dir() else None for run in list_fold_runs(folder, content.folds)]
    yield _summarise_together(folder, content, runs)
    for run in filter(None, runs):
        yield _make_result(run, "own fold", content.over)
    if (folder / REFIT_FOLDER).is_dir():
        refit = summarise_run(folder / REFIT_FOLDER)
        over_both = content.over == "train+validation"
        yield _make_result(
            refit, "in-sample" if over_both else "validation", content.over if over_both else "validation"
        )


def _summarise_together(folder: Path, content: FoldsContent, runs: Sequence[RunSummary | None]) -> TrainedResult:
    known = [run for run in runs if run]
    finished = [run for run in known if run.state == "finished"]
    recipe = next((run.recipe for run in known if run.recipe), None) or _read_recipe(folder / RECIPE)
    common: dict[str, Any] = {
        "path": folder,
        "scored_on": "out of fold",
        "rows_of": content.over,
        **_describe_recipe(recipe),
        "tasks": tuple(task for task in TASKS if all(task in run.tasks for run in known)) if known else (),
        "rows": sum(size.rows for size in content.sizes),
        "seconds": sum(run.seconds or 0 for run in finished) if len(finished) == content.folds else None,
    }
    if broken := [run for run in known if run.state == "broken"]:
        return TrainedResult(state="broken", problem=f"{broken[0].folder.name}: {broken[0].problem}", **common)
    if len(finished) < content.folds:
        text = f"{len(finished)} of {content.folds} folds are finished"
        return TrainedResult(state="unfinished", problem=text, **common)
    path = folder / f"{OUT_OF_FOLD_NAME}.json"
    if not path.exists():
        return TrainedResult(state="unfinished", problem=f"{path.name} is absent", **common)
    try:
        record = read_json(path, _OutOfFoldContent, "the manifest of out-of-fold probabilities")
    except DataError as error:
        return TrainedResult(state="broken", problem=str(error).splitlines()[0], **common)
    official = record.scores.get("official")
    bounds = official.forecast.score if official and official.forecast else None
    return TrainedResult(
        state="finished",
        problem="",
        scored_rows=official.rows if official else None,
        best_epoch=median_high(run.best_epoch or 0 for run in finished),
        scores={name: score.model_dump(exclude={"rows", "forecast"}) for name, score in record.scores.items()},
        interval=(bounds.low, bounds.high) if bounds else None,
        prediction_seconds=record.seconds,
        **common,
    )


def _make_result(run: RunSummary, scored_on: ScoredOn, rows_of: str) -> TrainedResult:
    done = f"{run.epochs} of {run.recipe.heads.epochs + run.recipe.all.epochs} epochs are done" if run.recipe else ""
    return TrainedResult(
        run.folder,
        run.state,
        done if run.state == "unfinished" else run.problem,
        scored_on,
        rows_of,
        **_describe_recipe(run.recipe),
        tasks=run.tasks,
        rows=run.rows,
        scored_rows=run.scored_rows,
        epochs=run.epochs,
        best_epoch=run.best_epoch,
        scores={
            protocol: {part: parts.get(part) for part in ("score", "ccc_va", "expression_f1", "au_f1")}
            for protocol, parts in run.scores.items()
        },
        seconds=run.seconds,
    )


def _describe_recipe(recipe: Recipe | None) -> dict[str, Any]:
    if recipe is None:
        return {}
    near = find_nearest_recipe(recipe)
    network = f"sequence ({recipe.sequence.kind})" if recipe.is_sequence else recipe.network
    return {
        "recipe": near["like"],
        "changed": len(near.get("changed", ())),
        "network": network,
        "seed": recipe.seed,
    }


def _read_recipe(path: Path) -> Recipe | None:
    try:
        return read_recipe(str(path))
    except Exception:
        return None

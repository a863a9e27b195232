"""The tables of networks that were trained by folds; out-of-fold scores are named as such."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from abawkit.cli._command import print_json, print_message
from abawkit.cli._output import show_table, stdout
from abawkit.cli._tables import name_score_parts
from abawkit.errors import format_count, printable
from abawkit.labels import TASKS

if TYPE_CHECKING:
    from abawkit.training.run import Trained
    from abawkit.training.run_summary import RunSummary


def show_folds(result: "Trained", *, as_json: bool) -> None:
    """Prints what networks by folds came to: each on its own fold, and all rows out of fold."""
    if as_json:
        print_json(_make_folds_content(result))
        return
    parts = name_score_parts(result.tasks)
    rows = [
        (
            f"fold {number}",
            f"{run.rows or 0:,}",
            f"{run.scored_rows or 0:,}",
            str(run.best_epoch),
            *_format_fold_parts(run, parts),
        )
        for number, run in enumerate(result.folds, start=1)
    ]
    over = result.folds_over
    show_table(
        f"{len(rows)} folds over {over}, each network on the rows of its own fold at its best epoch, official protocol",
        ["", "trained on", "scored on", "best epoch", *parts.values()],
        rows,
    )
    whole = list(parts.values())[-1]
    scores = [
        (
            protocol,
            f"{score.rows:,}",
            *(f"{getattr(score, part):.4f}" for part in parts),
            f"{forecast.parts['score'].low:.4f}..{forecast.parts['score'].high:.4f}"
            if (forecast := score.forecast)
            else "-",
        )
        for protocol, score in result.scores.items()
    ]
    show_table(
        f"Out of fold, all rows of {over}: each by the network that has not seen its video",
        ["protocol", "rows", *parts.values(), f"95 % forecast of {whole}"],
        scores,
    )
    print_message(
        "note: the best epoch of each fold was chosen on that fold, so that these scores are a little too high"
    )
    if result.refit:
        _show_refit(result.refit, parts)
    if untrained := [task for task in TASKS if task not in result.tasks]:
        print(f"not trained in all folds: {', '.join(untrained)}")
    stdout().print(printable(f"written: {result.out} ({result.seconds:.0f} s); out of fold: {result.probabilities}"))


def _show_refit(run: "RunSummary", parts: Mapping[str, str]) -> None:
    fold = run.fold or {}
    best = ", ".join(map(str, fold.get("best_epochs", ())))
    epochs = f"{format_count(run.epochs, 'epoch')} (median of {best})"
    show_table(
        f"All rows of {fold.get('over')}, {epochs}; scored on {fold.get('validated_on')}",
        ["", "trained on", *parts.values()],
        [(run.folder.name, f"{run.rows or 0:,}", *_format_fold_parts(run, parts))],
    )


def _format_fold_parts(run: "RunSummary", parts: Mapping[str, str]) -> list[str]:
    found = run.scores.get("official", {})
    return ["-" if (value := found.get(part)) is None else f"{value:.4f}" for part in parts]


def _make_folds_content(result: "Trained") -> dict[str, Any]:
    return {
        "out": str(result.out),
        "tasks": list(result.tasks),
        "folds_over": result.folds_over,
        "folds": [_describe_run(run) for run in result.folds],
        "refit": _describe_run(result.refit) if result.refit else None,
        "out_of_fold": {
            "probabilities": str(result.probabilities),
            "figure": result.best_score,
            "scores": {
                protocol: {**score.report(), "forecast": score.forecast.as_dict() if score.forecast else None}
                for protocol, score in result.scores.items()
            },
        },
        "seconds": round(result.seconds, 1),
    }


def _describe_run(run: "RunSummary") -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "rows": run.rows,
        "scored_rows": run.scored_rows,
        "best_epoch": run.best_epoch,
        "figure": run.best_score,
        "scores": {protocol: dict(parts) for protocol, parts in run.scores.items()},
        "seconds": run.seconds,
    }

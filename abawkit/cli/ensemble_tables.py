"""The tables of ``abawkit ensemble``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from abawkit.choices import Protocol
from abawkit.cli.display import show_table
from abawkit.labels import TASKS, Task

if TYPE_CHECKING:
    from abawkit.postprocessing.analysis import Analysis
    from abawkit.postprocessing.members import StoredMember
    from abawkit.postprocessing.result import Tuning
    from abawkit.postprocessing.rule import Rule
    from abawkit.scoring.videos import Interval

_PARTS = {"ccc_va": "CCC", "expression_f1": "EXPR", "au_f1": "AU", "score": "P"}
_TASK_OF: dict[str, Task] = dict(zip(_PARTS, TASKS, strict=False))


def score_parts(tasks: Sequence[Task]) -> dict[str, str]:
    """The parts of a score that these tasks have, with their headings; P is the sum of all three alone."""
    known = {part: _PARTS[part] for part, task in _TASK_OF.items() if task in tasks}
    return known | ({"score": "P" if len(known) == len(TASKS) else "sum"} if len(known) > 1 else {})


def show_members(analysis: "Analysis", protocol: Protocol, what: str) -> None:
    """What each member scores alone, and what it adds to `what`."""
    names = _names([standing.member for standing in analysis.standings])
    tasks = [task for task in TASKS if any(task in standing.member.tasks for standing in analysis.standings)]
    parts = score_parts(tasks)
    rows = [
        (name, *(_figure(standing, part, tasks) for part in parts), f"{standing.adds['score']:+.4f}")
        for name, standing in zip(names, analysis.standings, strict=True)
    ]
    together = ("together", *(f"{analysis.together[part]:.4f}" for part in parts), "")
    show_table(
        f"Members, {protocol} protocol; what each adds to {what}", ["", *parts.values(), "adds"], [*rows, together]
    )


def _figure(standing: Any, part: str, tasks: Sequence[Task]) -> str:
    """A part of what a member scores alone; the sum is that of a member that knows as much as all together."""
    needed = [_TASK_OF[part]] if part in _TASK_OF else tasks
    return f"{standing.alone[part]:.4f}" if set(needed) <= set(standing.member.tasks) else "-"


def show_correlations(analysis: "Analysis") -> None:
    """How far members err alike, task by task."""
    names = _names([standing.member for standing in analysis.standings])
    for task, matrix in analysis.correlations.items():
        rows = [(name, *map(_correlation, row)) for name, row in zip(names, matrix.tolist(), strict=True)]
        columns = ["", *(str(i) for i in range(1, len(names) + 1))]
        show_table(f"Correlation of errors, {task}", columns, rows)


def _correlation(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"


def show_weights(members: "Sequence[StoredMember]", rule: "Rule") -> None:
    """The weight of each member, as the rule has it; nothing where all weights are equal, which is the mean."""
    tasks = [task for task in TASKS if len(set(rule.weights.get(task, {}).values())) > 1]
    if not tasks:
        return
    rows = [
        (name, *(f"{w:.4f}" if (w := rule.weights[task].get(member.key)) is not None else "-" for task in tasks))
        for name, member in zip(_names(members), members, strict=True)
    ]
    show_table("Weights; the mean in other tasks" if len(tasks) < len(TASKS) else "Weights", ["", *tasks], rows)


def show_scores(
    score: "Mapping[str, Interval]",
    tuning: "Tuning | None",
    protocol: Protocol,
    *,
    tasks: Sequence[Task] = TASKS,
    in_sample: bool = False,
    pooled: bool = False,
) -> None:
    """What members score together; where weights were fitted, on videos that they were not fitted on first.

    Args:
        score: Of the ensemble; where weights were fitted, cross-fitted.
        tuning: How they were fitted.
        protocol: Of the score.
        tasks: What members know; nothing else is scored.
        in_sample: Whether the ensemble's rule was fitted on these rows.
        pooled: Whether logits are averaged, where it is probabilities else.
    """
    from abawkit.scoring.videos import few_videos_note

    parts = score_parts(tasks)
    whole = list(parts.values())[-1]

    def row(name: str, found: "Mapping[str, Interval]", sign: str = "") -> tuple[str, ...]:
        return (name, *(f"{found[part].value:{sign}.4f}" for part in parts))

    logits = " of logits" if pooled else ""
    if not tuning:
        title = f"Ensemble{logits}, {protocol} protocol{'; in-sample: too high' if in_sample else ''}"
        columns = ["", *parts.values(), f"95 % forecast of {whole}"]
        show_table(title, columns, [(*row("together", score), _range(score["score"], ""))])
        return
    seen = ("in-sample", *(f"{tuning.in_sample[part]:.4f}" for part in parts))
    rows = [(*one, "") for one in (row("cross-fitted", score), seen, row("mean", tuning.untuned))]
    rows.append((*row("difference", tuning.difference, "+"), _range(tuning.difference["score"], "+")))
    how = "Cross-fitted: each video by weights of others. In-sample: too high."
    title = f"Fitted weights{logits}, {protocol} protocol. {how}"
    show_table(title, ["", *parts.values(), "95 % interval"], rows)
    if tuning.difference["score"].within_noise:
        print(f"The difference in {whole} is within noise: the mean is as good a choice.\n")
    if note := few_videos_note(tuning.about["videos"]):
        print(f"note: {note}\n")


def _range(interval: "Interval", sign: str) -> str:
    return f"{interval.low:{sign}.4f}..{interval.high:{sign}.4f}"


def _names(members: "Sequence[StoredMember]") -> list[str]:
    """Numbered names, with the folder where the file's name alone would not tell."""
    names = [member.path.name for member in members]
    full = [m.path.name if names.count(m.path.name) == 1 else f"{m.path.parent.name}/{m.path.name}" for m in members]
    return [f"{i} {name}" for i, name in enumerate(full, start=1)]

"""The tables of ``abawkit ensemble``, ``calibrate`` and ``tune``; out-of-fold scores come first."""

import re
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from abawkit.choices import Protocol, TruthSplit
from abawkit.cli._command import print_json, print_message
from abawkit.cli._output import format_number, show_table
from abawkit.errors import format_count, printable
from abawkit.labels import TASKS, Task

if TYPE_CHECKING:
    from abawkit.postprocessing.rule import Rule
    from abawkit.probabilities.members import StoredMember
    from abawkit.scoring.bootstrap import Interval
    from abawkit.tuning.cross_validation import Tuning
    from abawkit.tuning.ensemble_analysis import Analysis, Prospect


_NOTE: Final = re.compile(r"(?P<parameter>.+): kept as is, (?P<reason>.+)", re.DOTALL)
_SHOWN: Final = 6
_ALIKE: Final = 0.9


def group_notes(notes: Sequence[str]) -> list[str]:
    """Joins notes that give the same reason for several parameters.

    Args:
        notes: As of `abawkit.tuning.cross_validation.Tuning.notes`; others stay as they are.

    Returns:
        One line for each reason, in their order; counts that differ between parameters are in the rule's file and in
        ``--json``.
    """
    lines: dict[str, list[str]] = {}
    for note in notes:
        found = _NOTE.fullmatch(note)
        lines.setdefault(found["reason"].rpartition(", ")[2] if found else note, []).append(note)
    return [_join_notes(reason, same) for reason, same in lines.items()]


def _join_notes(reason: str, notes: Sequence[str]) -> str:
    if len(notes) == 1:
        return notes[0]
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kind, _, name = note.partition(": kept as is, ")[0].partition(" of ")
        kinds.setdefault(kind, []).append(name)
    parameters = "; ".join(f"{kind} of {_join_names(names)}" for kind, names in kinds.items())
    counted = " each (--json has the counts)" if any(character.isdigit() for character in reason) else ""
    return f"{parameters}: kept as is, {reason}{counted}"


def _join_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


SCORE_HEADINGS: Final = {"ccc_va": "CCC", "expression_f1": "EXPR", "au_f1": "AU", "score": "P"}
"""Headings of the parts of a score, in the order of tables."""

_TASK_OF: Final[dict[str, Task]] = dict(zip(SCORE_HEADINGS, TASKS, strict=False))


def name_score_parts(tasks: Sequence[Task]) -> dict[str, str]:
    """The parts of a score that these tasks have, with their headings; P is the sum of all three alone."""
    known = {part: SCORE_HEADINGS[part] for part, task in _TASK_OF.items() if task in tasks}
    return known | ({"score": "P" if len(known) == len(TASKS) else "sum"} if len(known) > 1 else {})


def show_members(analysis: "Analysis", protocol: Protocol, what: str) -> None:
    """What each member scores alone, and what it adds to `what`."""
    names = _number_members([one.member for one in analysis.contributions])
    tasks = [task for task in TASKS if any(task in one.member.tasks for one in analysis.contributions)]
    parts = name_score_parts(tasks)
    rows = [
        (name, *(_format_part(one, part, tasks) for part in parts), f"{one.adds['score']:+.4f}")
        for name, one in zip(names, analysis.contributions, strict=True)
    ]
    together = ("together", *(f"{analysis.together[part]:.4f}" for part in parts), "")
    show_table(
        f"Members, {protocol} protocol; what each adds to {what}", ["", *parts.values(), "adds"], [*rows, together]
    )


def _format_part(one: Any, part: str, tasks: Sequence[Task]) -> str:
    """A part of a member's own score; its sum only where it knows all tasks that the ensemble knows."""
    needed = [_TASK_OF[part]] if part in _TASK_OF else tasks
    return f"{one.alone[part]:.4f}" if set(needed) <= set(one.member.tasks) else "-"


def show_prospects(analysis: "Analysis") -> None:
    """What each member can add to the others at its best weight, and those that can add next to nothing."""
    names = _number_members([one.member for one in analysis.contributions])
    found = [(name, one.prospect) for name, one in zip(names, analysis.contributions, strict=True) if one.prospect]
    if not found:
        return
    tasks = [task for task in TASKS if any(task in prospect.removes for _, prospect in found)]
    rows = [
        (
            name,
            *(_format_correlation(prospect.correlations.get(task, nan)) for task in tasks),
            f"{prospect.expected:.4f}",
        )
        for name, prospect in found
    ]
    title = "What each can add; correlation of its errors with those of the others"
    show_table(title, ["", *tasks, "can add"], rows)
    for name, prospect in found:
        if prospect.is_little:
            print_message(f"note: {describe_prospect(name, prospect)}")


def describe_prospect(name: str, prospect: "Prospect") -> str:
    """One sentence on a member that adds next to nothing."""
    known = [value for value in prospect.correlations.values() if value == value]
    low, high = (f"{value:.2f}" for value in (min(known, default=nan), max(known, default=nan)))
    alike = low if low == high else f"{low} to {high}"
    why = "another kind of network adds more than another seed" if min(known, default=0) > _ALIKE else "they are better"
    return f"expect about {prospect.expected:.4f} from {name}: its errors correlate {alike} with the others', and {why}"


def show_correlations(analysis: "Analysis") -> None:
    """How the members' errors correlate, task by task."""
    names = _number_members([one.member for one in analysis.contributions])
    for task, matrix in analysis.correlations.items():
        rows = [(name, *map(_format_correlation, row)) for name, row in zip(names, matrix.tolist(), strict=True)]
        columns = ["", *(str(i) for i in range(1, len(names) + 1))]
        show_table(f"Correlation of errors, {task}", columns, rows)


def _format_correlation(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"


def show_weights(members: "Sequence[StoredMember]", rule: "Rule") -> None:
    """The weight of each member, as the rule has it; nothing where all weights are equal, which is the mean."""
    tasks = [task for task in TASKS if len(set(rule.weights.get(task, {}).values())) > 1]
    if not tasks:
        return
    rows = [
        (name, *(f"{w:.4f}" if (w := rule.weights[task].get(member.key)) is not None else "-" for task in tasks))
        for name, member in zip(_number_members(members), members, strict=True)
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
    """What members score together; where weights were fitted, the out-of-fold score comes first.

    Args:
        score: Of the ensemble; where weights were fitted, cross-fitted.
        tuning: How they were fitted.
        protocol: Of the score.
        tasks: The tasks that members know; no other is scored.
        in_sample: Whether the ensemble's rule was fitted on these rows.
        pooled: Whether logits are averaged, in place of probabilities.
    """
    from abawkit.scoring.bootstrap import describe_few_videos

    parts = name_score_parts(tasks)
    whole = list(parts.values())[-1]

    def row(name: str, found: "Mapping[str, Interval]", sign: str = "") -> tuple[str, ...]:
        return (name, *(f"{found[part].value:{sign}.4f}" for part in parts))

    logits = " of logits" if pooled else ""
    if not tuning:
        title = f"Ensemble{logits}, {protocol} protocol{'; in-sample: too high' if in_sample else ''}"
        columns = ["", *parts.values(), f"95 % forecast of {whole}"]
        show_table(title, columns, [(*row("together", score), _format_range(score["score"], ""))])
        return
    seen = ("in-sample", *(f"{tuning.in_sample[part]:.4f}" for part in parts))
    rows = [(*one, "") for one in (row("cross-fitted", score), seen, row("mean", tuning.untuned))]
    rows.append((*row("difference", tuning.difference, "+"), _format_range(tuning.difference["score"], "+")))
    how = "Cross-fitted: each video by weights of others. In-sample: too high."
    title = f"Fitted weights{logits}, {protocol} protocol. {how}"
    show_table(title, ["", *parts.values(), "95 % interval"], rows)
    if tuning.difference["score"].within_noise:
        print(f"The difference in {whole} is within noise: the mean is as good a choice.\n")
    if note := describe_few_videos(tuning.about["videos"]):
        print(f"note: {note}\n")


def _format_range(interval: "Interval", sign: str) -> str:
    return f"{interval.low:{sign}.4f}..{interval.high:{sign}.4f}"


def _number_members(members: "Sequence[StoredMember]") -> list[str]:
    """Numbered names, with the folder where several files have one name."""
    names = [member.path.name for member in members]
    full = [m.path.name if names.count(m.path.name) == 1 else f"{m.path.parent.name}/{m.path.name}" for m in members]
    return [f"{i} {name}" for i, name in enumerate(full, start=1)]


def show_tuning(tuning: "Tuning", out: Path, before: str, *, as_json: bool, split: TruthSplit | None = None) -> None:
    """Prints a result, and on stderr what its scores do not include.

    Args:
        tuning: The result.
        out: The rule that was written.
        before: Name of the scores with nothing fitted.
        as_json: Whether JSON is printed instead of tables.
        split: The rows of the curated set that are the truth, where they were named.
    """
    import numpy as np

    from abawkit.postprocessing.rule import make_rule_content
    from abawkit.scoring.bootstrap import describe_few_videos

    both = (tuning.found.predictions, tuning.untuned_predictions)
    if all(np.array_equal(*(getattr(predictions, task) for predictions in both)) for task in tuning.tasks):
        print_message(f"warning: the rule changes nothing: every answer is as it is {before}; the notes say why")

    print_message(
        "note: where networks were chosen on these very rows, as the best epoch of a run is on validation, "
        "all scores are a little too high"
    )
    if as_json:
        print_json({"rule": str(out), **make_rule_content(tuning.rule), **tuning.evidence()})
        return
    about = tuning.about
    scores = {
        "cross-fitted": {part: interval.value for part, interval in tuning.cross_fitted.items()},
        "in-sample": tuning.in_sample,
        before: {part: interval.value for part, interval in tuning.untuned.items()},
    }
    parts = {part: name for part, name in SCORE_HEADINGS.items() if _TASK_OF.get(part, tuning.tasks[0]) in tuning.tasks}
    show_table(
        f"Score of {format_count(about['rows'], 'row')} of {format_count(about['videos'], 'video')}"
        f"{f' of {split}' if split else ''}, "
        f"{about['protocol']} protocol. "
        f"Cross-fitted: each video by what was fitted on others, {about['folds']} folds. In-sample: too high.",
        ["", *parts.values()],
        [(name, *(f"{values[part]:.4f}" for part in parts)) for name, values in scores.items()],
    )
    show_table(
        f"Cross-fitted less {before}: what the rules of the {about['folds']} folds gain on videos that they were not "
        f"fitted on; 95 % interval over {format_number(about['draws'])} draws of these videos",
        ["", "", "gain", "from", "to"],
        [(name, *_format_gain(tuning.difference[part])) for part, name in parts.items()],
        text_columns=2,
    )
    print(_describe_gain(tuning.difference["score"], before))
    for part, name in parts.items():
        if _TASK_OF.get(part) in tuning.fallen:
            print(f"{name} falls, so the rule changes nothing for this task.")
    if note := describe_few_videos(about["videos"]):
        print(f"note: {note}")
    print()
    _show_choice(tuning)
    _show_calibration(tuning)
    print(printable(f"{out}: the rule; apply it with predict --rule or ensemble --rule"))
    for line in group_notes(tuning.notes):
        print_message(f"note: {line}")


def _format_gain(gain: "Interval") -> tuple[str, ...]:
    noise = "within noise" if gain.within_noise else "beyond noise"
    return noise, *(f"{value:+.4f}" for value in (gain.value, gain.low, gain.high))


def _describe_gain(gain: "Interval", before: str) -> str:
    if gain.within_noise:
        return (
            "The difference in P is within noise: other videos could turn it around, "
            f"and nothing here says that the rule is better than {before}."
        )
    if gain.value > 0:
        return f"The gain in P is beyond noise: hardly any draw of videos would make {before} the better choice."
    return "P falls, beyond noise: what makes it fall is left out of the rule."


def _show_choice(tuning: "Tuning") -> None:
    chosen = tuning.found.chosen
    if not chosen:
        return
    rows: list[tuple[str, ...]] = [
        (
            task,
            str(one.candidate.smoothing),
            "fitted" if one.candidate.calibrated else "none",
            "-" if task == "va" else one.candidate.pool,
            "fitted" if one.weights is not None else "mean",
        )
        for task, one in chosen.items()
    ]
    show_table("The rule", ["", "smoothing", "calibration", "pool", "weights"], rows, text_columns=5)
    show_weights(tuning.members, tuning.rule)


def _show_calibration(tuning: "Tuning") -> None:
    """The parameters of the calibration that differ from none."""
    from abawkit.postprocessing.calibration import list_calibrated

    found = list_calibrated(tuning.rule.calibration)
    rows = [
        (f"{name}: {what}", f"{value:.4f}")
        for name, values in found.get("va", {}).items()
        for what, value in values.items()
    ]
    rows += [(f"{name}: bias", f"{value:+.2f}") for name, value in found.get("expression", {}).items()]
    rows += [(f"{name}: threshold", f"{value:.2f}") for name, value in found.get("au", {}).items()]
    if rows:
        show_table("Calibration, where it differs from none", ["", "value"], rows)

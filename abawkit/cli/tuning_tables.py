"""What `abawkit calibrate` and `abawkit tune` print: the figures on videos that the fit did not see stand first."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abawkit.cli.command import print_json, say
from abawkit.cli.display import number, show_table
from abawkit.cli.ensemble_tables import show_weights
from abawkit.cli.notes import fold_notes
from abawkit.errors import format_count, printable
from abawkit.labels import TASKS, Task

if TYPE_CHECKING:
    from abawkit.postprocessing.members import StoredMember
    from abawkit.postprocessing.result import Tuning
    from abawkit.scoring.videos import Interval

_PARTS = {"ccc_va": "CCC", "expression_f1": "EXPR", "au_f1": "AU", "score": "P"}
_TASKS: dict[str, Task] = dict(zip(_PARTS, TASKS, strict=False))


def show(tuning: "Tuning", members: "Sequence[StoredMember]", out: Path, before: str, *, as_json: bool) -> None:
    """Prints a result, and says on stderr what its figures do not know.

    Args:
        tuning: The result.
        members: What it was fitted for.
        out: The rule that was written.
        before: What the figures of nothing fitted are called.
        as_json: Whether JSON is wanted instead of tables.
    """
    import numpy as np

    from abawkit.postprocessing.rule import rule_content
    from abawkit.scoring.videos import few_videos_note

    both = (tuning.found.predictions, tuning.untuned_predictions)
    if all(np.array_equal(*(getattr(predictions, task) for predictions in both)) for task in tuning.tasks):
        say(f"warning: the rule changes nothing: every answer stays what it is {before}; the notes say why")

    say(
        "note: where networks were chosen on these very rows, as the best epoch of a run is on validation, "
        "all figures are a little too high"
    )
    if as_json:
        print_json({"rule": str(out), **rule_content(tuning.rule), **tuning.evidence()})
        return
    about = tuning.about
    figures = {
        "cross-fitted": {part: interval.value for part, interval in tuning.cross_fitted.items()},
        "in-sample": tuning.in_sample,
        before: {part: interval.value for part, interval in tuning.untuned.items()},
    }
    parts = {part: name for part, name in _PARTS.items() if part not in _TASKS or _TASKS[part] in tuning.tasks}
    show_table(
        f"Score of {format_count(about['rows'], 'row')} of {format_count(about['videos'], 'video')}, "
        f"{about['protocol']} protocol. "
        f"Cross-fitted: each video by what was fitted on others, {about['folds']} folds. In-sample: too high.",
        ["", *parts.values()],
        [(name, *(f"{values[part]:.4f}" for part in parts)) for name, values in figures.items()],
    )
    show_table(
        f"Cross-fitted less {before}: what the rules of the {about['folds']} folds gain on videos that they were not "
        f"fitted on; 95 % interval over {number(about['draws'])} draws of these videos",
        ["", "", "gain", "from", "to"],
        [(name, *_verdict(tuning.difference[part])) for part, name in parts.items()],
        text_columns=2,
    )
    print(_sentence(tuning.difference["score"], before))
    for part, name in parts.items():
        if part in _TASKS and _TASKS[part] in tuning.fallen:
            print(f"{name} falls, so the rule leaves this task as it was: it loses nothing there.")
    if note := few_videos_note(about["videos"]):
        print(f"note: {note}")
    print()
    _show_choice(tuning, members)
    _show_knobs(tuning)
    print(printable(f"{out}: the rule; apply it with predict --rule or ensemble --rule"))
    for line in fold_notes(tuning.notes):
        say(f"note: {line}")


def _verdict(gain: "Interval") -> tuple[str, ...]:
    judged = "within noise" if gain.within_noise else "beyond noise"
    return judged, *(f"{value:+.4f}" for value in (gain.value, gain.low, gain.high))


def _sentence(gain: "Interval", before: str) -> str:
    if gain.within_noise:
        return (
            "The difference in P is within noise: other videos could turn it around, "
            f"and nothing here says that the rule is better than {before}."
        )
    if gain.value > 0:
        return f"The gain in P is beyond noise: hardly any draw of videos would make {before} the better choice."
    return "P falls, beyond noise: what makes it fall is left out of the rule."


def _show_choice(tuning: "Tuning", members: "Sequence[StoredMember]") -> None:
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
    show_weights(members, tuning.rule)


def _show_knobs(tuning: "Tuning") -> None:
    """The knobs of calibration that were turned."""
    from abawkit.labels import ACTION_UNITS, DIMENSIONS, EXPRESSIONS

    c = tuning.rule.calibration
    rows = [
        (f"{name}: {what}", f"{value:.4f}")
        for i, name in enumerate(DIMENSIONS)
        for what, value, plain in (("scale", c.scale[i], 1.0), ("shift", c.shift[i], 0.0))
        if value != plain
    ]
    rows += [(f"{name}: bias", f"{value:+.2f}") for name, value in zip(EXPRESSIONS, c.bias, strict=True) if value]
    rows += [
        (f"{name}: threshold", f"{value:.2f}")
        for name, value in zip(ACTION_UNITS, c.threshold, strict=True)
        if value != 0.5
    ]
    if rows:
        show_table("Calibration, where it differs from none", ["", "value"], rows)

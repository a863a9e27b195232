"""An ablation from end to end: the networks, the rules fitted to them, and the rows of the table."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from abawkit.ablation.plan import BASE, Choices, read_base_recipe
from abawkit.ablation.report import Report, Row, make_report
from abawkit.ablation.statistics import Evaluator
from abawkit.ablation.steps import Networks, make_networks
from abawkit.ablation.workspace import describe_origin, open_folder, prepare_data
from abawkit.choices import Protocol
from abawkit.curation import open_curated
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.pipeline.step_cache import Step, StepCache
from abawkit.postprocessing.averaging import average_members
from abawkit.probabilities.members import (
    StoredMember,
    read_member,
    read_members,
    read_probabilities,
    write_probabilities,
)
from abawkit.system.files import write_json
from abawkit.system.provenance import digest_code
from abawkit.tables import Annotations, Predictions
from abawkit.tuning.cross_validation import Tuning, digest_truth
from abawkit.tuning.tune import calibrate, tune

Fit = Callable[[Sequence[StoredMember], Annotations, Protocol], Tuning]


def tune_thresholds(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """A threshold for each action unit."""
    return calibrate(members, truth, calibration=("au",), protocol=protocol)


def tune_calibration(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """Thresholds, a bias for each expression, a scale and a shift for valence and arousal."""
    return calibrate(members, truth, protocol=protocol)


def tune_smoothing(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """Smoothing of each task over a video."""
    return tune(members, truth, calibration=(), weights=False, pool=False, protocol=protocol)


def tune_everything(members: Sequence[StoredMember], truth: Annotations, protocol: Protocol) -> Tuning:
    """Smoothing and calibration; of several members also their weights and how they are pooled."""
    return tune(members, truth, protocol=protocol)


TITLES: Final = {
    BASE: "base",
    "strict": "strict, same epochs",
    "strict-steps": "strict, same steps",
    "no-attention-loss": "no attention loss",
    "consistency": "consistency loss",
    "frozen": "frozen backbone",
    "single-tasks": "a network per task",
}
"""Titles of the plan's variants in the table."""

DECISIONS: Final[dict[str, tuple[str, Fit]]] = {
    "thresholds": ("AU thresholds", tune_thresholds),
    "calibration": ("calibration", tune_calibration),
    "smoothing": ("smoothing", tune_smoothing),
    "smoothing-calibration": ("smoothing, calibration", tune_everything),
}
"""Titles of the rules that are fitted to the probabilities of each seed's base, and their fits."""


@dataclass(frozen=True)
class RuleFit:
    """The result of fitting a rule.

    Attributes:
        held_out: Predictions, those of each video by a rule that was fitted without it.
        in_sample: P of one rule that was fitted on all videos, on these same videos.
        evidence: What was fitted, for JSON.
    """

    held_out: Predictions
    in_sample: float
    evidence: dict[str, Any]


def fit_rule(
    fit: Fit, members: Sequence[StoredMember], truth: Annotations, protocol: Protocol, name: str, cache: StepCache
) -> RuleFit:
    """Fits a rule, or reads what the same fit by the same code has left.

    Args:
        fit: What is fitted.
        members: Stored probabilities.
        truth: The annotations of their rows.
        protocol: The protocol to fit for.
        name: Path of the held-out predictions within ``fitted/PROTOCOL``, without ``.npz``; a ``.json`` lies beside.
        cache: Which steps are done.

    Raises:
        DataError: If the members' rows are not those of the truth, or there are too few videos.
    """
    path = cache.root / "fitted" / protocol / f"{name}.npz"
    made_of = {
        "code": digest_code(),
        "fit": fit.__name__,
        "members": sorted(member.digest for member in members),
        "truth": digest_truth(truth),
        "protocol": protocol,
    }
    step = Step(f"fit {protocol} {name}", made_of, [path, path.with_suffix(".json")])
    if not cache.is_done(step):
        tuning = fit(members, truth, protocol)
        path.parent.mkdir(parents=True, exist_ok=True)
        with cache.run(step):
            write_probabilities(path, tuning.held_out)
            content = {"in_sample": tuning.in_sample["score"], "evidence": tuning.evidence()}
            write_json(path.with_suffix(".json"), content)
    content = json.loads(path.with_suffix(".json").read_bytes())
    return RuleFit(read_probabilities(path), content["in_sample"], content["evidence"])


class RowMaker:
    """Makes the rows of the table.

    Args:
        networks: The trained networks and their probabilities.
        protocol: The protocol that rules are fitted for.
        say: Called with a line for each row that takes long.
    """

    def __init__(self, networks: Networks, protocol: Protocol, say: Callable[[str], None]) -> None:
        curated = open_curated(networks.folder.curated("per-task"))
        self.networks, self.protocol, self.say = networks, protocol, say
        self.truth: Annotations = curated.splits["validation"].annotations
        self.seeds = sorted({seed for seed, _ in networks.probabilities})
        self.base = read_members([networks.probabilities[seed, BASE] for seed in self.seeds])
        self.evaluator = Evaluator(self.truth, [member.predictions.decide() for member in self.base])

    def make_rows(self) -> list[Row]:
        """All rows, the base first."""
        rows = [Row(BASE, TITLES[BASE], self.evaluator.score_base(), self.seeds)]
        for name, title in TITLES.items():
            if name != BASE:
                paths = [self.networks.probabilities[seed, name] for seed in self.seeds]
                decisions = [read_member(path).predictions.decide() for path in paths]
                rows.append(Row(name, title, self.evaluator.score(decisions), self.seeds))
        for name, (title, fit) in DECISIONS.items():
            self.say(f"fitting: {title}")
            fits = [self._fit(fit, [m], f"seed{s}/{name}") for s, m in zip(self.seeds, self.base, strict=True)]
            rows.append(self._make_fitted_row(name, title, fits))
        if len(self.base) > 1:
            count = f"ensemble of {len(self.base)}"
            mean = average_members(self.base).decide()
            rows.append(Row("ensemble", count, self.evaluator.score([mean]), self.seeds))
            self.say(f"fitting: {count}")
            fits = [self._fit(tune_everything, self.base, "ensemble")]
            rows.append(self._make_fitted_row("ensemble-tuned", f"{count}, all fitted", fits))
        return rows

    def _fit(self, fit: Fit, members: Sequence[StoredMember], name: str) -> RuleFit:
        return fit_rule(fit, members, self.truth, self.protocol, name, self.networks.folder.cache)

    def _make_fitted_row(self, name: str, title: str, fits: Sequence[RuleFit]) -> Row:
        scores = self.evaluator.score([fit.held_out.decide() for fit in fits])
        provenance = {"fits": [fit.evidence for fit in fits]}
        return Row(name, title, scores, self.seeds, True, [fit.in_sample for fit in fits], provenance)


def ablate(choices: Choices, out: Path, options: ExecutionOptions, *, protocol: Protocol = "official") -> Report:
    """Trains, predicts, fits and scores all variants, and writes the table; steps that are done are not run again.

    Args:
        choices: What is compared.
        out: Folder for everything; an ablation that was begun there with the same release and weights continues.
        options: How steps are run.
        protocol: The protocol of the main scores, and the one that rules are fitted for.

    Raises:
        ConfigError: If the recipe has nothing to compare, or the folder holds something else.
        DataError: If the release is damaged, lacks labels of a task, or has too few annotated videos.
        StepError: If a step fails; what was done is kept.
    """
    read_base_recipe(choices)  # an error in it is found before anything is rendered
    folder = open_folder(out, describe_origin(choices.release, choices.size, choices.weights))
    networks = make_networks(choices, prepare_data(folder, choices, options), folder, options)
    rows = RowMaker(networks, protocol, options.say)
    videos = rows.evaluator.count_videos(protocol)
    report = make_report(rows.make_rows(), networks, choices, protocol, videos)
    report.write(out)
    return report

"""An ablation from end to end, and the rows of its table; a second call does only what is missing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from abawkit.ablation.fits import Fit, Fitted, calibration, everything, fit_variant, smoothing, thresholds
from abawkit.ablation.networks import Choices, Networks, make_networks
from abawkit.ablation.plan import BASE
from abawkit.ablation.report import Report, Row, report
from abawkit.ablation.statistics import Evaluator
from abawkit.ablation.steps import ExecutionOptions
from abawkit.choices import Protocol
from abawkit.curation import open_curated
from abawkit.postprocessing.averaging import average_members
from abawkit.probabilities.members import StoredMember, read_member, read_members
from abawkit.tables import Annotations, Submission

TITLES: Final = {
    BASE: "base",
    "strict": "strict, same epochs",
    "strict-steps": "strict, same steps",
    "no-attention-loss": "no attention loss",
    "consistency": "consistency loss",
    "frozen": "frozen backbone",
    "single-tasks": "a network a task",
}
"""What the variants of the plan are called."""

DECISIONS: Final[dict[str, tuple[str, Fit]]] = {
    "thresholds": ("AU thresholds", thresholds),
    "calibration": ("calibration", calibration),
    "smoothing": ("smoothing", smoothing),
    "smoothing-calibration": ("smoothing, calibration", everything),
}
"""What is done with the probabilities of each seed's base."""


class RowMaker:
    """Makes the rows.

    Args:
        networks: What the long part left.
        protocol: What rules are fitted for.
        say: Called with a line for each row that takes long.
    """

    def __init__(self, networks: Networks, protocol: Protocol, say: Callable[[str], None]) -> None:
        curated = open_curated(networks.folder.curated("per-task"))
        self.networks, self.protocol, self.say = networks, protocol, say
        self.truth: Annotations = curated.splits["validation"].annotations
        self.seeds = sorted({seed for seed, _ in networks.probabilities})
        self.base = read_members([networks.probabilities[seed, BASE] for seed in self.seeds])
        self.evaluator = Evaluator(self.truth, [member.predictions.decide() for member in self.base])

    def rows(self) -> list[Row]:
        """All rows, the base first."""
        rows = [Row(BASE, TITLES[BASE], self.evaluator.score_base(), self.seeds)]
        for name, title in TITLES.items():
            if name != BASE:
                decisions = [self._member(seed, name).predictions.decide() for seed in self.seeds]
                rows.append(Row(name, title, self.evaluator.score(decisions), self.seeds))
        for name, (title, fit) in DECISIONS.items():
            self.say(f"fitting: {title}")
            found = [self._fitted(fit, [m], f"seed{s}/{name}") for s, m in zip(self.seeds, self.base, strict=True)]
            rows.append(self._fitted_row(name, title, found))
        return [*rows, *self._ensemble()]

    def _ensemble(self) -> list[Row]:
        if len(self.base) < 2:
            return []
        count = f"ensemble of {len(self.base)}"
        mean = average_members(self.base).decide()
        self.say(f"fitting: {count}")
        tuned = self._fitted(everything, self.base, "ensemble")
        plain = Row("ensemble", count, self.evaluator.score([mean]), self.seeds)
        return [plain, self._fitted_row("ensemble-tuned", f"{count}, all fitted", [tuned])]

    def _fitted_row(self, name: str, title: str, found: Sequence[Fitted]) -> Row:
        decisions: list[Submission] = [one.held_out.decide() for one in found]
        in_sample = [one.in_sample for one in found]
        made = {"fits": [one.evidence for one in found]}
        return Row(name, title, self.evaluator.score(decisions), self.seeds, True, in_sample, made)

    def _fitted(self, fit: Fit, members: Sequence[StoredMember], name: str) -> Fitted:
        path: Path = self.networks.folder.root / "fitted" / self.protocol / f"{name}.npz"
        return fit_variant(fit, members, self.truth, self.protocol, path)

    def _member(self, seed: int, variant: str) -> StoredMember:
        return read_member(self.networks.probabilities[seed, variant])


def ablate(choices: Choices, out: Path, options: ExecutionOptions, *, protocol: Protocol = "official") -> Report:
    """Trains, predicts, fits and scores all variants, and writes the table.

    Args:
        choices: What is compared.
        out: Folder for everything; one that was begun with the same release and weights is taken up.
        options: How steps are run.
        protocol: The protocol of the main figures, and what knobs are fitted for.

    Raises:
        ConfigError: If the recipe has nothing to compare, or the folder holds something else.
        DataError: If the release is not what it must be, or has too few annotated videos.
        StepError: If a step fails; what was done is kept.
    """
    networks = make_networks(choices, out, options)
    bench = RowMaker(networks, protocol, options.say)
    videos = bench.evaluator.videos(protocol)
    result = report(bench.rows(), networks, choices, protocol, videos)
    result.write(out)
    return result

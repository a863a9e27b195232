"""What `abawkit tune` tries for a task, from the simplest on."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from abawkit.choices import Pooling
from abawkit.errors import format_count
from abawkit.postprocessing.smoothing import Smoothing

NO_SMOOTHING: Final = Smoothing()

SMOOTHINGS: Final = (
    NO_SMOOTHING,
    *(Smoothing("median", radius) for radius in (2, 5, 10)),
    *(
        Smoothing("gaussian", radius, scale)
        for radius, scale in ((5, 1e3), (10, 1e4), (10, 1e5), (25, 1e5), (50, 1e5), (50, 1e6))
    ),
)
"""How a task may be smoothed. Of two that do equally well the first is taken.

Source: Gaussian filters over frames, https://arxiv.org/abs/2407.13184; participants' code has scale 100000 with 10 rows
for valence and arousal and with 50 for expressions. The others lie around these; finer steps would fit the noise of 50
videos.
"""

CALIBRATED_SMOOTHINGS: Final = 3
"""Smoothings that calibration is tried with besides none: the best without calibration. A fit costs far more than a
smoothing, and calibration makes no frame less noisy: a smoothing that is poor without it is rarely the best with it."""


@dataclass(frozen=True)
class Candidate:
    """One way to make decisions for a task.

    Attributes:
        smoothing: How it is smoothed.
        calibrated: Whether its thresholds, biases, or scales and shifts are fitted.
        weighted: Whether the members' weights are fitted; else all count alike.
        pool: How the members are pooled.
    """

    smoothing: Smoothing = NO_SMOOTHING
    calibrated: bool = False
    weighted: bool = False
    pool: Pooling = "linear"


@dataclass(frozen=True)
class Tried:
    """A candidate and how it did.

    Attributes:
        candidate: What was tried.
        figure: The task's part of the score on the rows that were searched, cross-fitted where something was fitted.
    """

    candidate: Candidate
    figure: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self.candidate), "figure": self.figure}


def described(smoothing: Smoothing) -> str:
    """``none``, ``median, 5 rows`` or ``gaussian, 10 rows, scale 1e+05``."""
    if smoothing.kind == "none":
        return "none"
    scale = f", scale {smoothing.scale:g}" if smoothing.kind == "gaussian" else ""
    return f"{smoothing.kind}, {format_count(smoothing.radius, 'row')}{scale}"

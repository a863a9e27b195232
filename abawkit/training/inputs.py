"""What a run is made of, beside its recipe."""

from dataclasses import dataclass
from pathlib import Path

from abawkit.frames.paths import Frames


@dataclass(frozen=True)
class Inputs:
    """What a run is made of, beside its recipe.

    Attributes:
        data: Folder of the curated set.
        weights: Weights to start from: a file that abawkit wrote, the folder of a run, or published weights.
        frames: Folders of image files to read frames from, rather than from the packed store.
    """

    data: Path
    weights: Path | None = None
    frames: Frames | None = None


@dataclass(frozen=True)
class Resume:
    """How a run is continued.

    Attributes:
        allow_drift: Whether it may go on where versions, hardware, threads or the operator's implementation differ, so
            that the result is not the one of a run that was not interrupted.
    """

    allow_drift: bool = False

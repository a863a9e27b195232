"""What a run tells its caller while it goes on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from abawkit.training.batches import AugmentedFrames


@dataclass(frozen=True)
class StepInfo:
    """The progress of a run after a step.

    Attributes:
        stage: ``heads`` or ``all``.
        epoch: Epoch of the run, from 1.
        epochs: Epochs of the run.
        steps: Steps so far.
        total_steps: Steps of the whole run.
        done: Images so far.
        total: Images of the whole run.
        images_per_second: Over this epoch.
        learning_rate: Of the last step.
        losses: Of the last step.
    """

    stage: str
    epoch: int
    epochs: int
    steps: int
    total_steps: int
    done: int
    total: int
    images_per_second: float
    learning_rate: float
    losses: Mapping[str, float]


class Callbacks(NamedTuple):
    """Functions that a run calls in its first process.

    Attributes:
        on_step: Called after each step.
        on_epoch: Called with each line of ``metrics.jsonl``, which is written.
        on_batch: Called before the first step with some frames as the network sees them, if it sees frames.
        on_end: Called when the run has ended and its manifest was written.
    """

    on_step: Callable[[StepInfo], None] | None = None
    on_epoch: Callable[[dict[str, Any]], None] | None = None
    on_batch: Callable[[AugmentedFrames], None] | None = None
    on_end: Callable[[], None] | None = None

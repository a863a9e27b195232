"""How far a run has come, and everything beside weights that the next step depends on."""

import math
import random
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import torch

from abawkit.labels import Task
from abawkit.training.checkpoint import Position


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        position: Epoch, and batches of it that are done.
        steps: Steps of the run.
        done: Images seen by the run.
        sums: Each loss of the present epoch, summed over the images that count.
        counted: Images of the present epoch whose loss was finite.
        bad: Steps in a row without a finite loss; over epochs too, as an epoch can be short.
        epoch_seconds: Time spent on the present epoch's steps.
        seconds: Wall time of the run, over all its processes.
        spent: The same by activity; see `abawkit.training.goodput`.
        lost_steps: Steps that were repeated after a kill.
        trained: Tasks whose heads have had a gradient.
        best_epoch: Epoch of the best weights, from 1; 0 before there is one.
        best_score: Its selection score: the sum of the trained tasks' parts of the score under the recipe's protocol.
        scores: Its scores by protocol, as `Score.as_dict` gives them.
        stale: Epochs of the present stage since the best one.
        history: The lines of ``metrics.jsonl``.
        digests: Digest of the weights of each file that was written, by name.
        resumed: For each time that the run was continued and came to another checkpoint: from which one it went on, and
            what was other than before.
    """

    position: Position = field(default_factory=lambda: Position(0, 0))
    steps: int = 0
    done: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    bad: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    lost_steps: int = 0
    trained: list[Task] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -math.inf
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    stale: int = 0
    history: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    resumed: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint, whose keys are kept: ``place`` is the position, ``figure`` the best score."""
        content = asdict(self)
        del content["position"], content["best_score"]
        return {**content, "place": list(self.position), "figure": self.best_score}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """What `as_dict` gave."""
        content = dict(content)
        return cls(position=Position(*content.pop("place")), best_score=content.pop("figure"), **content)

    def end_epoch(self) -> None:
        """Moves on to the next epoch."""
        self.position = Position(self.position.epoch + 1, 0)
        self.sums, self.counted, self.epoch_seconds = {}, 0, 0.0


def capture_generators() -> dict[str, Any]:
    """The state of every generator of random numbers, as numbers and tensors.

    Nothing in abawkit draws from them after the weights; an operator from elsewhere may.
    """
    name, words, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global one, whoever uses it
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(np.asarray(words).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(state: dict[str, Any]) -> None:
    """Brings every generator into the state that `capture_generators` found it in."""
    random.setstate(state["python"])
    name, words, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, words.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])

"""Scores of a network on validation rows, under both protocols: over all rows at once, not averaged over batches."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch

from abawkit.choices import Protocol
from abawkit.errors import DataError, DataWarning, printable
from abawkit.labels import TASKS, Task
from abawkit.models.inference import classify_embeddings, infer, split_columns
from abawkit.models.network import DDAMFN
from abawkit.models.sequence import AnyNetwork, SequenceNetwork
from abawkit.models.sequence_windows import infer_sequence
from abawkit.scoring.score import PROTOCOLS, Score, score
from abawkit.tables import Array, Predictions, Submission
from abawkit.training.data import FramedRows, TrainingRows
from abawkit.training.distributed import ALONE, Distributed
from abawkit.training.embeddings import EmbeddedRows
from abawkit.training.sequence_data import SequenceRows

_PARTS: Final[dict[Task, str]] = {"va": "ccc_va", "expression": "expression_f1", "au": "au_f1"}

CHUNK: Final = 1024
"""Rows whose pixels are in memory at a time: 39 MB."""


def predict_rows(
    network: AnyNetwork,
    rows: TrainingRows,
    device: torch.device,
    *,
    processes: Distributed = ALONE,
    between: Callable[[], None] | None = None,
) -> Predictions:
    """The predictions of a network for every row; each process predicts a part of frames, and all get the whole.

    Args:
        network: On `device`.
        rows: The rows.
        device: Of the network.
        processes: Among which the rows are divided; all of them must call.
        between: Called after each chunk of rows; may raise an error to stop.

    Raises:
        DataError: If a prediction is not finite.
    """
    match network, rows:
        case DDAMFN(), FramedRows():
            answers = _predict_frames(network, rows, device, processes, between)
        case DDAMFN(), EmbeddedRows():
            answers = _predict_embeddings(network, rows, device)
        case SequenceNetwork(), SequenceRows():
            answers = _predict_sequences(network, rows, device, processes, between)
        case _:
            raise TypeError(f"{type(network).__name__} does not take {type(rows).__name__}")
    bad = np.flatnonzero(~np.isfinite(answers).all(axis=1))
    if len(bad):
        names = ", ".join(printable(name) for name in rows.annotations.images.take(bad[:10]).to_pylist())
        raise DataError(
            f"the network's answer is not finite for {len(bad):,} rows: {names}, ...\n"
            "lower the learning rate, or set optimizer.clip"
        )
    return Predictions(rows.annotations.images, *split_columns(answers))


def _predict_frames(
    network: DDAMFN,
    rows: FramedRows,
    device: torch.device,
    processes: Distributed,
    between: Callable[[], None] | None,
) -> Array:
    parts: list[Array] = []
    for start in range(0, len(rows), CHUNK * processes.world_size):
        block = np.arange(start, min(start + CHUNK * processes.world_size, len(rows)))
        own = infer(network, rows.pixels(processes.part(block)), device)
        joined = np.hstack(own)
        if processes.world_size > 1:
            mine = torch.from_numpy(joined).to(device)
            joined = processes.all_gather(mine, processes.sizes(len(block))).cpu().numpy()
        parts.append(joined)
        if between:
            between()
    return np.concatenate(parts)


def _predict_embeddings(network: DDAMFN, rows: EmbeddedRows, device: torch.device) -> Array:
    starts = range(0, len(rows), CHUNK)
    return np.concatenate(
        [np.hstack(classify_embeddings(network, rows.take(slice(i, i + CHUNK)), device)) for i in starts]
    )


def _predict_sequences(
    network: SequenceNetwork,
    rows: SequenceRows,
    device: torch.device,
    processes: Distributed,
    between: Callable[[], None] | None,
) -> Array:
    """The answers for all rows; each process computes all of them, and takes the first one's, so that none differs."""
    found = infer_sequence(network, rows.features, device, between=lambda _: between() if between else None)
    answers = torch.from_numpy(np.hstack(found)[rows.frames]).to(device)
    processes.broadcast([answers])
    return np.asarray(answers.cpu().numpy())


def evaluate(
    network: AnyNetwork,
    rows: TrainingRows,
    device: torch.device,
    *,
    tasks: Sequence[Task] = TASKS,
    processes: Distributed = ALONE,
    between: Callable[[], None] | None = None,
) -> dict[Protocol, Score]:
    """The scores of a network for `tasks` under every protocol that has rows; the rest is as in `predict_rows`."""
    decided = predict_rows(network, rows, device, processes=processes, between=between).decide()
    submission = Submission.of(decided.images, **{task: getattr(decided, task) for task in tasks})
    scores: dict[Protocol, Score] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # an untrained network predicts the same everywhere
        for protocol in PROTOCOLS:
            if protocol == "official" or rows.annotations.all_valid.any():
                scores[protocol] = score(rows.annotations, submission, protocol)
    return scores


def compute_selection_score(result: Score, tasks: Sequence[Task]) -> float:
    """The sum of the tasks' parts of a score; with all three it is P."""
    return float(sum(getattr(result, _PARTS[task]) for task in tasks))


def summarise_score(result: Score) -> dict[str, Any]:
    """The parts of a score for a line of metrics; None for tasks that are not scored."""
    content = result.report()
    return {key: content[key] for key in ("score", *_PARTS.values())}


def list_class_scores(result: Score) -> dict[str, dict[str, float] | None]:
    """F1 of each expression and action unit for a line of metrics; None for tasks that are not scored."""
    content = result.report()
    return {"expression": content["expression_f1_per_class"], "au": content["au_f1_per_unit"]}


def check_protocol(rows: TrainingRows, protocol: Protocol) -> None:
    """Refuses a protocol under which no validation row counts, before the first epoch.

    Raises:
        DataError: If none counts.
    """
    valid = rows.annotations.all_valid if protocol == "strict" else rows.annotations.any_valid
    if not valid.any():
        raise DataError(f"no validation row counts under the {protocol} protocol; set select to the other one")

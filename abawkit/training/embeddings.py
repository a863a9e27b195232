"""Embeddings: what a frozen network gives for each row, computed once for all epochs of the first stage, or before it.

The backbone of a first stage is in evaluation mode: its batch norms use running statistics, and there is no dropout.
What it gives for a frame therefore depends on the frame alone, and is the same in each epoch unless frames are
augmented.
"""

import math
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from abawkit.choices import InferencePrecision, Split
from abawkit.curation.curated_set import CuratedSet
from abawkit.errors import DataError
from abawkit.features.store import FeatureStore
from abawkit.labels import Task
from abawkit.models.inference import embed_frames
from abawkit.models.network import DDAMFN, Outputs
from abawkit.models.starting_weights import load_starting_weights
from abawkit.models.weights import digest_state
from abawkit.tables import Annotations, Array
from abawkit.training.data import FramedRows, collect_targets, select_training_rows
from abawkit.training.distributed import Distributed
from abawkit.training.losses import Targets
from abawkit.training.recipe import Recipe
from abawkit.training.sequence_data import select_rows_with_features

_ROWS_OF_A_PART = 1024
"""Rows that a process embeds at a time: 39 MB of pixels."""


@dataclass(frozen=True, eq=False)
class EmbeddedRows:
    """Rows of a split, each with its embedding.

    Attributes:
        annotations: The rows.
        rows: Row number of each in its source file, int64 (n,).
        values: Embeddings, (m, embedding), mapped from a temporary file without a name, or from a store of features.
        places: Of each row in `values`, int64 (n,).
    """

    annotations: Annotations
    rows: Array
    values: Array
    places: Array

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Array | slice) -> Array:
        """The embeddings of some rows, read into memory: float32, or float64 where they are of that type."""
        values = np.array(self.values[self.places[which]])
        return values.astype(np.float32) if values.dtype == np.float16 else values

    def targets(self, which: Array) -> Targets:
        """Annotations of some rows as tensors on the CPU."""
        return collect_targets(self.annotations, which)


class HeadsAlone(nn.Module):
    """The heads of a network, for embeddings in place of images."""

    def __init__(self, network: DDAMFN) -> None:
        super().__init__()
        self.heads = network.heads
        self._classify: Callable[[Tensor], Outputs] = network.classify

    def forward(self, embeddings: Tensor, *, gates: bool = False) -> Outputs:  # noqa: ARG002 - as DDAMFN's
        """Estimates all three tasks for embeddings (N, D)."""
        return self._classify(embeddings)


def stores_embeddings(recipe: Recipe) -> bool:
    """Whether the heads of a first stage are trained on stored embeddings; of one epoch, that would gain nothing."""
    frozen = recipe.heads.epochs > 1 and not recipe.is_sequence
    return frozen and not recipe.find_augmentation(recipe.heads).varies


def describe_first_stage(recipe: Recipe, *, stored: bool = False) -> str:
    """What a first stage passes through the frozen network; empty where there is none, or no frame.

    Args:
        recipe: The recipe.
        stored: Whether the embeddings are read from a store of features.
    """
    if recipe.is_sequence or not recipe.heads.epochs:
        return ""
    if stored:
        return "stored features: no frame passes the frozen network"
    if stores_embeddings(recipe):
        return f"each frame passes the frozen network once, for all {recipe.heads.epochs} epochs"
    if recipe.heads.epochs == 1:
        return "one epoch: each frame passes the frozen network once"
    return (
        f"frames are augmented: each of {recipe.heads.epochs} epochs passes them through the frozen network; "
        "--set heads.augment=false passes each once"
    )


def embed_rows(
    network: DDAMFN,
    rows: FramedRows,
    device: torch.device,
    precision: InferencePrecision,
    *,
    processes: Distributed,
    between: Callable[[], None] | None = None,
) -> EmbeddedRows:
    """The embeddings of all rows; each process computes a part, and all get the whole.

    They are kept in a temporary file that has no name: it is gone with the process, however that ends.

    Args:
        network: On `device`; is put into evaluation mode.
        rows: The rows.
        device: Of the network.
        precision: As of `abawkit.models.inference.infer`.
        processes: Among which the rows are divided; all of them must call.
        between: Called after each chunk of rows; may raise an error to stop.

    Raises:
        DataError: If a frame can't be read, or there is no room for the file.
    """
    size, shape = _ROWS_OF_A_PART * processes.world_size, (len(rows), network.config.embedding)
    with tempfile.TemporaryFile(prefix="abawkit-") as file:
        for start in range(0, len(rows), size):
            block = np.arange(start, min(start + size, len(rows)))
            found = embed_frames(network, rows.pixels(processes.part(block)), device, precision)
            if processes.world_size > 1:
                own = torch.from_numpy(found).to(device)
                found = processes.all_gather(own, processes.sizes(len(block))).cpu().numpy()
            try:
                file.write(found.data)
                file.flush()
            except OSError as error:
                needed = math.prod(shape) * found.itemsize / 1e6
                raise DataError(
                    f"{tempfile.gettempdir()}: can't store the frozen network's embeddings there, {needed:,.0f} MB "
                    f"({error.strerror}); make room, or set TMPDIR to a folder that has it"
                ) from error
            if between:
                between()
        values = np.memmap(file, found.dtype, mode="r", shape=shape)
    return EmbeddedRows(rows.annotations, rows.rows, values, np.arange(len(rows)))


def find_embedded_rows(annotations: Annotations, rows: Array, store: FeatureStore) -> EmbeddedRows:
    """Rows with their embeddings from a store of features.

    Args:
        annotations: The rows.
        rows: Row number of each in its source file, int64 (n,).
        store: The features.

    Raises:
        DataError: If the store lacks a row.
    """
    return EmbeddedRows(annotations, rows, store.values, store.select(annotations.images))


def read_training_embeddings(curated: CuratedSet, tasks: Sequence[Task], store: FeatureStore) -> EmbeddedRows:
    """The rows that the policy keeps and that are annotated for one of the tasks, with stored features.

    Args:
        curated: The curated set, which may hold labels only.
        tasks: The tasks to train.
        store: The features.

    Raises:
        DataError: If there are no rows, or the store lacks one.
    """
    return _read_embeddings(curated, "train", select_training_rows(curated, tasks), store)


def read_evaluation_embeddings(curated: CuratedSet, split: Split, store: FeatureStore) -> EmbeddedRows:
    """Every row of a split that has a frame or features; arguments and errors as in `read_training_embeddings`."""
    return _read_embeddings(curated, split, np.ones(len(curated.splits[split].rows), dtype=bool), store)


def _read_embeddings(curated: CuratedSet, name: Split, chosen: Array, store: FeatureStore) -> EmbeddedRows:
    split = curated.splits[name]
    which = select_rows_with_features(curated, name, chosen, [store])
    return find_embedded_rows(split.annotations.select(which), split.rows[which], store)


def check_embeddings(store: FeatureStore, weights: Path) -> None:
    """Refuses features that are not what the network with these weights gives for a frame.

    Args:
        store: The features.
        weights: As of `load_starting_weights`.

    Raises:
        DataError: If the features are those of another network or of other weights.
    """
    source = store.manifest.source
    if source.get("kind") == "network" and source.get("digest") == digest_state(load_starting_weights(weights).state):
        return
    raise DataError(
        f"{store.folder}: holds other features than those of the frozen network with the weights {weights}; extract "
        f"them: `abawkit features {shlex.quote(str(weights))} --data CURATED --dtype float32 --out FEATURES`"
    )

"""The answers of sequence networks: features of the listed frames from stores, video by video."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from abawkit.choices import Missing
from abawkit.errors import ConfigError, DataError, format_count
from abawkit.features.store import FeatureStore
from abawkit.frames.decode import FRAME_SIZE
from abawkit.models.inference import Probabilities
from abawkit.models.sequence import SequenceNetwork
from abawkit.models.sequence_config import FeatureInput
from abawkit.models.sequence_windows import infer_sequence
from abawkit.prediction.networks import Member, make_zeros
from abawkit.prediction.sources import PixelChunk
from abawkit.tables import Array
from abawkit.training.sequence_data import FrameFeatures, describe_input, describe_stores, open_stores


def answer_from_features(
    members: Sequence[Member],
    folders: Sequence[Path],
    images: pa.StringArray,
    missing: Missing,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Member], Array, list[dict[str, str]]]:
    """Runs the sequence networks among the members of an ensemble.

    Args:
        members: All members.
        folders: Stores of features; each network takes those of its training's sources, in any order.
        images: The listed frames, n of them.
        missing: ``refuse`` frames without features, or leave them to their ``neighbour``.
        device: Where the members are.
        progress: Called with the number of rows that a network has answered, and of all rows.

    Returns:
        All members, those that are sequence networks with their answers; a mask of the rows that have them, bool (n,);
        and the stores for the manifest.

    Raises:
        ConfigError: If there are sequence networks and no stores, or the other way round.
        DataError: If a store is absent or damaged, a network was trained on other features, or frames have none.
    """
    present = np.ones(len(images), dtype=bool)
    sequential = [member for member in members if isinstance(member.network, SequenceNetwork)]
    if sequential and not folders:
        raise ConfigError(
            f"{sequential[0].path}: is a sequence network: give the features of the frames with --features"
        )
    if folders and not sequential:
        raise ConfigError("--features: none of these networks reads features; leave it out")
    if not sequential:
        return list(members), present, []
    stores = open_stores(folders)
    if missing == "neighbour":
        for store in stores:
            present &= pc.is_in(images, value_set=store.images).to_numpy(zero_copy_only=False)
        if len(images) and not present.any():
            raise DataError(f"{stores[0].folder}: has features of none of the {len(images):,} listed frames")
    answered = []
    for member in members:
        if isinstance(member.network, SequenceNetwork):
            chosen = choose_stores(member.network.config.inputs, stores, member.path)
            answers = _answer(member.path, member.network, chosen, images, present, device, progress)
            answered.append(replace(member, answers=answers))
        else:
            answered.append(member)
    return answered, present, describe_stores(stores)


def _answer(
    path: Path,
    network: SequenceNetwork,
    stores: Sequence[FeatureStore],
    images: pa.StringArray,
    present: Array,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Probabilities:
    features, frames = FrameFeatures.find(stores, images.filter(pa.array(present)))
    total = len(features.numbers)
    found = infer_sequence(network, features, device, between=lambda done: progress(done, total) if progress else None)
    bad = sum(int((~np.isfinite(column)).any(axis=1).sum()) for column in found)
    if bad:
        count = format_count(bad, "frame")
        raise DataError(f"{path}: the network's answer is not finite for {count}: their features are too large")
    result = make_zeros(len(images))
    for column, values in zip(result, found, strict=True):
        column[present] = values[frames]
    return result


def choose_stores(inputs: Sequence[FeatureInput], stores: Sequence[FeatureStore], path: Path) -> list[FeatureStore]:
    """The stores of a network's inputs: of the same source and dimension; of an unknown source in the given order.

    Args:
        inputs: What the network was trained on.
        stores: Those that are there.
        path: The network's file, for the message.

    Raises:
        DataError: If one is not there.
    """
    left = list(stores)
    chosen = []
    for number, wanted in enumerate(inputs, start=1):
        found = next((store for store in left if describe_input(store.manifest) == wanted), None)
        if found is None:
            have = "; ".join(f"{store.folder}: {_format_input(describe_input(store.manifest))}" for store in stores)
            text = f"{path}: input {number} of this network is {_format_input(wanted)}, and the --features are {have}; "
            if len(stores) < len(inputs):
                raise DataError(f"{text}it was trained on {len(inputs)} stores: give --features for each of them")
            raise DataError(f"{text}extract the features with what the network was trained on")
        left.remove(found)
        chosen.append(found)
    return chosen


def _format_input(features: FeatureInput) -> str:
    source = f"the source {features.source[:12]}" if features.source else "an unknown source"
    return f"{features.dimension:,} numbers of {source}"


def select_chunks(chunks: Iterator[PixelChunk], present: Array) -> Iterator[PixelChunk]:
    """The rows of chunks that have features too."""
    for rows, pixels in chunks:
        kept = present[rows]
        yield PixelChunk(rows, pixels) if kept.all() else PixelChunk(rows[kept], pixels[kept])


def make_empty_chunk(present: Array) -> Iterator[PixelChunk]:
    """One chunk of all rows that have features, without pixels."""
    yield PixelChunk(np.flatnonzero(present), np.zeros((0, FRAME_SIZE, FRAME_SIZE, 3), np.uint8))

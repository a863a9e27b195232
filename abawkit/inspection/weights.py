"""Inspects files of weights: those that abawkit wrote, and published ones."""

from pathlib import Path
from typing import Final

from abawkit.errors import DataError
from abawkit.inspection.report import Inspection
from abawkit.models.config import name_network
from abawkit.models.network import ATTENTION, HEADS
from abawkit.models.published import import_published
from abawkit.models.sequence_config import SequenceConfig, name_any_network
from abawkit.models.weights import AnyWeights, digest_state, load_any_weights
from abawkit.system.files import sha256_of

_STATISTICS: Final = ("running_mean", "running_var", "num_batches_tracked", "normalise.mean", "normalise.deviation")


def inspect_weights(path: Path) -> Inspection:
    """Inspects a file of weights that abawkit wrote; a damaged one is a problem, not an error."""
    found = Inspection(path, "weights", "weights that can't be used")
    found.note("bytes", path.stat().st_size)
    found.digests["file"] = sha256_of(path)
    try:
        weights = load_any_weights(path, heads_optional=True)
    except DataError as error:
        found.problems.append(str(error))
        return found
    count = count_parameters(weights)
    heads = any(key.startswith(HEADS) for key in weights.state)
    noted = dict(weights.metadata)
    tasks = [task for task in noted.pop("tasks", "").split(",") if task]
    found.note("network", name_any_network(weights.config))
    if isinstance(weights.config, SequenceConfig):
        found.note("features", [each._asdict() for each in weights.config.inputs])
    found.note("parameters", count)
    found.note("numbers", sorted({str(t.dtype).removeprefix("torch.") for t in weights.state.values()}))
    found.note("heads", heads)
    found.note("tasks", tasks or None)
    if (epoch := noted.get("epoch", "")).isdecimal() and len(epoch) < 10:
        found.note("epoch", int(noted.pop("epoch")))
    for name, value in noted.items():
        found.note(name, value)
    found.digests["weights"] = digest_state(weights.state)
    attention = any(key.startswith(ATTENTION) for key in weights.state)
    without = ", without heads" if attention else ", its backbone alone: without attention and heads"
    trained = f", trained for {', '.join(tasks)}" if tasks else "" if heads else without
    found.summary = f"weights of {name_any_network(weights.config)}, {count:,} parameters{trained}"
    return found


def inspect_published(path: Path) -> Inspection:
    """Inspects published weights.

    Raises:
        DataError: If they are not those of DDAMFN, or contain objects that can only be loaded by running code.
    """
    imported = import_published(path)
    what = "the backbone of DDAMFN" if imported.backbone else "DDAMFN"
    found = Inspection(path, "published weights", f"published weights of {what}; import them before they are used")
    found.note("bytes", path.stat().st_size)
    found.note("network", "backbone of ddamfn" if imported.backbone else name_network(imported.config))
    found.note("key", imported.key or None)
    found.note("left_out", imported.others or None)
    found.note("tensors", len(imported.state))
    found.note("unused_tensors", len(imported.dropped))
    found.note("classes", imported.classes)
    found.note("next", f"abawkit import-weights {path} --out {path.with_suffix('.safetensors')}")
    found.digests["file"] = imported.digest
    return found


def digest_weights(path: Path) -> str:
    """Digest of the weights in a file, as manifests of `predict` and `train` record it.

    Raises:
        DataError: If the file is not one of weights.
    """
    return digest_state(load_any_weights(path, heads_optional=True).state)


def count_parameters(weights: AnyWeights) -> int:
    """Number of learned parameters, without statistics of rows."""
    return sum(tensor.numel() for name, tensor in weights.state.items() if not name.endswith(_STATISTICS))

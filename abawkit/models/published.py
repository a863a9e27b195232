"""Import of published DDAMFN weights (`.pth`), without running a line of the code that such a file can carry."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from abawkit.errors import DataError, printable
from abawkit.files import sha256_of
from abawkit.models.config import NETWORKS
from abawkit.models.published_keys import CLASSIFIER, UNUSED, sources
from abawkit.models.weights import differences, listed, save_weights

AFFECTNET_EXPRESSIONS: Final = (
    "Neutral",
    "Happiness",
    "Sadness",
    "Surprise",
    "Fear",
    "Disgust",
    "Anger",
    "Contempt",
)
"""Class order of an 8-class AffectNet classifier, which is not that of `labels.EXPRESSIONS`.

Source: Mollahosseini et al., https://arxiv.org/abs/1708.03985, and the labels of its release.
"""

CLASSES: Final = (7, 8, 10)
"""Sizes of the expression classifiers in published weights."""

_BIAS = f"{CLASSIFIER}bias"


@dataclass(frozen=True)
class ImportedWeights:
    """Published weights under the names of this package.

    Attributes:
        state: State dict of the network `ddamfn` without its three heads, float32.
        classifier: `weight` (classes, 512) and `bias` (classes) of the published expression classifier; empty where
            the file has none. Its classes are those of another data set (`AFFECTNET_EXPRESSIONS` where it has eight),
            so it is kept apart and never becomes this package's expression head.
        classes: How many classes that classifier has; 0 where the file has none.
        dropped: Keys of the file that no forward pass uses.
        digest: SHA-256 of the file.
    """

    state: dict[str, Tensor]
    classifier: dict[str, Tensor]
    classes: int
    dropped: list[str]
    digest: str


def import_published(path: Path) -> ImportedWeights:
    """Reads published weights: a `.pth` with `model_state_dict`, or a state dict alone.

    Keys may begin with `module.`, as those of networks that were trained on several GPUs do.

    Args:
        path: The file, as `torch.save` wrote it.

    Raises:
        DataError: If the file is absent or damaged; holds anything that only code could load; or its keys, shapes or
            values are not those of DDAMFN. Keys are named.
    """
    state = _state(path, _load(path))
    table = sources()
    expected = {key: source.shape for source in table.values() for key in source.keys}
    classes = state[_BIAS].numel() if _BIAS in state else 0
    if any(key.startswith(CLASSIFIER) for key in state):
        expected |= {f"{CLASSIFIER}weight": (classes, NETWORKS["ddamfn"].embedding), _BIAS: (classes,)}
    dropped = [key for key in state if UNUSED.fullmatch(key)]
    problems = differences(expected, {key: state[key] for key in state.keys() - set(dropped)})
    if classes not in (0, *CLASSES):
        problems.append(f"{CLASSIFIER}*: {classes} classes, expected one of {CLASSES}")
    if not problems:
        state = {key: state[key].float() if state[key].is_floating_point() else state[key] for key in expected}
        problems = [f"{key}: holds NaN or infinity" for key in expected if not state[key].isfinite().all()]
    if problems:
        raise DataError(
            f"{path}: these are not weights of DDAMFN, {len(problems)} differences:\n{listed(problems)}\n"
            "give weights of DDAMFN with two attention heads, as its authors publish them"
        )
    return ImportedWeights(
        state={key: source.join(state) for key, source in table.items()},
        classifier={key.removeprefix(CLASSIFIER): state[key] for key in expected if key.startswith(CLASSIFIER)},
        classes=classes,
        dropped=dropped,
        digest=sha256_of(path),
    )


def save_imported(imported: ImportedWeights, out: Path) -> None:
    """Writes imported weights, without their expression classifier, as `weights.load_weights` reads them.

    The metadata holds `source` (the digest of the published file) and `source_classes`. An existing file is replaced.

    Args:
        imported: What `import_published` returned.
        out: The safetensors file to write.
    """
    notes = {"source": f"sha256:{imported.digest}", "source_classes": str(imported.classes)}
    save_weights(out, NETWORKS["ddamfn"], imported.state, notes)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file; give published weights of DDAMFN (.pth)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice about formats, which a user can't act on
            with path.open("rb") as file:  # not by its name, which need not be UTF-8
                return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can end in any of Python's exceptions
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise DataError(
                f"{path}: refused: it holds more than tensors, a '{wanted[1]}', which loads only by running code that "
                "the file names. Nothing was run; ask whoever made it for its state dict alone"
            ) from error
        raise DataError(
            f"{path}: truncated, damaged, or not written by torch.save ({type(error).__name__}); copy it again"
        ) from error


def _state(path: Path, content: Any) -> dict[str, Tensor]:
    state = content.get("model_state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise DataError(f"{path}: holds no state dict; expected one, alone or as 'model_state_dict'")
    for key, value in state.items():
        plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type == "cpu"
        if not isinstance(key, str) or not plain:
            raise DataError(
                f"{path}: {printable(repr(key))} is a {type(value).__name__}, expected a dense tensor; "
                "give a state dict, alone or as 'model_state_dict'"
            )
    prefix = "module." if all(key.startswith("module.") for key in state) else ""
    return {key.removeprefix(prefix): value for key, value in state.items()}

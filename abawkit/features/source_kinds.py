"""The kinds of sources of features, told apart without torch."""

from pathlib import Path
from typing import Final, Literal

from abawkit.errors import DataError, printable
from abawkit.execution import list_registered
from abawkit.features.onnx_description import ONNX_SUFFIX

EXTRACTOR_GROUP: Final = "abawkit.features"
"""Entry points of extractors; other packages add to it."""

SourceKind = Literal["network", "onnx", "extractor"]
"""A run or a file of weights; an ONNX file; an extractor that an installed package registers."""


def find_source_kind(source: Path) -> SourceKind:
    """The kind of a source: of a path that exists, else of the name of an installed extractor.

    Raises:
        DataError: If it is neither.
    """
    if source.exists():
        return "onnx" if source.suffix.lower() == ONNX_SUFFIX and source.is_file() else "network"
    names = list_registered(EXTRACTOR_GROUP)
    if str(source) in names:
        return "extractor"
    others = f", or the name of an installed extractor: {printable(', '.join(names))}" if names else ""
    raise DataError(f"{source}: no such file or folder; give a run's folder, a file of weights or an ONNX file{others}")

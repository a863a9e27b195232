"""Inspects stored features: what they are of, what computed them, and whether they are whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from abawkit.errors import DataError, format_count
from abawkit.features.store import FeatureStore
from abawkit.inspection.report import Inspection, explain_missing_torch
from abawkit.system.files import sha256_of


def inspect_features(folder: Path, *, verify: bool = True) -> Inspection:
    """Inspects a store of features; a damaged one is a problem, not an error.

    Args:
        folder: Its folder.
        verify: Whether all features are read; otherwise only the manifest, the names and the form of the arrays.
    """
    found = Inspection(folder, "features", "features that can't be used")
    try:
        store = FeatureStore.open(folder)
    except DataError as error:
        found.problems.append(str(error))
        return found
    if verify:
        try:
            store.verify()
        except DataError as error:
            found.problems.append(str(error))
    m = store.manifest
    found.note("rows", m.rows)
    found.note("images", len(store.images.unique()))
    found.note("dimension", m.dimension)
    found.note("numbers", m.dtype)
    found.note("mirrored", m.mirrored)
    found.note("bytes", store.values.nbytes * (2 if m.mirrored else 1))
    found.note("read_through", verify)
    found.note("source", _compare_extractor(found, m.source))
    for name in ("frames", "preprocessing", "versions"):
        found.note(name, getattr(m, name))
    found.digests["names"] = m.names_sha256
    found.digests["features"] = m.features_sha256 or ""
    if m.mirrored_sha256:
        found.digests["mirrored"] = m.mirrored_sha256
    found.digests["store"] = store.digest
    name = m.source.get("name") or Path(str(m.source.get("path", "an unknown source"))).name
    rows = format_count(m.rows, "row")
    found.summary = f"features of {rows}, {format_count(m.dimension, 'number')} each ({m.dtype}), from {name}"
    return found


def _compare_extractor(found: Inspection, source: dict[str, Any]) -> dict[str, Any]:
    """The source, and whether its file is unchanged where it was."""
    path, digest, weights = source.get("path"), source.get("sha256"), source.get("digest")
    compute: Callable[[Path], str] = sha256_of
    if isinstance(weights, str) and not explain_missing_torch():
        from abawkit.inspection.weights import digest_weights

        digest, compute = weights, digest_weights
    if not isinstance(path, str) or not isinstance(digest, str):
        return source
    return {**source, "state": found.compare("the source of the features", Path(path), digest, compute)}

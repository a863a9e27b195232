"""Extractors that installed packages add: found by name, checked before they run."""

import inspect
import math
import sys
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from abawkit.errors import ConfigError, printable
from abawkit.features.extractors import FeatureExtractor, FeatureSource
from abawkit.features.source_kinds import EXTRACTOR_GROUP
from abawkit.system.files import sha256_of

_MAX_SIZE: Final = 1024
_MAX_DIMENSION: Final = 1 << 20


def load_installed_source(name: str) -> FeatureSource:
    """Loads an extractor that an installed package registers in `EXTRACTOR_GROUP`.

    Args:
        name: The name under which it is registered.

    Raises:
        ConfigError: If two packages have it, it can't be loaded, or it is no `FeatureExtractor`.
    """
    found = list(entry_points(group=EXTRACTOR_GROUP, name=name))
    if len({entry.value for entry in found}) != 1:
        owners = ", ".join(sorted(f"{entry.value} ({_format_owner(entry)})" for entry in found)) or "no package"
        raise ConfigError(f"{printable(name)}: offered by {owners}, expected one package; uninstall all others")
    entry = found[0]
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no result
            extractor: FeatureExtractor = entry.load()()
            defect = _find_defect(extractor)
            digest = _digest_class(type(extractor))
    except (Exception, SystemExit) as error:  # importing another's package raises anything, or ends the program
        reason = f"it exits ({error})" if isinstance(error, SystemExit) else f"{error}"
        raise ConfigError(f"{printable(name)}: {entry.value} can't be loaded: {printable(reason)}") from error
    if defect:
        raise ConfigError(f"{printable(name)}: {entry.value} is no extractor of features, {defect}")
    description = {"kind": "extractor", "name": name, "package": _format_owner(entry), "class": entry.value}
    return FeatureSource(extractor, {**description, **digest}, {})


def _find_defect(extractor: Any) -> str:
    """What keeps an object from being an extractor; empty where nothing does."""
    absent = [part for part in FeatureExtractor.__annotations__ if not hasattr(extractor, part)]
    absent += [] if callable(getattr(extractor, "extract", None)) else ["extract"]
    if absent:
        return f"it has no {', '.join(absent)}"
    for part, most in (("dimension", _MAX_DIMENSION), ("size", _MAX_SIZE)):
        value = getattr(extractor, part)
        if type(value) is not int or not 1 <= value <= most:
            return f"its {part} is {printable(f'{value!r:.60}')}, expected a whole number, 1..{most}"
    for part, low in (("mean", -math.inf), ("deviation", 0.0)):
        value = getattr(extractor, part)
        if len(value) != 3 or not all(math.isfinite(number) and number > low for number in value):
            bound = ", each above 0" if part == "deviation" else ""
            return f"its {part} is {printable(f'{value!r:.60}')}, expected three numbers{bound}"
    return ""


def _digest_class(kind: type) -> dict[str, str]:
    """The digest of the file that defines a class, so that features of another version are not continued."""
    try:
        return {"code_sha256": sha256_of(Path(inspect.getfile(kind)))}
    except (OSError, TypeError):
        return {}


def _format_owner(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"

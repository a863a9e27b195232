"""Files that come with abawkit and are not Python: native sources and submissions.

In a checkout they stand in its root; a wheel holds copies of them in `FOLDER`. Needs the standard library alone, as
`setup.py` imports it too.
"""

import shutil
from pathlib import Path
from typing import Final

from abawkit.errors import ConfigError

PACKAGE: Final = Path(__file__).parents[1]

FOLDER: Final = PACKAGE / "shipped"
"""Where a wheel has its copies; absent in a checkout."""

SUBMISSIONS: Final = "submissions"
NATIVE: Final = ("CMakeLists.txt", "csrc/binding", "csrc/kernels")

_WRITTEN: Final = ("outputs", "manifest.json", "ledger.jsonl", "lock", ".*", "__pycache__")
"""What commands write beside the files of a submission; none of it is shipped."""


def find_shipped_root() -> Path:
    """The folder that holds all of them: of the wheel, or the root of the checkout."""
    return FOLDER if FOLDER.is_dir() else PACKAGE.parent


def find_shipped(name: str) -> Path:
    """A file or folder that comes with abawkit.

    Args:
        name: Its path in a checkout: ``submissions``, ``csrc/kernels``.

    Raises:
        ConfigError: If it is absent from this installation.
    """
    path = find_shipped_root() / name
    if not path.exists():
        raise ConfigError(f"{path}: does not exist, so abawkit is not installed completely; install it again with pip")
    return path


def copy_shipped(root: Path, target: Path) -> list[Path]:
    """Copies everything from a checkout, for a wheel.

    Args:
        root: Of the checkout.
        target: The folder that becomes `FOLDER` of the wheel; what it held is removed.

    Returns:
        The files that were written.
    """
    shutil.rmtree(target, ignore_errors=True)
    for name in (*NATIVE, SUBMISSIONS):
        source, copy = root / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*_WRITTEN))
        else:
            shutil.copyfile(source, copy)
    return sorted(path for path in target.rglob("*") if path.is_file())

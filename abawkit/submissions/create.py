"""Creates the folder of a submission from one that comes with abawkit, or from another one of the user."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from abawkit.errors import ConfigError, printable
from abawkit.submissions.recipe import RECIPE, read_submission_recipe
from abawkit.system.shipped import SUBMISSIONS, find_shipped

IGNORED: Final = "# what `abawkit submit` writes\n/outputs/\n/manifest.json\n"

_NOTES: Final = "README.md"
_RELATIVE_LINK: Final = re.compile(r"!?\[([^\]]*)\]\((?![a-z][a-z0-9+.-]*:|#)[^)]*\)")


def list_shipped() -> dict[str, Path]:
    """Folders of the submissions that come with abawkit, by name."""
    return {path.parent.name: path.parent for path in sorted(find_shipped(SUBMISSIONS).glob(f"*/{RECIPE}"))}


def create_submission(target: Path, source: str) -> Path:
    """Creates the folder of a submission: recipe, notes, and a list of what git ignores.

    Args:
        target: The folder to create; folders above it are created too.
        source: Name of a submission that comes with abawkit, or path of a submission's folder. Its TOML files and notes
            are copied, its outputs are not.

    Returns:
        The folder.

    Raises:
        ConfigError: If there is no such source, its recipe is not valid, or `target` exists or can't be written.
    """
    folder = _find_source(source)
    name = target.name
    if name.startswith((".", "-")) or not name or not name.isprintable():
        raise ConfigError(f"{printable(str(target))}: is no name for a submission; expected one such as 'first'")
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{target}: exists already; give another name, or edit {target / RECIPE}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name[:100]}.", dir=target.parent))
    except OSError as error:
        raise ConfigError(f"{target}: can't be created ({error.strerror}); give another folder") from error
    try:
        staging.chmod(target.parent.stat().st_mode & 0o777)
        for path in sorted(folder.glob("*.toml")):
            shutil.copyfile(path, staging / path.name)
        (staging / _NOTES).write_text(_adapt_notes(folder, target), encoding="utf-8")
        (staging / ".gitignore").write_text(IGNORED, encoding="utf-8")
        staging.rename(target)
    except OSError as error:
        raise ConfigError(f"{target}: can't be created ({error.strerror}); give another folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


def _find_source(source: str) -> Path:
    shipped = list_shipped()
    if source in shipped:
        return shipped[source]
    folder = Path(source)
    if not (folder / RECIPE).is_file():
        raise ConfigError(
            f"--from {printable(source)}: is neither a submission that comes with abawkit ({', '.join(shipped)}) nor a "
            f"folder with a {RECIPE}"
        )
    read_submission_recipe(folder)
    return folder


def _adapt_notes(folder: Path, target: Path) -> str:
    """The notes of a submission under another name, also in their commands; relative links become text."""
    try:
        text = (folder / _NOTES).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return f"# {target.name}\n"
    title = f"# {target.name}\n\nCreated from `{folder.name}`, whose notes follow.\n"
    lines = text.removeprefix(f"# {folder.name}\n").replace(f"submissions/{folder.name}", str(target))
    return title + _RELATIVE_LINK.sub(r"\1", lines)

"""Where results come from: the commit that is checked out, and the package's own code."""

import subprocess
from functools import cache
from pathlib import Path

import abawkit
from abawkit.system.files import sha256, sha256_of
from abawkit.system.native_build import NotBuiltError, find_torch
from abawkit.system.native_cache import PACKAGED, find_usable_build
from abawkit.system.shipped import FOLDER


def read_git_commit(folder: Path) -> str | None:
    """The commit that is checked out in a folder, with ``+changes`` if files differ from it; None outside of git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def digest_code() -> str:
    """Of the package's own files and the native operators: a version's number says little between releases."""
    root = Path(abawkit.__file__).parent
    files = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".so", ".toml"))
    lines = [f"{path.relative_to(root)} {sha256_of(path)}" for path in files if not path.is_relative_to(FOLDER)]
    return sha256("\n".join([*lines, *_cached_operators()]).encode())[:16]


def _cached_operators() -> list[str]:
    """The build of `abawkit ops build` that is used in place of the package's own."""
    try:
        build = find_usable_build(find_torch().version, PACKAGED)
    except NotBuiltError:
        return []
    return [f"native {build.sha256}"] if build else []

"""Where results come from: the commit that is checked out."""

import subprocess
from pathlib import Path


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out in a folder, with ``+changes`` if files differ from it; None outside of git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None

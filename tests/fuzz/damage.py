"""Damage to one file, for targets that read folders."""

import os
import shutil
from pathlib import Path
from typing import Any


def damage_file(path: Path, how: tuple[Any, ...]) -> None:
    """Flips bits of a file, cuts it, extends it, deletes it, or puts a pipe in its place.

    Nothing is done where what came before has left nothing to do it to, and nothing by another name.

    Args:
        path: The file.
        how: The name of the damage, the name of the file, and what the damage needs.
    """
    match how:
        case ("flip", _, where, mask) if path.is_file():
            content = bytearray(path.read_bytes() or b"\0")
            content[int(where * len(content))] ^= mask
            path.write_bytes(content)
        case ("cut", _, where) if path.is_file():
            os.truncate(path, int(where * path.stat().st_size))
        case ("extend", _, more) if path.is_file():
            path.write_bytes(path.read_bytes() + more)
        case ("delete", _):
            remove(path)
        case ("pipe", _):
            remove(path)
            os.mkfifo(path)


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

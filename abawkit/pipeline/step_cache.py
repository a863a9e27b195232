"""What each step was made of: a step whose output is there, whole and of the same things, is not done again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from abawkit.system.files import sha256, sha256_of, write_json

STAMPS: Final = "stamps"
"""Folder of the stamps, one JSON file a step."""


@dataclass(frozen=True)
class Step:
    """One step of a submission.

    Attributes:
        name: What messages call it, as ``train all-seed1``; no two steps share one.
        made_of: Everything that its outputs depend on, as JSON: choices and digests.
        outputs: Files, and folders of files, that it leaves.
    """

    name: str
    made_of: Mapping[str, Any]
    outputs: Sequence[Path]


class Stamps:
    """The stamps in an outputs folder."""

    def __init__(self, folder: Path) -> None:
        """Names the folder; nothing is read or written.

        Args:
            folder: That holds the outputs of all steps.
        """
        self._root, self._folder = folder, folder / STAMPS

    def reason(self, step: Step) -> str | None:
        """Why a step has to be done; None where it has not."""
        stamp = self._read(step)
        if not stamp:
            return "not made yet"
        if changed := _changed(stamp["made_of"], step.made_of):
            return f"{', '.join(changed)} changed"
        if stamp["outputs"] is None:
            return "was interrupted"
        for path in step.outputs:
            if not path.exists():
                return f"{path.name} is gone"
            if stamp["outputs"].get(self._key(path)) != digest_path(path):
                return f"{path.name} is not as it was written"
        return None

    def begun(self, step: Step) -> dict[str, Any] | None:
        """What was noted when a step of the same things was begun that has not ended yet, else None."""
        stamp = self._read(step)
        if not stamp or stamp["outputs"] is not None or _changed(stamp["made_of"], step.made_of):
            return None
        notes: dict[str, Any] = stamp["notes"]
        return notes

    def begin(self, step: Step, notes: Mapping[str, Any] | None = None) -> None:
        """Notes that a step is begun: until it is done, its outputs count for nothing."""
        self._write(step, None, notes or {})

    def forget(self) -> None:
        """Removes all stamps: every step is due."""
        for path in self._folder.glob("*.json"):
            path.unlink()

    def done(self, step: Step) -> None:
        """Notes what a step has left."""
        self._write(step, {self._key(path): digest_path(path) for path in step.outputs}, {})

    def digest(self, step: Step, path: Path) -> str:
        """Digest of an output of a step that is done."""
        stamp = self._read(step)
        return str(stamp["outputs"][self._key(path)]) if stamp and stamp["outputs"] else digest_path(path)

    def _write(self, step: Step, outputs: Mapping[str, str] | None, notes: Mapping[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(step), {"made_of": step.made_of, "outputs": outputs, "notes": notes})

    def _read(self, step: Step) -> dict[str, Any] | None:
        """The stamp of a step; None where there is none, or something else in its place."""
        try:
            stamp = json.loads(self._path(step).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        kinds: dict[str, Any] = {"made_of": dict, "outputs": dict | None, "notes": dict}
        if not isinstance(stamp, dict) or stamp.keys() != kinds.keys():
            return None
        return stamp if all(isinstance(stamp[key], kind) for key, kind in kinds.items()) else None

    def _path(self, step: Step) -> Path:
        return self._folder / f"{step.name.replace(' ', '-')}.json"

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self._root))


def digest_path(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of its files in the order of their names."""
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(inner for inner in path.rglob("*") if inner.is_file())
    return sha256("\n".join(f"{inner.relative_to(path)} {sha256_of(inner)}" for inner in files).encode())


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys of what differs between two makings."""
    return [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]

"""Which steps of a job are done: made of the same inputs by the same code, with their outputs as they were written."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from abawkit.errors import ConfigError, printable
from abawkit.pipeline.commands import ExecutionOptions
from abawkit.run_names import RECIPE
from abawkit.system.files import new_folder, sha256, sha256_of, write_json

STAMPS: Final = "stamps"
"""Folder of the stamps: one JSON file per step, with the inputs of the step and the digests of its outputs."""

NOT_MADE: Final = "not made yet"


@dataclass(frozen=True)
class Step:
    """One step of a job.

    Attributes:
        name: Unique in the job, as ``train all-seed1``.
        made_of: Everything that its outputs depend on, as JSON: choices, digests of inputs, digest of the code.
        outputs: Files, and folders of files, that it writes.
    """

    name: str
    made_of: Mapping[str, Any]
    outputs: Sequence[Path]


class StepCommand(NamedTuple):
    """The command that runs a step.

    Attributes:
        step: The step.
        arguments: As a user would type them behind ``abawkit``.
        notes: For the next attempt, if this one is interrupted; see `StepCache.read_notes`.
    """

    step: Step
    arguments: list[str]
    notes: Mapping[str, Any] = {}


@dataclass(frozen=True)
class StepCache:
    """The steps of a job that are done, as stamps in the folder of its outputs.

    Attributes:
        root: The folder that holds the outputs of all steps.
        finished: Names of the steps that were run through this object.
    """

    root: Path
    finished: list[str] = field(default_factory=list)

    def is_done(self, step: Step) -> bool:
        """Whether a step was made of the same inputs, and its outputs are as it wrote them."""
        return self.explain(step) is None

    def explain(self, step: Step) -> str | None:
        """Why a step has to be run; None if it is done."""
        stamp = self._read(step)
        if not stamp:
            return NOT_MADE
        if changed := self.find_changes(step):
            return f"{', '.join(changed)} changed"
        if stamp["outputs"] is None:
            return "was interrupted"
        for path in step.outputs:
            if not path.exists():
                return f"{path.name} is gone"
            if stamp["outputs"].get(self._key(path)) != digest_path(path):
                return f"{path.name} is not as it was written"
        return None

    def find_changes(self, step: Step) -> list[str]:
        """Keys of `Step.made_of` that differ from those of its last attempt; none if there was no attempt."""
        stamp = self._read(step)
        before = stamp["made_of"] if stamp else step.made_of
        return [key for key in sorted(before.keys() | step.made_of.keys()) if before.get(key) != step.made_of.get(key)]

    def read_notes(self, step: Step) -> dict[str, Any] | None:
        """The notes of an unfinished attempt that had the same inputs; None if there is none."""
        stamp = self._read(step)
        return None if not stamp or stamp["outputs"] is not None or self.find_changes(step) else dict(stamp["notes"])

    def find_attempt(self, step: Step, run: Path) -> dict[str, Any] | None:
        """The notes of an unfinished attempt at training, which can be resumed; None if there is none.

        Args:
            step: The step; its notes name the run that it replaces: ``replaces``, from `identify_run`.
            run: The folder of its run.
        """
        notes, identity = self.read_notes(step), identify_run(run)
        # An attempt that was killed before it replaced the run of other inputs in this folder has nothing to resume.
        return None if notes is None or (identity and notes.get("replaces") == identity) else notes

    @contextmanager
    def run(self, *steps: Step, notes: Sequence[Mapping[str, Any]] = ()) -> Iterator[None]:
        """The block that runs steps: they are done when it ends without an error, and unfinished until then.

        Args:
            steps: The steps.
            notes: For the next attempt of each, if this one is interrupted.
        """
        for step, note in zip(steps, notes or [{}] * len(steps), strict=True):
            self._write(step, None, note)
        yield
        for step in steps:
            self._write_finished(step)
            self.finished.append(step.name)

    def run_commands(self, commands: Sequence[StepCommand], options: ExecutionOptions, jobs: int) -> None:
        """Runs the commands of steps, `jobs` at a time, in their order.

        Raises:
            StepError: If one fails; the steps that were done before stay done.
            StoppedError: If a signal ended them.
        """
        for start in range(0, len(commands), jobs):
            wave = commands[start : start + jobs]
            with self.run(*(command.step for command in wave), notes=[command.notes for command in wave]):
                options.run([command.arguments for command in wave], options.say)

    def digest(self, step: Step, path: Path) -> str:
        """Digest of an output of a step that is done."""
        stamp = self._read(step)
        return str(stamp["outputs"][self._key(path)]) if stamp and stamp["outputs"] else digest_path(path)

    def adopt(self, step: Step) -> None:
        """Records a step without a stamp as done if all its outputs are there: older versions wrote no stamps."""
        if self._read(step) is None and all(path.exists() for path in step.outputs):
            self._write_finished(step)

    def clear(self) -> None:
        """Removes all stamps, so that every step has to be run."""
        for path in (self.root / STAMPS).glob("*.json"):
            path.unlink()

    def _write_finished(self, step: Step) -> None:
        self._write(step, {self._key(path): digest_path(path) for path in step.outputs}, {})

    def _write(self, step: Step, outputs: Mapping[str, str] | None, notes: Mapping[str, Any]) -> None:
        self._path(step).parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path(step), {"made_of": step.made_of, "outputs": outputs, "notes": notes})

    def _read(self, step: Step) -> dict[str, Any] | None:
        """The stamp of a step; None if there is none, or it is damaged."""
        try:
            stamp = json.loads(self._path(step).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        types: dict[str, Any] = {"made_of": dict, "outputs": dict | None, "notes": dict}
        if not isinstance(stamp, dict) or stamp.keys() != types.keys():
            return None
        return stamp if all(isinstance(stamp[key], kind) for key, kind in types.items()) else None

    def _path(self, step: Step) -> Path:
        return self.root / STAMPS / f"{step.name.replace(' ', '-').replace('/', '-')}.json"

    def _key(self, path: Path) -> str:
        return str(path.relative_to(self.root))


def digest_path(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of the names and digests of its files in the order of their names."""
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(inner for inner in path.rglob("*") if inner.is_file())
    return sha256("\n".join(f"{inner.relative_to(path)} {sha256_of(inner)}" for inner in files).encode())


def identify_run(folder: Path) -> list[int] | None:
    """Tells the run in a folder from one that replaces it: every run writes its recipe first."""
    try:
        found = (folder / RECIPE).stat()
    except OSError:
        return None
    return [found.st_ino, found.st_mtime_ns]


def holds_job(note: Path, content: Mapping[str, Any], kind: str, remedy: str) -> bool:
    """Whether a folder holds the same job, which the same call continues.

    Args:
        note: The JSON file in the folder that describes its job.
        content: The description of the job, as JSON.
        kind: Name of such jobs with an article, for messages.
        remedy: What to do about another job, for messages.

    Raises:
        ConfigError: If the folder holds a job of other inputs, or its note can't be read.
    """
    try:
        found = json.loads(note.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{note}: can't be read ({error}); {remedy}") from error
    if found == content:
        return True
    found = found if isinstance(found, dict) else {}
    keys = [key for key in {**found, **content} if found.get(key) != content.get(key)]
    changes = [printable(f"  {key}: was {found.get(key)}, is {content.get(key)}") for key in keys]
    raise ConfigError("\n".join([f"{note.parent}: holds {kind} of other inputs:", *changes, remedy]))


def begin_job(note: Path, content: Mapping[str, Any], *, force: bool) -> None:
    """Makes the folder of a new job, in which no step is done; arguments as of `holds_job`.

    Raises:
        ConfigError: If the folder holds anything and `force` is false, or can't be written to.
    """
    new_folder(note.parent, force=force)
    StepCache(note.parent).clear()
    write_json(note, content)

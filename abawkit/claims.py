"""Outputs: locked against other processes while they are written, and refused before any work is spent on them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from abawkit.system.files import (
    Kind,
    find_workspace,
    refuse_folder,
    refuse_home,
    refuse_output,
    remove_leftovers,
    replacing_folder,
)
from abawkit.system.locks import hold_lock

if TYPE_CHECKING:
    from abawkit.formats.base import Container


_claims: ContextVar[ExitStack] = ContextVar("abawkit.claims")


@contextmanager
def hold_claims() -> Iterator[None]:
    """Everything that is claimed in this block is held until it ends."""
    with ExitStack() as stack:
        token = _claims.set(stack)
        try:
            yield
        finally:
            _claims.reset(token)


def claim_file(path: Path, *, force: bool, kind: Kind, inputs: Sequence[Path] = ()) -> None:
    """Keeps others from writing a file until `hold_claims` ends.

    Args:
        path: The file to write.
        force: Whether a file of this kind that is there may be replaced.
        kind: What it will be.
        inputs: What is read; see `abawkit.system.files.refuse_output`.

    Raises:
        ConfigError: If another command is writing it, or as of `abawkit.system.files.refuse_output`.
    """
    refuse_output(path, force=True, inputs=inputs)
    claim(path)
    refuse_output(path, force=force, inputs=inputs, kind=kind)


def claim_submission(path: Path, container: "Container", *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Keeps others from writing a submission until `hold_claims` ends.

    Args:
        path: The file or folder to write.
        container: Which of the two.
        force: Whether a submission that is there may be replaced.
        inputs: What is read; see `abawkit.system.files.refuse_output`.

    Raises:
        ConfigError: If another command is writing it, or as of `abawkit.formats.writing.refuse_submission`.
    """
    from abawkit.formats.writing import refuse_submission
    from abawkit.inspection.output_kinds import SUBMISSION

    if container == "file":
        claim_file(path, force=force, kind=SUBMISSION, inputs=inputs)
        return
    refuse_submission(path, container, force=True, inputs=inputs)
    claim(path)
    refuse_submission(path, container, force=force, inputs=inputs)
    refuse_folder(path, force=force, kind=SUBMISSION, inputs=inputs)


def claim_prediction(out: Path, container: "Container", *, force: bool, inputs: Sequence[Path] = ()) -> None:
    """Keeps others from writing a submission, and what lies beside it, until `hold_claims` ends.

    Arguments and errors are those of `claim_submission`.
    """
    from abawkit.inspection.output_kinds import PREDICTION_MANIFEST, PROBABILITIES
    from abawkit.postprocessing.outputs import list_outputs

    submission, probabilities, manifest = list_outputs(out)
    claim_submission(submission, container, force=force, inputs=inputs)
    claim_file(probabilities, force=force, kind=PROBABILITIES, inputs=inputs)
    claim_file(manifest, force=force, kind=PREDICTION_MANIFEST, inputs=inputs)


def claim_probabilities(path: Path, *, force: bool, inputs: Sequence[Path] = (), others: Sequence[Path] = ()) -> None:
    """Keeps others from writing stored probabilities, an ``.npz`` or a table, until `hold_claims` ends.

    Arguments and errors are those of `abawkit.probabilities.members.refuse_probabilities`.
    """
    from abawkit.inspection.output_kinds import PROBABILITIES
    from abawkit.probabilities.members import refuse_probabilities

    refuse_probabilities(path, force=True, inputs=inputs, others=others)
    claim_file(path, force=force, kind=PROBABILITIES, inputs=inputs)


@contextmanager
def claim_folder(path: Path, *, force: bool, kind: Kind, inputs: Sequence[Path] = ()) -> Iterator[Path]:
    """Keeps others from writing a folder until `hold_claims` ends, and makes it ready beside its place.

    Args:
        path: The folder to write.
        force: Whether a folder of this kind that is there is replaced, wholly.
        kind: What it will be.
        inputs: What is read; see `abawkit.system.files.refuse_folder`.

    Yields:
        An empty folder, which becomes `path` when the block ends without an error.

    Raises:
        ConfigError: If another command is writing it, or as of `abawkit.system.files.refuse_folder`.
        DataError: If the disk is full or failing, or the folder above is read-only.
    """
    claim_output_folder(path, force=force, kind=kind, inputs=inputs)
    with replacing_folder(path, force=force) as new:
        yield new


def claim_output_folder(path: Path, *, force: bool, kind: Kind, inputs: Sequence[Path] = ()) -> None:
    """Keeps others from writing a folder until `hold_claims` ends; arguments and errors are those of `claim_folder`."""
    refuse_folder(path, force=force, kind=kind, inputs=inputs)
    claim(path)
    refuse_folder(path, force=force, kind=kind, inputs=inputs)  # it may be there since
    remove_leftovers(path)


def claim(path: Path) -> None:
    """Keeps others from writing a file or folder until `hold_claims` ends; the folders above it are made.

    Raises:
        ConfigError: If another command is writing it, or it is ``/`` or a home.
    """
    refuse_home(path)
    base, prefix = find_workspace(path)
    base.mkdir(parents=True, exist_ok=True)
    _claims.get().enter_context(hold_lock(base / f"{prefix}.lock", path))

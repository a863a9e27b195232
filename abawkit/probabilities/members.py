"""Members of an ensemble: probabilities in files, of abawkit's own networks or of any other system."""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from abawkit.errors import ConfigError, DataError, DataWarning, format_count, printable
from abawkit.frame_columns import find_first_difference
from abawkit.labels import TASKS, Task
from abawkit.probabilities.files import RANGES, read_stored, write_csv, write_parquet
from abawkit.system.files import refuse_output, replacing
from abawkit.system.json_records import read_object
from abawkit.tables import Annotations, Predictions

ENDINGS: Final = (".npz", ".csv", ".parquet")
"""Of files of probabilities that are written."""

KEY_DIGITS: Final = 12
"""Digits of a network's digest that name it in keys."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class StoredMember:
    """One member of an ensemble of stored probabilities.

    Attributes:
        path: Its file.
        predictions: What it says; the columns of tasks that it does not know are filled and mean nothing.
        tasks: The tasks that it has a say in.
        digest: SHA-256 of its rows and of its columns of these tasks: two members of one digest are one member twice.
        key: What a rule calls it, on validation and on test: the digests of its networks where they are known, joined
            by ``+``, else the name of its file without the ending.
        precision: What its networks computed with, where that is known.
    """

    path: Path
    predictions: Predictions
    tasks: tuple[Task, ...]
    digest: str
    key: str
    precision: str | None = None


def read_member(path: Path) -> StoredMember:
    """Reads one member: see `abawkit.probabilities.files` for the forms.

    Its key comes from the manifest beside it where abawkit wrote that: the first 12 digits of each network's digest (or
    the key of each member), sorted, joined by ``+``, and the digest of the rule that was applied, behind ``@``. A file
    without such a manifest is called by its name, so those of one system for validation and for test need one name in
    two folders.

    Raises:
        DataError: If the file does not hold probabilities, or the manifest beside it is about another list, or about
            other probabilities of this one.
    """
    stored = read_stored(path)
    predictions, tasks = stored.predictions, stored.tasks
    digest = digest_columns(predictions, tasks)
    manifest = read_manifest_beside(path)
    if manifest is None:
        return StoredMember(path, predictions, tasks, digest, _stem(path))
    check_manifest(path, predictions, digest, manifest)
    return StoredMember(path, predictions, tasks, digest, _find_member_key(manifest), _find_precision(manifest))


def read_members(paths: Sequence[Path]) -> list[StoredMember]:
    """Reads the members of an ensemble.

    Raises:
        ConfigError: If there is none.
        DataError: If one can't be read, their rows differ, or two are the same or are called the same.

    Warns:
        DataWarning: If they were computed in different precision.
    """
    if not paths:
        raise ConfigError("no member was given; give the .npz files of `abawkit predict`, or those of other systems")
    members: list[StoredMember] = []
    for path in paths:
        member = read_member(path)
        if members:
            _refuse_other_rows(members[0], member)
        for other in members:
            if member.digest == other.digest:
                raise DataError(
                    f"{path}: the same probabilities as {other.path} (digest {member.digest[:12]}); they would count "
                    "twice: give each member once"
                )
            if member.key == other.key:
                raise DataError(
                    f"{path}: is called {printable(member.key)}, as is {other.path}; a rule could not tell them apart: "
                    "give members of other networks, or other names to files that have no manifest"
                )
        members.append(member)
    _warn_mixed(members)
    return members


def warn_of_training_rows(members: Sequence[StoredMember]) -> None:
    """Warns of predictions of training rows that are not out of fold: a network repeats the labels that it learned."""
    for member in members:
        manifest = read_manifest_beside(member.path) or {}
        source = manifest.get("source")
        if isinstance(source, dict) and source.get("split") == "train" and not is_out_of_fold(manifest):
            warnings.warn(
                f"{member.path}: is not out of fold: a network repeats the labels that it was trained on, and what is "
                "found on them says nothing of new rows; `abawkit train --folds` writes out-of-fold probabilities",
                DataWarning,
                stacklevel=3,
            )


def is_out_of_fold(manifest: Mapping[str, Any]) -> bool:
    """Whether predictions are those of networks that have not seen the rows, or an ensemble of such predictions."""
    source = manifest.get("source")
    return "out_of_fold" in manifest or (isinstance(source, dict) and source.get("out_of_fold") is True)


def refuse_other_rows(member: StoredMember, truth: Annotations) -> None:
    """Refuses a member whose rows are not those of the annotations.

    Raises:
        DataError: If they are not.
    """
    if not member.predictions.images.equals(truth.images):
        source = (read_manifest_beside(member.path) or {}).get("source")
        split = source.get("split") if isinstance(source, dict) else None
        told = f"its manifest says that they are of {printable(str(split)[:40])}; " if split else ""
        raise DataError(
            f"{member.path}: its {len(member.predictions):,} rows are not the {len(truth):,} of the annotations, in "
            f"their order; {told}predict the annotated split, or give the annotations of these rows: of a curated set "
            "with --split"
        )


def refuse_probabilities(path: Path, *, force: bool, inputs: Sequence[Path] = (), others: Sequence[Path] = ()) -> None:
    """Refuses a file that `write_probabilities` can't write, before any work is spent on it.

    Raises:
        ConfigError: If its ending is none of `ENDINGS`, if nothing can be written there, or if it is one of the
            `others` that are written.
    """
    if path.resolve() in [other.resolve() for other in others]:
        raise ConfigError(f"{path}: would be written twice; give the probabilities another path")
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path}: got another ending, expected {' or '.join(ENDINGS)} for probabilities")
    refuse_output(path, force=force, inputs=inputs)


def write_probabilities(path: Path, predictions: Predictions, tasks: Sequence[Task] = TASKS) -> None:
    r"""Writes what `read_member` reads, by the ending of the name: see `abawkit.probabilities.files` for the forms.

    Values are float32 in all of them; only an ``.npz`` has the digest of the list.

    Example:
        >>> path = Path("va.csv")
        >>> _ = path.write_text("image,valence,arousal\nv/00001.jpg,0.5,-0.25\n")
        >>> member = read_member(path)
        >>> write_probabilities(Path("va.npz"), member.predictions, member.tasks)
        >>> read_member(Path("va.npz")).predictions.va.tolist()
        [[0.5, -0.25]]
    """
    with replacing(path) as file:
        if path.suffix == ".csv":
            write_csv(file, predictions, tasks)
        elif path.suffix == ".parquet":
            write_parquet(file, predictions, tasks)
        else:
            columns = {task: getattr(predictions, task) for task in TASKS if task in tasks}
            names = np.array(predictions.images.to_pylist())
            np.savez_compressed(file, images=names, list_digest=predictions.digest, **columns)


def copy_probabilities(path: Path, copy: Path) -> None:
    """Writes the probabilities of one file to another, whose ending may be another one."""
    stored = read_stored(path)
    write_probabilities(copy, stored.predictions, stored.tasks)


def read_probabilities(path: Path) -> Predictions:
    """Reads the probabilities that abawkit wrote, bit for bit.

    Raises:
        DataError: If the file is not one of these.
    """
    stored = read_stored(path)
    if not stored.own:
        raise DataError(
            f"{path}: does not hold probabilities of abawkit (float32, with list_digest); run `abawkit predict` again"
        )
    return stored.predictions


def digest_columns(predictions: Predictions, tasks: Sequence[Task]) -> str:
    """SHA-256 over the rows' names and the columns of these tasks, as little-endian float32.

    Values are cut to their range, as reading cuts them: what is written has the digest of what is read back.
    """
    digest = hashlib.sha256(predictions.digest.encode())
    for task in TASKS:
        if task in tasks:
            digest.update(task.encode())
            digest.update(np.clip(getattr(predictions, task), *RANGES[task]).astype("<f4").tobytes())
    return digest.hexdigest()


def read_manifest_beside(path: Path) -> dict[str, Any] | None:
    """The manifest that abawkit wrote beside a file; None where there is none, or JSON of something else."""
    try:
        content = read_object(_beside(path), "the manifest of a prediction")
    except DataError:
        return None
    entries = content.get("members")
    if not isinstance(entries, list) or not entries or not {"submission_sha256", "out_of_fold"} & content.keys():
        return None
    return content if all(_is_entry(entry) for entry in entries) else None


def check_manifest(path: Path, predictions: Predictions, digest: str, manifest: Mapping[str, Any]) -> None:
    """Compares stored probabilities with the manifest beside them.

    Args:
        path: Their file.
        predictions: Its rows.
        digest: Of its columns, from `digest_columns`.
        manifest: The content of the manifest.

    Raises:
        DataError: If the manifest is about another list, or about other probabilities of this one.
    """
    source = manifest.get("source")
    if not isinstance(source, dict) or source.get("list_digest") != predictions.digest:
        raise DataError(f"{_beside(path)}: is about other rows than {path}; predict again, or keep the two apart")
    described = manifest.get("probabilities_digest", digest)  # older manifests have none
    if described != digest:
        raise DataError(
            f"{path}: is not what {_beside(path)} describes: it has digest {digest[:KEY_DIGITS]}, not "
            f"{printable(str(described)[:KEY_DIGITS])}; predict again, or remove the manifest"
        )


def _beside(path: Path) -> Path:
    return path.with_name(f"{_stem(path)}.json")


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def _find_precision(manifest: Mapping[str, Any]) -> str | None:
    """What the networks of a manifest computed with; that of an ensemble of files does not say it."""
    environment = manifest.get("environment")
    precision = environment.get("precision") if isinstance(environment, dict) else None
    found = precision.get("evaluation") if isinstance(precision, dict) else None
    return found if isinstance(found, str) else None


def _warn_mixed(members: Sequence[StoredMember]) -> None:
    """Warns if members were computed in different precision."""
    groups: dict[str, list[str]] = {}
    for member in members:
        if member.precision:
            groups.setdefault(member.precision, []).append(str(member.path))
    if len(groups) > 1:
        each = "; ".join(f"{printable(precision)}: {', '.join(paths)}" for precision, paths in sorted(groups.items()))
        warnings.warn(f"members were computed in different precision ({each})", DataWarning, stacklevel=3)


def _find_member_key(manifest: Mapping[str, Any]) -> str:
    keys = [entry.get("key") or entry["digest"][:KEY_DIGITS] for entry in manifest["members"]]
    # a mean of means is not one of all, and what a rule made of one member is not what it makes of all
    keys = [f"({key})" if len(keys) > 1 and ("+" in key or "@" in key) else key for key in keys]
    rule = manifest.get("rule")
    applied = rule.get("digest") if isinstance(rule, dict) else None
    suffix = f"@{applied[:KEY_DIGITS]}" if isinstance(applied, str) else ""
    return "+".join(sorted(keys)) + suffix


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("key", ""), str):
        return False
    digest = entry.get("digest")
    return isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None


def _refuse_other_rows(first: StoredMember, other: StoredMember) -> None:
    a, b = first.predictions.images, other.predictions.images
    at = find_first_difference(a, b)
    if at is None:
        return
    if at >= min(len(a), len(b)):
        difference = f"it has {format_count(len(b), 'row')}, not {len(a):,}"
    else:
        difference = f"row {at + 1:,} is '{printable(b[at].as_py()[:80])}', not '{printable(a[at].as_py()[:80])}'"
    raise DataError(
        f"{other.path}: has other rows than {first.path}: {difference}; members must answer one list, in its order"
    )

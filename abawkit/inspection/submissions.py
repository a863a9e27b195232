"""Inspects submissions, with the manifest and the probabilities beside them."""

from pathlib import Path
from typing import Any, Final

from abawkit.curation.curated_set import CURATED_TABLE
from abawkit.errors import DataError, format_count
from abawkit.formats.writing import digest_submission, read_submission_bytes
from abawkit.inspection.formats import Recognised, describe_resemblance, recognise_format
from abawkit.inspection.probabilities import note_stored_probabilities, stored_digest
from abawkit.inspection.report import (
    FileState,
    Inspection,
    Record,
    explain_missing_torch,
    is_file,
    is_present,
)
from abawkit.system.files import sha256_of
from abawkit.system.json_records import read_object

_MANIFEST: Final = "the manifest of a prediction"
_NOTHING = Recognised(None, [], {}, {})


def inspect_submission(path: Path) -> Inspection:
    """Inspects a submission with its manifest and probabilities.

    Args:
        path: The official file or folder; it may be absent if its manifest is there.

    Raises:
        DataError: If it is no submission, and has no manifest.
    """
    found = Inspection(path, "submission")
    record = _read_prediction_record(found, path.with_suffix(".json"))
    named = record.content.get("format") if record else None
    recognised = recognise_format(path, named if isinstance(named, str) else None) if _exists(path) else _NOTHING
    if record is None and not recognised.plugins:
        _refuse_other_file(path, recognised)
    as_predicted = _note_file(found, path, recognised, record)
    if record:
        _note_prediction_manifest(found, record, recognised)
    note_stored_probabilities(found, path, recognised, as_predicted=as_predicted)
    rows = found.facts.get("rows")
    names = found.facts["formats"]
    formats = named if named in names else ", ".join(names) or "in no format that is installed"
    members = found.facts.get("members", [])
    noun = "member" if any("key" in member for member in members) else "network"
    found.summary = (
        f"a submission ({formats})"
        + (f" of {format_count(rows, 'row')}" if rows is not None else "")
        + (f", from {format_count(len(members), noun)}" if members else "")
    )
    return found


def inspect_manifest(path: Path) -> Inspection:
    """Inspects the submission of a manifest.

    Raises:
        DataError: If it is no manifest of a prediction.
    """
    digest = read_object(path, _MANIFEST).get("submission_sha256")
    if digest is None:
        raise DataError(f"{path}: is JSON, but no manifest of a prediction")
    beside = [p for p in path.parent.iterdir() if p.with_suffix(".json") == path and _exists(p)]
    beside.sort(key=lambda p: (p.is_dir(), p))
    candidates = [p for p in beside if p.suffix not in (".json", ".npz")]
    same = [p for p in candidates if _digest_on_disk(p) == digest]
    return inspect_submission([*same, *candidates, path.with_suffix(".txt")][0])


def _read_prediction_record(found: Inspection, path: Path) -> Record | None:
    """The manifest beside a submission; None if there is none."""
    if not path.exists():
        return None
    try:
        content = read_object(path, _MANIFEST)
    except DataError as error:
        found.problems.append(str(error))
        return None
    return Record(str(path), content, found.problems) if "submission_sha256" in content else None


def _refuse_other_file(path: Path, recognised: Recognised) -> None:
    """Refuses a file that is no submission; does nothing if it is a defective one.

    Raises:
        DataError: If it is no submission, with what it seems to be.
    """
    if not path.is_dir() and (other := describe_resemblance(path)):
        raise DataError(f"{path}: is {other}")
    if not recognised.defects:
        reasons = [f"{name}: {reason}" for name, reason in recognised.refusals.items()]
        raise DataError("\n".join([f"{path}: is no submission in any installed format", *reasons]))


def _note_file(found: Inspection, path: Path, recognised: Recognised, record: Record | None) -> bool:
    """Notes the official file; returns whether its bytes are those of its manifest."""
    found.note("formats", [plugin.name for plugin in recognised.plugins])
    found.note("manifest", path.with_suffix(".json").name if record else "none")
    expected = record.get("submission_sha256", str) if record else None
    if not _exists(path):
        found.problems.append(f"{path}: is absent, and its manifest is not")
        return False
    found.digests["file"] = _digest_on_disk(path)
    if recognised.submission:
        found.note("rows", len(recognised.submission))
        if not path.is_dir():  # a folder has a line for frames that its list has not
            found.digests["list"] = recognised.submission.digest
    else:
        for name, error in recognised.defects.items():
            first = error.problems[0].text(path)
            found.problems.append(f"{first}\n`abawkit check` lists all {len(error.problems):,} defects as {name}")
        found.problems += [] if recognised.defects else list(recognised.refusals.values())
    if expected is not None and expected != found.digests["file"]:
        found.problems.append(
            f"{path}: has SHA-256 {found.digests['file']}, its manifest says {expected}: it was changed after it was "
            "predicted"
        )
    return expected == found.digests["file"]


def _note_prediction_manifest(found: Inspection, record: Record, recognised: Recognised) -> None:
    found.note("abawkit", record.get("abawkit", str))
    named = record.get("format", str)
    if recognised.plugins and named not in found.facts["formats"]:
        found.problems.append(f"{record.source}: says that the format is {named}")
    rows, digest = record.get("rows", int), record.get("source.list_digest", str)
    answered = recognised.submission if "list" in found.digests else None
    if answered and rows != len(answered):
        found.problems.append(f"{record.source}: says {rows} rows, the file has {len(answered):,}")
    elif answered and digest != answered.digest:
        found.problems.append(f"{record.source}: is about another list than the file answers")
    found.note("source", _describe_prediction_source(found, record))
    found.note("members", [_compare_member(found, member) for member in record.entries("members")])
    found.note("rule", record.get("rule.digest", str, optional=True))
    filled = [
        {"row": entry.get("row", int), "image": entry.get("image", str), "from": entry.get("from", str)}
        for entry in record.entries("filled")
    ]
    found.note("filled_rows", len(filled))
    found.note("filled", filled or None)
    found.note("environment", record.mapping("environment"))


def _describe_prediction_source(found: Inspection, record: Record) -> dict[str, Any]:
    """The rows that were predicted, of a list or a curated split, and whether it is unchanged where it was."""
    if data := record.get("source.data", str, optional=True):
        table = _locate(data, found.path) / CURATED_TABLE
        digest = record.get("source.table_sha256", str)
        split = record.get("source.split", str)
        return {"data": data, "split": split, "table": found.compare("the curated table", table, digest)}
    listed = record.get("source.list", str, optional=True)
    if listed is None:  # of members of other systems, no more is known than the digest of the rows
        return {"list": None}
    digest = record.get("source.list_sha256", str)
    state = found.compare("the list that it answers", _locate(listed, found.path), digest)
    return {"list": listed, "frames": record.folders("source.frames"), "list_file": state}


def _compare_member(found: Inspection, member: Record) -> dict[str, Any]:
    path, digest = member.get("path", str), member.get("digest", str)
    key = member.get("key", str, optional=True)  # of stored probabilities, not of a network
    content = {"path": path, **({"key": key} if key else {}), "digest": digest, "tasks": member.get("tasks", list)}
    if not (path and digest):
        return {**content, "state": None}
    if key:
        what = "the probabilities that had a say in it"
        return {**content, "state": found.compare(what, _locate(path, found.path), digest, stored_digest)}
    return {**content, "state": _compare_weights(found, path, digest)}


def _compare_weights(found: Inspection, path: str, digest: str) -> FileState | None:
    if explain_missing_torch():
        return "not looked at"
    from abawkit.inspection.weights import digest_weights

    return found.compare("the network that had a say in it", _locate(path, found.path), digest, digest_weights)


def _exists(path: Path) -> bool:
    """Whether there is a regular file or a folder."""
    return is_file(path) or (is_present(path) and path.is_dir())


def _digest_on_disk(path: Path) -> str:
    """The digest of a submission on disk; empty for a folder that can't be one."""
    if not path.is_dir():
        return sha256_of(path)
    try:
        return digest_submission(read_submission_bytes(path))
    except DataError:
        return ""


def _locate(text: str, submission: Path) -> Path:
    """A path as it was typed: from where this process is, or else from where the submission lies."""
    here, there = Path(text), submission.parent / text
    return there if is_present(there) and not is_present(here) else here

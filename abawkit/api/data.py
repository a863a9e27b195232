"""Releases and curated sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from abawkit.api._arguments import Progress, StrPath, as_columns, as_paths, warn
from abawkit.choices import MAX_MISSING, MIN_STRENGTH, PackedForm, Policy, Repeats, Split, TruthSplit
from abawkit.claims import claim_file, claim_folder, hold_claims
from abawkit.errors import ConfigError

if TYPE_CHECKING:  # they take longer to import than all that is refused before they are needed
    from abawkit.curation import CuratedSet, Curation
    from abawkit.curation.curate import ExaminedRows
    from abawkit.review.review import Review
    from abawkit.synth import ReleaseSummary


@hold_claims()
def write_release(
    out: StrPath,
    *,
    size: str = "demo",
    seed: int = 0,
    labels_only: bool = False,
    difficulty: float = 0.45,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ReleaseSummary:
    """Writes a synthetic release in the official layout: rendered faces of nobody, and labels that follow from them.

    Frames are rendered by processes that import the calling script: call this below ``if __name__ == "__main__":``, or
    with ``workers=1``.

    Args:
        out: The folder to write.
        size: ``"tiny"`` (300 frames), ``"demo"`` (13,000) or ``"large"`` (50,000).
        seed: Random seed, 0 or more; the same seed gives the same labels on every machine.
        labels_only: Whether frames are left out.
        difficulty: Strength of pose, light and noise, 0..1.
        workers: Processes; by default one for each processor.
        force: Whether a release at `out` is replaced.
        progress: Called with the number of frames rendered and the number to render.

    Returns:
        Counts of rows, videos and frames of each split.

    Raises:
        ConfigError: If an argument is out of its range, or `out` can't be written.

    Example:
        >>> abawkit.write_release("release", size="tiny", workers=1).train.rows
        180
    """
    from abawkit import synth
    from abawkit.inspection.output_kinds import RELEASE

    with claim_folder(Path(out), force=force, kind=RELEASE) as folder:
        return synth.write_release(
            folder,
            size=size,
            seed=seed,
            labels_only=labels_only,
            difficulty=difficulty,
            workers=workers,
            progress=progress,
        )


@hold_claims()
def curate(
    release: StrPath | None,
    out: StrPath,
    *,
    policy: Policy = "strict",
    repeats: Repeats = "keep",
    drop: StrPath | Sequence[StrPath] | None = None,
    train: StrPath | Sequence[StrPath] | None = None,
    validation: StrPath | Sequence[StrPath] | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    missing_value: Sequence[str] = (),
    frames: StrPath | Sequence[StrPath] | None = None,
    follow_links: bool = False,
    labels_only: bool = False,
    allow_shared_videos: bool = False,
    max_missing: float = MAX_MISSING,
    pack: PackedForm = "raw",
    workers: int | None = None,
    report: StrPath | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Curation:
    """Validates and filters the annotations of a release, and packs its frames into a curated set.

    Args:
        release: Folder of the release; None where `train`, `validation` and `frames` say everything.
        out: Folder for the curated set.
        policy: ``"strict"``: a row is kept if all its 15 values are annotated; ``"per-task"``: if any task is.
        repeats: ``"keep"`` repeated rows, or ``"unique"``: one row an image, none where its labels conflict.
        drop: Lists of labels to drop, which ``abawkit review`` writes: these count as not annotated.
        train: Training annotations, if not in the release: a file, or one for each single-task track.
        validation: Validation annotations, likewise.
        columns: The annotations are CSV or Parquet tables with these columns, as
            ``{"image": "path", "valence": "v", "arousal": "a"}``: the image, and all fields of any of the tasks.
        missing_value: With `columns`, texts that mark a missing value, besides empty cells, ``nan``, -5 (VA) and -1.
        frames: Folders of the frames, if not in the release; they are searched in this order.
        follow_links: Whether symbolic links may lead out of the folders of frames.
        labels_only: Whether frames are left out.
        allow_shared_videos: Whether a video may be in both splits.
        max_missing: Share of the frames that may be missing or unreadable, 0..1.
        pack: ``"raw"``: the frames' pixels, 37,632 bytes each; ``"encoded"``: the bytes of their image files, which are
            decoded when they are read.
        workers: Threads that decode; by default one for each processor.
        report: Write tables and charts of what was kept and dropped to this file, one HTML page.
        force: Whether a curated set at `out`, and a report at `report`, is replaced.
        progress: Called with the number of frames read and the number to read.

    Returns:
        Counts of each split, by label and by reason of what was dropped; and what became of the frames.

    Raises:
        ConfigError: If arguments contradict each other, or `out` can't be written.
        DataError: If annotations, frames or a list of `drop` are absent or not what they must be, or splits share
            videos.
        ProblemsError: If cells of the annotations are wrong; it names each.

    Example:
        >>> abawkit.curate("release", "curated", policy="per-task").splits["train"].kept
        179
    """
    from abawkit import curation
    from abawkit.curation.release import describe_shared_names
    from abawkit.formats.custom_table import parse_columns
    from abawkit.frames.paths import make_frame_folders, make_given_folders
    from abawkit.inspection.output_kinds import CURATED_SET

    if pack not in get_args(PackedForm):
        raise ConfigError(f"--pack {pack}: expected one of {', '.join(get_args(PackedForm))}")
    if missing_value and not columns:
        raise ConfigError("--missing-value is for the tables of --columns; official files mark with -5 and -1")
    if follow_links and labels_only:
        raise ConfigError("--follow-links is about frames, and --labels-only leaves them out; give one of them")
    sources = curation.find_sources(
        Path(release) if release is not None else None,
        train=as_paths(train),
        validation=as_paths(validation),
        frames=make_given_folders(as_paths(frames), follow_links),
        labels_only=labels_only,
        follow_links=follow_links,
        columns=parse_columns(as_columns(columns), missing_value) if columns else None,
    )
    folders = make_frame_folders(sources.frames).folders if sources.frames else ()
    dropped = as_paths(drop) or []
    read = [*sources.paths("train"), *sources.paths("validation"), *folders, *dropped]
    if report is not None:
        from abawkit.reports.page import REPORT

        if Path(report).resolve().is_relative_to(Path(out).resolve()):
            raise ConfigError(
                f"--report {report}: lies in the curated set, which holds nothing else; give another path"
            )
        claim_file(Path(report), force=force, kind=REPORT, inputs=read)
    rows: dict[Split, ExaminedRows] = {}
    with claim_folder(Path(out), force=force, kind=CURATED_SET, inputs=read) as folder:
        result = curation.curate(
            sources,
            folder,
            policy=policy,
            repeats=repeats,
            drop=dropped,
            allow_shared_videos=allow_shared_videos,
            max_missing=max_missing,
            pack=pack,
            workers=workers,
            progress=progress,
            on_rows=rows.update if report is not None else None,
        )
    if report is not None:
        from abawkit.reports.curation import make_curation_page
        from abawkit.reports.page import write_page

        files = [(f"{split.capitalize()} annotations", path) for split in rows for path in sources.paths(split)]
        write_page(Path(report), make_curation_page(result, rows, files=[*files, ("Curated set", Path(out))]))
    if result.shared_videos:
        shared = describe_shared_names(result.shared_videos, result.shared_images)
        warn(f"{shared}: scores on this validation split say nothing of new people")
    return result


def open_curated(folder: StrPath) -> CuratedSet:
    """Opens a curated set: its rows as arrays, and its frames.

    Args:
        folder: The folder that `curate` wrote.

    Raises:
        DataError: If it holds no curated set, or a damaged one.

    Example:
        >>> validation = abawkit.open_curated("curated").splits["validation"]
        >>> validation.annotations.va.shape
        (50, 2)
    """
    from abawkit import curation

    return curation.open_curated(Path(folder))


@hold_claims()
def review_labels(
    curated: StrPath,
    predictions: StrPath | Sequence[StrPath],
    out: StrPath,
    *,
    split: TruthSplit | None = None,
    only: str | Sequence[str] = (),
    min_strength: float = MIN_STRENGTH,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> Review:
    """Lists labels that are probably wrong, for the `drop` of `curate`; nothing is changed.

    Args:
        curated: The curated set whose labels are reviewed.
        predictions: Files of probabilities of its rows, one for each network, none of which was trained on them.
        out: The list to write (``.csv``).
        split: Which rows are reviewed: ``"train"``, ``"validation"`` or ``"train+validation"``; by default those that
            the predictions are of.
        only: The only rules to apply, of ``"contradicted"``, ``"outlier"``, ``"shifted"`` and ``"near-duplicate"``.
        min_strength: Of contradictions, 0.5 to 1: the share of a suggestion in the probability of itself and the label,
            at least.
        seed: Of the bootstrap, by which a shift in time gets its interval.
        force: Whether a list at `out` is replaced.
        progress: Called with the frames compared and the frames in all.

    Returns:
        What was found; ``doubtful`` are the lines of the list, ``shifted`` the videos whose annotation is shifted in
        time.

    Raises:
        ConfigError: If a rule is unknown, a value is out of its range, or frames are asked for and there are none.
        DataError: If a file is not what it must be, or is about other rows.

    Example:
        >>> found = abawkit.review_labels("curated", "validation.npz", "review.csv", split="validation")
        >>> found.networks, found.tasks
        (1, ('va', 'expression', 'au'))
    """
    from abawkit.inspection.output_kinds import REVIEW
    from abawkit.review import review
    from abawkit.review.doubtful_labels import parse_reasons, write_review

    given = as_paths(predictions) or []
    reasons = parse_reasons([only] if isinstance(only, str) else only)
    claim_file(Path(out), force=force, kind=REVIEW, inputs=[Path(curated), *given])
    found = review.review_labels(
        Path(curated), given, split=split, only=reasons, min_strength=min_strength, seed=seed, progress=progress
    )
    write_review(Path(out), found.doubtful, found.places)
    return found

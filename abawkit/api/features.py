"""Features of frames."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from abawkit.api._arguments import Progress, StrPath, as_paths, warn
from abawkit.choices import Missing
from abawkit.claims import claim_output_folder, hold_claims
from abawkit.errors import ConfigError, DataError, DataWarning, format_count, printable
from abawkit.system.launcher import read_launch

if TYPE_CHECKING:  # they take longer to import than all that is refused before they are needed
    import torch

    from abawkit.features.extractors import FeatureSource
    from abawkit.features.frame_rows import FrameRows
    from abawkit.features.source_kinds import SourceKind
    from abawkit.features.store import FeatureStore, StoredType
    from abawkit.features.store_writer import StoreWriter
    from abawkit.frames.paths import FrameFolders


def open_features(folder: StrPath) -> FeatureStore:
    """Opens stored features.

    Args:
        folder: Where they are.

    Returns:
        The store: ``values`` (rows, dimension), mapped from the disk, ``names``, ``manifest``, and ``select`` to find
        the rows of a table.

    Raises:
        DataError: If there are none, they are not complete, or they are damaged.

    Example:
        >>> store = abawkit.open_features("features")
        >>> curated = abawkit.open_curated("curated")
        >>> rows = store.select(curated.splits["validation"].annotations.images.to_pylist())
        >>> store.values[rows].shape
        (50, 128)
    """
    from abawkit.features.store import FeatureStore

    return FeatureStore.open(Path(folder))


@hold_claims()
def extract_features(
    source: StrPath,
    out: StrPath,
    *,
    data: StrPath | None = None,
    frame_list: StrPath | None = None,
    frames: StrPath | list[StrPath] | None = None,
    follow_links: bool = False,
    format_name: str = "abaw7",
    dtype: StoredType = "float16",
    flip: bool = False,
    batch: int | None = None,
    device: str = "auto",
    ops: str | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> FeatureStore:
    """Extracts features of all frames of a curated set or of a list, and stores them.

    If it is stopped, the same call continues where it was, and the features are the same, bit for bit. Of the processes
    that ``torchrun`` starts, each extracts a part, and the first one writes and calls back.

    Args:
        source: A run's folder (its best epoch) or a file of weights, whose network is used without its heads; an ONNX
            file with a TOML file of the same name beside it; or the name of an installed extractor.
        out: The store to write, a folder.
        data: The curated set: its training rows, then its validation rows.
        frame_list: In place of `data`, a list as released, with the images in `frames`; without it, all images of
            `frames` in natural order.
        frames: Folders of the frames; they are searched in this order.
        follow_links: Whether symbolic links may lead out of the folders of frames.
        format_name: Format of the submission that the list is for, as ``abawkit check --help`` lists.
        dtype: ``"float16"`` or ``"float32"``: type of the stored numbers.
        flip: Whether the features of the mirrored frames are stored too.
        batch: Frames in one pass; by default 32 on a CPU and 256 on a GPU.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``; ONNX files run on the CPU.
        ops: Implementation of the operators, as ``abawkit ops`` lists; by default the best.
        threads: CPU threads; by default as many as there are processors.
        force: Whether stored features at `out` are replaced.
        progress: Called with the number of frames done and the number to do.

    Returns:
        The store.

    Raises:
        ConfigError: If an argument can't be used, or `out` can't be written.
        DataError: If the source, the frames or the disk are not what they must be.
        OpUnavailableError: If `ops` can't run here.

    Warns:
        DataWarning: If rows of the curated set have no frame, frames were resized, or an extraction is continued.

    Example:
        >>> store = abawkit.extract_features("runs/a", "features", data="curated")
        >>> store.values.shape, store.values.dtype.name
        ((229, 128), 'float16')
    """
    from abawkit.execution import refuse_device, refuse_operator
    from abawkit.frames.paths import make_given_folders
    from abawkit.inspection.output_kinds import FEATURES

    target, folders = Path(out), as_paths(frames)
    origin, curated, listed = (Path(path) if path is not None else None for path in (source, data, frame_list))
    read = [path for path in (origin, curated, listed, *(folders or [])) if path]
    is_main = read_launch().is_main
    if is_main:
        claim_output_folder(target, force=force, kind=FEATURES, inputs=read)
    if batch is not None and batch < 1:
        raise ConfigError(f"--batch: got {batch}, expected at least 1")
    if follow_links and not folders:
        raise ConfigError("--follow-links goes with --frames: packed frames have no links")
    given = make_given_folders(folders, follow_links)
    refuse_operator(ops)
    refuse_device(device)
    kind = _refuse_source(Path(source), device)
    with warnings.catch_warnings():
        if not is_main:
            warnings.simplefilter("ignore", DataWarning)  # the first process says it
        rows = _find_frame_rows(curated, listed, given, format_name)

    from abawkit.execution import cpu_threads
    from abawkit.features.extract import extract_rows
    from abawkit.features.extractors import describe_preprocessing
    from abawkit.features.store import FeatureStore
    from abawkit.features.store_writer import StoreWriter
    from abawkit.models.inference import BATCH, pick_device
    from abawkit.ops import use
    from abawkit.training.distributed import join_processes
    from abawkit.training.run_folder import describe_environment

    where = "cpu" if kind == "onnx" else device
    with cpu_threads(threads), use(ops, source=f"--ops {ops}"), join_processes(where) as processes:
        chosen = pick_device(where)
        found = _load_source(Path(source), kind, chosen)
        extractor, size = found.extractor, batch or BATCH[chosen.type]
        preprocessing = {**describe_preprocessing(extractor), "batch": size}
        described = (rows.names, found.description, preprocessing, dtype, flip)
        processes.refuse_differences(described, "sources, frames or options")
        writer = None
        if is_main:
            environment = describe_environment(chosen, dict(found.operators))
            del environment["git"]  # of the folder that the command is given in
            writer = StoreWriter(
                target,
                rows.names,
                extractor.dimension,
                dtype,
                mirrored=flip,
                source=found.description,
                frames=rows.describe(),
                preprocessing=preprocessing,
                versions=environment,
            )
            _report_resumption(writer)
        options: dict[str, Any] = {"batch": size, "mirrored": flip, "processes": processes}
        extract_rows(extractor, rows, writer, chosen, **options, progress=progress if is_main else None)
        store = writer.finish(force=force) if writer else None
        processes.wait_for_all()
    return store or FeatureStore.open(target)


@hold_claims()
def import_features(
    file: StrPath,
    out: StrPath,
    *,
    data: StrPath | None = None,
    frame_list: StrPath | None = None,
    format_name: str = "abaw7",
    names: StrPath | None = None,
    first_frame: int | None = None,
    drop_extra: bool = False,
    missing: Missing = "refuse",
    dtype: StoredType = "float16",
    force: bool = False,
    progress: Progress | None = None,
) -> FeatureStore:
    """Stores features that another program computed, in the order of a table, joined by name and occurrence.

    Every row of the table that has a frame must have features, or a neighbour (`missing`), and every row of the file
    must be in the table.

    Args:
        file: An ``.npz`` with the arrays ``images`` and ``features``, an ``.npy`` with `names`, a ``.csv`` or
            ``.parquet`` with the column ``image`` and a column for each number, or a folder with such a file for each
            video.
        out: The store to write, a folder.
        data: The curated set: its training rows, then its validation rows.
        frame_list: In place of `data`, a list as released.
        format_name: Format of the submission that the list is for, as ``abawkit check --help`` lists.
        names: The image names of an ``.npy``, one a line.
        first_frame: For a folder with a ``VIDEO.npy`` for each video: number of the frame in its first row; the next
            row is the next frame. Rows are then joined by video and frame number.
        drop_extra: Whether rows of the file whose image is not in the table are left out.
        missing: ``"refuse"`` rows without features, or give them those of the nearest frame of the video
            (``"neighbour"``); the manifest names these rows.
        dtype: ``"float16"`` or ``"float32"``: type of the stored numbers.
        force: Whether stored features at `out` are replaced.
        progress: Called with the number of rows done and the number to do.

    Returns:
        The store.

    Raises:
        ConfigError: If an argument can't be used, or `out` can't be written.
        DataError: If the file is not what it must be, rows are missing, extra or repeated, or numbers are not finite.

    Warns:
        DataWarning: If rows are left out, or have the features of another frame.

    Example:
        >>> store = abawkit.open_features("features")
        >>> np.savez("theirs.npz", images=np.array(store.names), features=store.values)
        >>> abawkit.import_features("theirs.npz", "imported", data="curated").values.shape
        (229, 128)
    """
    from abawkit.inspection.output_kinds import FEATURES

    if missing not in get_args(Missing):
        raise ConfigError(f"missing '{printable(str(missing))}': expected {' or '.join(get_args(Missing))}")
    path, target = Path(file), Path(out)
    curated, listed, named = (Path(given) if given is not None else None for given in (data, frame_list, names))
    claim_output_folder(target, force=force, kind=FEATURES, inputs=[p for p in (path, curated, listed, named) if p])
    if (curated is None) == (listed is None):
        raise ConfigError("give --data for the rows of a curated set, or --list for those of a list")
    from abawkit.features.foreign_files import digest_foreign_features, read_foreign_features
    from abawkit.features.import_rows import import_rows, read_curated_images, read_listed_images

    table = read_curated_images(curated) if curated else read_listed_images(listed or Path(), format_name)
    parts = read_foreign_features(path, named, first_frame)
    return import_rows(
        parts,
        table.images,
        target,
        optional=table.optional,
        by_frame=first_frame is not None,
        drop_extra=drop_extra,
        missing=missing,
        dtype=dtype,
        source={"kind": "import", "path": str(path), "name": path.name, **digest_foreign_features(path)},
        frames=table.description,
        force=force,
        progress=progress,
    )


def _refuse_source(source: Path, device: str) -> SourceKind:
    """Refuses what can be no source, before torch is imported; the kind of what can."""
    from abawkit.features.onnx_description import read_onnx_description, refuse_absent_runtime
    from abawkit.features.source_kinds import find_source_kind
    from abawkit.prediction.sources import refuse_absent_networks

    kind = find_source_kind(source)
    if kind == "network":
        refuse_absent_networks([source])
    if kind == "onnx":
        refuse_absent_runtime(source)
        if device.startswith("cuda"):
            raise ConfigError(f"--device {device}: ONNX files run on the CPU; give cpu or auto")
        read_onnx_description(source.with_suffix(".toml"))
    return kind


def _load_source(source: Path, kind: SourceKind, device: torch.device) -> FeatureSource:
    from abawkit.features.extractors import load_network_source
    from abawkit.features.installed import load_installed_source
    from abawkit.features.onnx_source import load_onnx_source

    if kind == "network":
        return load_network_source(source, device)
    return load_onnx_source(source) if kind == "onnx" else load_installed_source(str(source))


def _find_frame_rows(
    curated: Path | None, listed: Path | None, given: FrameFolders | None, format_name: str
) -> FrameRows:
    from abawkit.features.frame_rows import CuratedRows, ListedRows

    if curated and not (listed or given):
        from abawkit.curation.curated_set import open_curated

        return CuratedRows(open_curated(curated))
    if curated or not given:
        raise ConfigError(
            "give --data for the frames of a curated set, --list and --frames for those of a list, or --frames alone "
            "for every image of a folder"
        )
    from abawkit.formats.base import get_format
    from abawkit.prediction.sources import ListedFrames, find_frames

    found = find_frames(listed, given, None, None, get_format(format_name))
    assert isinstance(found, ListedFrames)  # noqa: S101 - no split was given
    if not found.images:
        raise DataError(f"{listed}: lists no frame; nothing to extract")
    return ListedRows(found.path, found.root, found.images)


def _report_resumption(writer: StoreWriter) -> None:
    total = format_count(writer.manifest.rows, "row")
    if writer.resumed:
        warn(f"{writer.folder}: continues behind row {writer.resumed:,} of {total}, where an earlier call was stopped")
    elif writer.discarded:
        differing = ", ".join(writer.discarded[:5])
        warn(f"{writer.folder}: rows of an earlier call that was stopped are not used: it had other {differing}")

"""A folder of folds: a run for each fold, and what all of them were begun with; nothing here needs torch."""

import shutil
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field

from abawkit.choices import FoldsOver
from abawkit.curation.curated_set import open_curated
from abawkit.errors import ConfigError, DataError, DataWarning, printable
from abawkit.features.store import FeatureStore
from abawkit.frames.paths import make_frame_folders
from abawkit.run_names import FOLD_PREFIX, FOLDS_RECORD, OUT_OF_FOLD_NAME, RECIPE, REFIT_FOLDER
from abawkit.system.files import Kind, list_entries, refuse_folder, write_bytes, write_json
from abawkit.system.json_records import read_json
from abawkit.system.locks import LOCK
from abawkit.training.folds import ALL_ROWS, VideoFold, assign_folds, find_divided_rows, number_clips
from abawkit.training.recipe import read_recipe
from abawkit.training.run_files import RUN
from abawkit.training.start import Start

MAX_FOLDS: Final = 100

_OUT_OF_FOLD_FILES: Final = (f"{OUT_OF_FOLD_NAME}.npz", f"{OUT_OF_FOLD_NAME}.json")
_OWN_FILES: Final = {FOLDS_RECORD, RECIPE, LOCK, *_OUT_OF_FOLD_FILES}


class _FoldsPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _CuratedData(_FoldsPart):
    folder: str
    policy: str
    table_digest: str


class FoldSize(_FoldsPart):
    """What a fold holds: rows that the policy keeps, and the videos and clips that they are of."""

    rows: Annotated[int, Field(ge=0)]
    videos: Annotated[int, Field(ge=0)]
    clips: Annotated[int, Field(ge=0)]


class FoldsContent(_FoldsPart):
    """The content of ``folds.json``: what the folds were begun with, beside the recipe.

    Attributes:
        format: Version of its form.
        folds: How many.
        over: The rows that are divided.
        seed: Of the division.
        refit: Whether a network is trained on all of these rows, too.
        sizes: What each fold holds.
        data: The curated set.
        weights: Weights that every network starts from.
        frames: Folders of image files that frames are read from.
        follow_links: Whether links may lead out of these.
        features: Stores of features.
        threads: CPU threads; null for torch's own number.
        ops: The implementation of operators that is asked for by name.
        launcher: What started several processes, over restarts; empty for one.
    """

    format: Literal["abawkit.folds.1"] = "abawkit.folds.1"
    folds: Annotated[int, Field(ge=2, le=MAX_FOLDS)]
    over: FoldsOver
    seed: Annotated[int, Field(ge=0)]
    refit: bool
    sizes: list[FoldSize]
    data: _CuratedData
    weights: str | None
    frames: list[str] | None
    follow_links: bool
    features: list[str]
    threads: int | None
    ops: str | None
    launcher: str = ""

    def list_folds(self) -> list[VideoFold]:
        """The folds, from 1."""
        return [VideoFold(number, self.folds, self.over, self.seed) for number in range(1, self.folds + 1)]

    @property
    def all_rows(self) -> VideoFold:
        """What the network of `refit` is trained on."""
        return VideoFold(ALL_ROWS, self.folds, self.over, self.seed)


def read_folds(folder: Path) -> FoldsContent:
    """Reads ``folds.json``.

    Raises:
        DataError: If it is absent, or not what `begin_folds` writes.
    """
    return read_json(folder / FOLDS_RECORD, FoldsContent, "the record of a folder of folds")


def is_fold_folder(folder: Path) -> bool:
    """Whether folds were begun in a folder."""
    return (folder / FOLDS_RECORD).is_file()


def list_fold_runs(folder: Path, count: int) -> list[Path]:
    """The folders of the runs of folds, whether they are there or not."""
    return [folder / f"{FOLD_PREFIX}{number}" for number in range(1, count + 1)]


def refuse_fold_folder(path: Path, *, resume: bool, force: bool) -> None:
    """Refuses a folder that folds may not be written to, before any work is spent on them.

    Raises:
        ConfigError: If it holds anything else, or folds that are neither continued nor replaced; or is ``/`` or a home.
    """
    if not (resume or force) and list_entries(path) and not FOLD_FOLDER.difference(path):
        raise ConfigError(f"{path}: holds folds; --resume continues them, --force replaces them")
    refuse_folder(path, force=force or resume, kind=FOLD_FOLDER)


def divide_rows(start: Start, folds: int, over: FoldsOver, *, refit: bool) -> FoldsContent:
    """Divides the rows into folds; nothing is written.

    Args:
        start: From `abawkit.training.start.prepare_start`.
        folds: How many.
        over: The rows to divide.
        refit: Whether a network is trained on all of them, too.

    Raises:
        DataError: If there are fewer clips than folds.
    """
    inputs, curated = start.inputs, open_curated(start.inputs.data)
    rows, seed = find_divided_rows(curated, over), start.recipe.seed
    fold_of_row, clips = assign_folds(rows, folds, seed), number_clips(rows.annotations.videos)[0]
    own = [rows.kept & (fold_of_row == number) for number in range(1, folds + 1)]
    sizes = [
        FoldSize(
            rows=int(mask.sum()),
            videos=len(rows.annotations.select(mask).videos.unique()),
            clips=len(set(clips[mask].tolist())),
        )
        for mask in own
    ]
    frames = make_frame_folders(inputs.frames).resolve() if inputs.frames else None
    return FoldsContent(
        folds=folds,
        over=over,
        seed=seed,
        refit=refit,
        sizes=sizes,
        data=_CuratedData(folder=str(inputs.data.resolve()), policy=curated.policy, table_digest=curated.digest),
        weights=str(inputs.weights.resolve()) if inputs.weights else None,
        frames=[str(folder) for folder in frames.folders] if frames else None,
        follow_links=bool(frames and frames.follow_links),
        features=[str(folder.resolve()) for folder in inputs.features],
        threads=start.threads,
        ops=start.ops,
    )


def warn_of_seen_rows(content: FoldsContent) -> None:
    """Warns of features whose network was trained on the curated set: it has seen the rows of every fold.

    Warns:
        DataWarning: With the store of features.
    """
    for folder in content.features:
        if FeatureStore.open(Path(folder)).manifest.source.get("trained_on") == content.data.table_digest:
            warnings.warn(
                f"{printable(folder)}: features of a network that was trained on this curated set: it has seen the "
                "rows of each fold, and scores out of fold are too high. Judge on the validation split, or take "
                "features of a network that was trained on other data",
                DataWarning,
                stacklevel=3,
            )


def begin_folds(out: Path, start: Start, content: FoldsContent) -> None:
    """Writes down what the folds are begun with, in a locked folder; what an earlier command left is removed."""
    for entry in list_entries(out):
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
    recipe = tomllib.loads(start.recipe.to_toml())
    if "tasks" not in start.recipe.model_fields_set:
        del recipe["tasks"]  # a fold may lack the labels of one, which is an error only where that was named
    write_bytes(out / RECIPE, tomli_w.dumps(recipe).encode())
    _write_content(out, content)


def continue_folds(start: Start, out: Path, folds: int | None, over: FoldsOver | None, *, refit: bool) -> FoldsContent:
    """Checks that folds go on as they were begun.

    Args:
        start: Recipe and inputs, here and now.
        out: The folder.
        folds: How many are asked for; None for those that were begun.
        over: The rows that are to be divided; None for those that were.
        refit: Whether a network on all rows is asked for; it may be asked for later.

    Raises:
        ConfigError: If another number of folds, other rows or another recipe is asked for.
        DataError: If the curated set is another one.
    """
    from abawkit.training.resume import list_recipe_changes  # it needs torch

    content = read_folds(out)
    for option, asked, begun in (("--folds", folds, content.folds), ("--folds-over", over, content.over)):
        if asked is not None and asked != begun:
            raise ConfigError(f"{option} {asked}: the folds in {out} were begun with {begun}; leave it out")
    recipe = read_recipe(str(out / RECIPE)).to_toml()
    if changed := list_recipe_changes(recipe, start.recipe.to_toml()):
        advice = "to continue them as they were begun, give the same recipe, or none"
        raise ConfigError("\n".join(["these folds were begun with another recipe:", *changed, advice]))
    digest = open_curated(start.inputs.data).digest
    if digest != content.data.table_digest:
        raise DataError(
            f"these folds were begun on another curated set (digest {content.data.table_digest[:12]}, here "
            f"{digest[:12]}); give the --data that they were begun with, {content.data.folder} then"
        )
    if refit and not content.refit:
        content = content.model_copy(update={"refit": True})
        _write_content(out, content)
    return content


def select_rows_of(start: Start, fold: VideoFold) -> Start:
    """The start of one network: the same, on the rows of its fold."""
    return replace(start, inputs=replace(start.inputs, fold=fold))


def _write_content(out: Path, content: FoldsContent) -> None:
    write_json(out / FOLDS_RECORD, content.model_dump(mode="json"))


def _difference_from_folds(folder: Path) -> str:
    """Why a folder holds no folds; the empty string where it does."""
    entries = list_entries(folder)
    runs = [entry for entry in entries if _is_run_name(entry.name) and entry.is_dir()]
    begun = [e for e in entries if any(e.name.startswith(f".{name}.") for name in _OWN_FILES)]  # by a killed command
    if odd := [entry for entry in entries if entry not in runs and entry not in begun and entry.name not in _OWN_FILES]:
        return f"holds '{printable(odd[0].name)}'"
    if not {FOLDS_RECORD, LOCK} & {entry.name for entry in entries}:
        return f"holds no {FOLDS_RECORD}"
    return next((f"{run.name} {reason}" for run in runs if list_entries(run) and (reason := RUN.difference(run))), "")


def _is_run_name(name: str) -> bool:
    return name == REFIT_FOLDER or (name.startswith(FOLD_PREFIX) and name.removeprefix(FOLD_PREFIX).isdecimal())


FOLD_FOLDER: Final = Kind("a folder of folds", _difference_from_folds)

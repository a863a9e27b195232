"""How a run starts or goes on: what it is made of, and what is refused before torch is imported."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from abawkit.choices import TRACKERS
from abawkit.curation.curated_set import CURATED_TABLE, open_curated
from abawkit.errors import ConfigError, DataError, DataWarning
from abawkit.execution import refuse_operator
from abawkit.features.store import FeatureStore
from abawkit.frames.paths import FramesRoot, make_frame_folders, make_given_folders
from abawkit.models.weight_files import find_weights
from abawkit.run_names import CHECKPOINTS
from abawkit.system.files import refuse_home
from abawkit.system.launcher import read_launch
from abawkit.training.folds import VideoFold
from abawkit.training.recipe import Recipe, parse_recipe, read_recipe, refuse_repeated_keys
from abawkit.training.recipe_warnings import find_recipe_warnings
from abawkit.training.run_files import refuse_run_folder

if TYPE_CHECKING:  # it needs torch
    from abawkit.training.resume import Recorded


@dataclass(frozen=True)
class Inputs:
    """What a run is made of, beside its recipe.

    Attributes:
        data: Folder of the curated set.
        weights: Weights to start from: a file that abawkit wrote, the folder of a run, or published weights.
        frames: Folders of image files to read frames from, rather than from the packed store.
        features: Stores of features, which a sequence network reads in place of frames; or one, for the first stage of
            another network.
        fold: The rows that it is trained and scored on; None for the two splits.
    """

    data: Path
    weights: Path | None = None
    frames: FramesRoot | None = None
    features: tuple[Path, ...] = ()
    fold: VideoFold | None = None


@dataclass(frozen=True)
class Resume:
    """How a run is continued.

    Attributes:
        allow_drift: Whether it may go on where versions, hardware, threads or the operator's implementation differ, so
            that the result is not the one of a run that was not interrupted.
    """

    allow_drift: bool = False


@dataclass(frozen=True)
class Start:
    """A run that can start.

    Attributes:
        recipe: Every choice.
        inputs: Data, weights to start from, frames.
        threads: CPU threads, or None for torch's own number.
        ops: The implementation of the operator that is asked for by name, or None.
    """

    recipe: Recipe
    inputs: Inputs
    threads: int | None
    ops: str | None


def prepare_start(
    recipe: str | None,
    data: Path | None,
    out: Path | None,
    *,
    changes: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    tasks: Sequence[str] = (),
    weights: Path | None = None,
    frames: Sequence[Path] | None = None,
    follow_links: bool = False,
    features: Sequence[Path] = (),
    resume: bool = False,
    force: bool = False,
    dry_run: bool = False,
    log: Sequence[str] = (),
    ops: str | None = None,
    threads: int | None = None,
) -> Start:
    """Reads the recipe and finds the inputs; refuses what can't be trained on before torch is imported.

    What is not given is taken from the run in `out` that is to be continued.

    Args:
        recipe: A TOML file, or the name of a recipe that comes with abawkit.
        data: Folder of the curated set.
        out: The run's folder; None where nothing is written.
        changes: ``KEY=VALUE`` for keys of the recipe.
        seed: Random seed, instead of the recipe's.
        device: Instead of the recipe's.
        tasks: The only tasks to train, instead of the recipe's.
        weights: Weights to start from.
        frames: Folders of image files to read frames from.
        follow_links: Whether symbolic links may lead out of these folders.
        features: Stores of features, for a sequence network; or one, for the first stage of another network.
        resume: Whether `out` may hold a run, which is continued.
        force: Whether `out` may hold a run, which is replaced.
        dry_run: Whether nothing is written to `out`.
        log: Names of trackers.
        ops: The implementation of the operator.
        threads: CPU threads.

    Raises:
        ConfigError: If something is missing, contradicts the rest, or the folder can't be written.
        DataError: If a file or folder that is read is absent or not what it must be.
        OpUnavailableError: If no package registers the implementation of the operator.

    Warns:
        DataWarning: Of what is doubtful about the recipe of a new run.
    """
    settings = [*changes, *([f"seed={seed}"] if seed is not None else []), *([f"tasks={[*tasks]}"] if tasks else [])]
    settings += [f"device={device}"] if device is not None else []
    refuse_operator(ops)
    if unknown := [name for name in log if name not in TRACKERS]:
        raise ConfigError(f"--log {unknown[0]}: expected one of {', '.join(TRACKERS)}")
    recorded = _read_recorded(out) if out and resume else None
    resolved = _resolve(recipe, settings, recorded)
    given = make_given_folders(frames, follow_links)
    folder, source = data or (recorded and recorded.data), given or (recorded and recorded.frames)
    if follow_links and not given:
        raise ConfigError("--follow-links goes with --frames: packed frames have no links")
    if folder is None:
        raise ConfigError("give the folder of a curated set with --data")
    stores = tuple(features) or (recorded.features if recorded else ())
    fold = recorded.fold if recorded else None
    inputs = Inputs(folder, find_weights(weights) if weights else None, source, stores, fold)
    _check_features(resolved, inputs)
    if recorded is None:
        _check_recipe(resolved, inputs, settings)
    else:
        old_frames = recorded.frames.folders if recorded.frames and inputs.frames == recorded.frames else ()
        old_features = inputs.features if inputs.features == recorded.features else ()
        refuse_moved(None if data else inputs.data, old_frames, old_features)
    if out:
        refuse_home(out)
        _refuse_overlap(out, inputs)
    _refuse_absent(inputs)
    if out and not dry_run and _begins_here():
        refuse_run_folder(out, resume=resume, force=force)
    return Start(resolved, inputs, threads or (recorded and recorded.threads), ops or (recorded and recorded.ops))


def _begins_here() -> bool:
    """Whether this process makes the folder: the first of several, unless they were started again."""
    launch = read_launch()
    return launch.is_main and not launch.restarts


def _read_recorded(out: Path) -> "Recorded | None":
    if not (out / CHECKPOINTS).is_dir():
        return None
    from abawkit.training import resume

    return resume.read_recorded(out)


def _resolve(recipe: str | None, changes: Sequence[str], recorded: "Recorded | None") -> Recipe:
    refuse_repeated_keys(changes)
    if recipe:
        return read_recipe(recipe, changes)
    if recorded:
        return parse_recipe(recorded.recipe, "the recipe of this run", changes)
    raise ConfigError("give a recipe, as in: abawkit train demo --data curated --out runs/first")


def _check_recipe(recipe: Recipe, inputs: Inputs, changes: Sequence[str]) -> None:
    """Refuses other weights than the recipe starts from; warns of what is doubtful about a new run."""
    weights = inputs.weights
    recipe.check_start(weights)
    if inputs.features and not (recipe.is_sequence or weights):
        raise ConfigError("--features: give the weights that these were extracted with, too, with --weights")
    doubts = find_recipe_warnings(recipe, changes)
    if weights is None and recipe.heads.epochs:
        end = "heads.epochs=0" if recipe.all.epochs else "all.epochs=10"
        doubts.append(
            f"heads.epochs is {recipe.heads.epochs} and there are no weights to start from: in that stage the heads "
            f"learn on a frozen network of random numbers; give --weights, or --set {end}"
        )
    for doubt in doubts:
        warnings.warn(doubt, DataWarning, stacklevel=4)


def _check_features(recipe: Recipe, inputs: Inputs) -> None:
    """Refuses a sequence network without features, and features or frames that the network does not read."""
    if not recipe.is_sequence and inputs.features:
        _check_embeddings(recipe, inputs.features)
    if recipe.is_sequence and not inputs.features:
        raise ConfigError('network = "sequence" trains on features: give what `abawkit features` wrote with --features')
    if recipe.is_sequence and inputs.frames:
        raise ConfigError('network = "sequence" reads features in place of frames: leave --frames out')
    if len({folder.resolve() for folder in inputs.features}) < len(inputs.features):
        raise ConfigError("--features: a store is given twice; give each once")


def _check_embeddings(recipe: Recipe, features: Sequence[Path]) -> None:
    """Refuses features for a network that sees frames, unless its first stage can read them in place of frames."""
    if not recipe.heads.epochs:
        raise ConfigError(
            f"--features: {recipe.network} sees frames; --set network=sequence trains on features, and a first stage "
            "on the frozen network can (heads.epochs)"
        )
    if recipe.find_augmentation(recipe.heads).varies:
        raise ConfigError(
            "--features: the frames of the first stage are augmented, so that their features are others in each epoch; "
            "--set heads.augment=false"
        )
    if recipe.precision == "float64":
        raise ConfigError('--features: stored features have no more than 32 bits; leave precision = "float64" out')
    if len(features) > 1:
        raise ConfigError(f"--features: {recipe.network} has one embedding of a frame; give one store")


def refuse_moved(data: Path | None, frames: Sequence[Path], features: Sequence[Path]) -> None:
    """Asks for the new place of what a run was begun with, where that is no longer where it was.

    Args:
        data: Folder of the curated set that was begun with; None where another one is given, as for the others.
        frames: Folders of frames.
        features: Stores of features.

    Raises:
        DataError: If one of them is not there.
    """
    if data and not (data / CURATED_TABLE).is_file():
        raise DataError(
            f"{data}: the curated set that this run was begun with is no longer here; give its new place with --data"
        )
    for folder in frames:
        if not folder.is_dir():
            raise DataError(
                f"{folder}: the frames that this run was begun with are no longer here; give their new place with "
                "--frames and --allow-drift"
            )
    for folder in features:
        if not folder.is_dir():
            raise DataError(
                f"{folder}: the features that this run was begun with are no longer here; give their new place with "
                "--features"
            )


def _refuse_absent(inputs: Inputs) -> None:
    open_curated(inputs.data)
    if inputs.weights and not inputs.weights.exists():
        raise DataError(f"{inputs.weights}: no such file; give weights that abawkit wrote, or published ones (.pth)")
    for folder in inputs.features:
        FeatureStore.open(folder)
    for folder in make_frame_folders(inputs.frames).folders if inputs.frames else ():
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder of the frames with --frames")


def _refuse_overlap(out: Path, inputs: Inputs) -> None:
    target = out.resolve()
    frames = make_frame_folders(inputs.frames).folders if inputs.frames else ()
    for source in filter(None, (inputs.data, inputs.weights, *frames, *inputs.features)):
        if source.resolve().is_relative_to(target) or (source.is_dir() and target.is_relative_to(source.resolve())):
            raise ConfigError(f"--out {out}: would write where {source} is read from; give another folder")

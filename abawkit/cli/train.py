"""``abawkit train``, and its dry run."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abawkit.choices import TRACKERS, TrackerName
from abawkit.cli._command import command, needs, print_json, print_message
from abawkit.cli._options import (
    FollowLinks,
    Force,
    Json,
    Ops,
    Threads,
    complete_with,
    list_shipped_recipes,
    refuse_operator,
    set_threads,
)
from abawkit.cli._output import show_table
from abawkit.errors import ConfigError, DataError, printable
from abawkit.labels import TASKS

if TYPE_CHECKING:
    from abawkit.training.loop import Callbacks, StepInfo
    from abawkit.training.recipe import Recipe
    from abawkit.training.resume import Recorded
    from abawkit.training.run import Inputs, Trained
    from abawkit.training.trackers import Trackers


def show_dry_run(recipe: "Recipe", inputs: "Inputs", as_json: bool) -> None:
    """Runs one batch and shows what the whole run would take."""
    from abawkit.training.dry_run import dry_run

    found = dry_run(recipe, inputs)
    if as_json:
        print_json(found.as_dict())
        return
    gib = f"{found.peak_memory / 2**30:.2f} GiB"
    made_by = found.environment
    rows = [
        ("network", f"{recipe.network}, {found.parameters:,} parameters, {found.trainable:,} trained"),
        ("rows", f"{found.rows:,} training, {found.validation_rows:,} validation"),
        ("device", f"{made_by['device']}, {made_by['threads']} threads"),
        ("operator", ", ".join(made_by["ops"].values())),
        ("first batch", ", ".join(f"{name} {value:.3f}" for name, value in found.losses.items())),
        ("peak memory", gib),
        ("speed", f"{found.images_per_second:.0f} images/s, {found.validation_images_per_second:.0f} in validation"),
        ("checkpoint", f"{found.checkpoint_bytes / 2**20:.1f} MiB, {recipe.checkpoints.keep} are kept"),
        ("steps", f"{found.steps:,} of {recipe.batch_size}"),
        ("time", str(timedelta(seconds=round(found.seconds)))),
    ]
    show_table("Dry run: nothing was written", ["what", "found"], rows)


@command
@needs("log", "!dry_run")
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="TOML file, or the name of a recipe that comes with abawkit.",
            autocompletion=complete_with(list_shipped_recipes),
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the curated set.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the run.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe, as losses.au=0.5; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's seed.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1, or auto; instead of the recipe's.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="va|expression|au",
            help="Train this task alone; repeat for two of them.",
            autocompletion=complete_with(lambda: list(TASKS)),
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Start from a file of weights, the folder of a run, or published ones (.pth)."),
    ] = None,
    frames: Annotated[
        list[Path] | None,
        typer.Option("--frames", help="Decode frames from this folder, not from the packed store; repeatable."),
    ] = None,
    follow_links: FollowLinks = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, bit for bit, if there is one.")
    ] = False,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="With --resume: under other versions, threads or hardware too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="One batch; print parameters, memory, speed, time needed; write nothing.")
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            "--log",
            metavar="|".join(TRACKERS),
            help="Log to this tracker too (an extra); repeatable.",
            autocompletion=complete_with(lambda: list(TRACKERS)),
        ),
    ] = None,
    ops: Ops = None,
    threads: Threads = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a network on a curated set.

    The run folder gets recipe.toml (with every default), manifest.json, metrics.jsonl (a line an epoch),
    best.safetensors, last.safetensors and checkpoints/. Recipes that come with abawkit: demo, baseline, paper.

    Ctrl-C, SIGTERM and SIGHUP end it after a step, with all that is needed to continue. Several processes:
    torchrun --nproc-per-node 2 -m abawkit train ...

    Example: abawkit train demo --data curated --out runs/first --set all.epochs=4
    """
    from abawkit.frames.paths import list_given_folders
    from abawkit.models.weight_files import find_weights
    from abawkit.system.files import refuse_home
    from abawkit.training.run import Inputs
    from abawkit.training.run_files import refuse_run_folder

    if dry_run and (resume or force):
        raise ConfigError("--dry-run writes nothing: give it without --resume and --force")
    if resume and force:
        raise ConfigError("--resume continues a run and --force replaces it; give one of them")
    if allow_drift and not resume:
        raise ConfigError("--allow-drift goes with --resume")
    if out is None and not dry_run:
        raise ConfigError("give the folder for the run with --out")
    settings = list(changes or [])
    settings += [f"seed={seed}"] if seed is not None else []
    settings += [f"tasks={tasks}"] if tasks else []
    settings += [f"device={device}"] if device is not None else []
    refuse_operator(ops)
    trackers = _trackers(log or [])
    begun = _read_begun_run(out) if out and resume else None
    resolved = _recipe(recipe, settings, begun)
    folder, source = (
        data or (begun and begun.data),
        list_given_folders(frames, follow_links) or (begun and begun.frames),
    )
    if follow_links and not frames:
        raise ConfigError("--follow-links goes with --frames: packed frames have no links")
    if folder is None:
        raise ConfigError("give the folder of a curated set with --data")
    inputs = Inputs(folder, find_weights(weights) if weights else None, source)
    if begun is None:
        _check_start(resolved, inputs.weights, settings)
    else:
        _refuse_moved(inputs, data, begun)
    if out:
        refuse_home(out)
        _refuse_overlap(out, inputs)
    _refuse_absent(inputs)
    if out and not dry_run and _is_begun_here():
        refuse_run_folder(out, resume=resume, force=force)

    from abawkit.ops import use

    set_threads(threads or (begun.threads if begun else None))
    asked = ops or (begun and begun.ops)
    with use(asked, said=f"--ops {asked}"):
        if out is None or dry_run:
            show_dry_run(resolved, inputs, as_json)
        else:
            options = {"resume": resume, "allow_drift": allow_drift, "force": force, "as_json": as_json}
            _run(resolved, inputs, out, trackers, **options)


def _refuse_moved(inputs: "Inputs", data: Path | None, begun: "Recorded") -> None:
    """Asks for the new place of what a run was begun with, where that is no longer where it was."""
    from abawkit.curation.curated_set import TABLE

    if data is None and not (inputs.data / TABLE).is_file():
        raise DataError(
            f"{inputs.data}: the curated set that this run was begun with is no longer here; give its new place with "
            "--data"
        )
    for folder in begun.frames.folders if begun.frames and inputs.frames == begun.frames else ():
        if not folder.is_dir():
            raise DataError(
                f"{folder}: the frames that this run was begun with are no longer here; give their new place with "
                "--frames and --allow-drift"
            )


def _read_begun_run(out: Path) -> "Recorded | None":
    """What the run in a folder was begun with: what isn't given again is taken from there."""
    from abawkit.training.run_files import CHECKPOINTS

    if not (out / CHECKPOINTS).is_dir():
        return None
    from abawkit.training.resume import read_recorded

    return read_recorded(out)


def _recipe(recipe: str | None, settings: list[str], begun: "Recorded | None") -> "Recipe":
    from abawkit.training.recipe import parse_recipe, read_recipe, refuse_repeated_keys

    refuse_repeated_keys(settings)
    if recipe:
        return read_recipe(recipe, settings)
    if begun:
        return parse_recipe(begun.recipe, "the recipe of this run", settings)
    raise ConfigError("give a recipe, as in: abawkit train demo --data curated --out runs/first")


def _check_start(recipe: "Recipe", weights: Path | None, settings: list[str]) -> None:
    """Refuses other weights than the recipe starts from; says what is doubtful about a new run."""
    from abawkit.training.recipe_warnings import find_recipe_warnings

    recipe.check_start(weights)
    for line in find_recipe_warnings(recipe, settings):
        print_message(f"warning: {line}")
    if weights is None and recipe.heads.epochs:
        end = "heads.epochs=0" if recipe.all.epochs else "all.epochs=10"
        print_message(
            f"warning: heads.epochs is {recipe.heads.epochs} and there are no weights to start from: in that stage the "
            f"heads learn on a frozen network of random numbers; give --weights, or --set {end}"
        )


def _trackers(names: list[str]) -> list[TrackerName]:
    known = [name for name in TRACKERS if name in names]
    if unknown := [name for name in names if name not in TRACKERS]:
        raise ConfigError(f"--log {unknown[0]}: expected one of {', '.join(TRACKERS)}")
    return known


def _is_begun_here() -> bool:
    """Whether this process makes the folder: of those of ``torchrun`` the first, unless it was started again."""
    return os.environ.get("RANK", "0") == "0" and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"


def _refuse_absent(inputs: "Inputs") -> None:
    """Names what is not there, or can't be read, before torch is imported."""
    from abawkit.curation import open_curated
    from abawkit.frames.paths import make_frame_folders

    open_curated(inputs.data)
    if inputs.weights and not inputs.weights.exists():
        raise DataError(f"{inputs.weights}: no such file; give weights that abawkit wrote, or published ones (.pth)")
    for folder in make_frame_folders(inputs.frames).folders if inputs.frames else ():
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give the folder of the frames with --frames")


def _refuse_overlap(out: Path, inputs: "Inputs") -> None:
    from abawkit.frames.paths import make_frame_folders

    target = out.resolve()
    frames = make_frame_folders(inputs.frames).folders if inputs.frames else ()
    for source in filter(None, (inputs.data, inputs.weights, *frames)):
        if source.resolve().is_relative_to(target) or (source.is_dir() and target.is_relative_to(source.resolve())):
            raise ConfigError(f"--out {out}: would write where {source} is read from; give another folder")


def _run(
    recipe: "Recipe",
    inputs: "Inputs",
    out: Path,
    trackers: list[TrackerName],
    *,
    resume: bool,
    allow_drift: bool,
    force: bool,
    as_json: bool,
) -> None:
    from abawkit.cli._output import show_training
    from abawkit.models.devices import use_deterministic_algorithms
    from abawkit.system.signals import stop_on_signals
    from abawkit.training.distributed import join_processes
    from abawkit.training.loop import Callbacks
    from abawkit.training.resume import find_begun_run
    from abawkit.training.run import Resume, find_operator, find_operators, train
    from abawkit.training.run_folder import run_folder
    from abawkit.training.trackers import Trackers

    with ExitStack() as stack:
        stack.enter_context(use_deterministic_algorithms(recipe.device))  # before anything is computed
        processes = stack.enter_context(join_processes(recipe.device))
        again = resume or find_begun_run(out, processes)
        callbacks = Callbacks()
        with find_operator(recipe, processes):
            find_operators(recipe)  # ends here if it can't run, before there is a folder
        if processes.is_main:
            stack.enter_context(run_folder(out, resume=again, force=force))
            tracked = stack.enter_context(Trackers(trackers, out, recipe.model_dump(mode="json"), resumed=again))
            epochs = recipe.heads.epochs + recipe.all.epochs
            callbacks = _make_callbacks(stack.enter_context(show_training()), tracked, epochs)
        how = Resume(allow_drift) if again else None
        result = train(
            recipe, inputs, out, resume=how, processes=processes, stopping=stop_on_signals(), callbacks=callbacks
        )
    if processes.is_main:
        _show(result, as_json)


def _make_callbacks(show: "Callable[[StepInfo], None] | None", trackers: "Trackers", epochs: int) -> "Callbacks":
    from abawkit.cli._output import report_epoch
    from abawkit.training.loop import Callbacks

    def on_step(moment: "StepInfo") -> None:
        if show:
            show(moment)
        losses = {f"losses/{name}": value for name, value in moment.losses.items()}
        rates = {"learning_rate": moment.learning_rate, "images_per_second": moment.images_per_second}
        trackers.log({**losses, **rates}, moment.steps)

    def on_epoch(line: dict[str, Any]) -> None:
        report_epoch(line, epochs)
        scores = {f"validation/{p}/{k}": v for p in ("official", "strict") for k, v in line.get(p, {}).items()}
        scored = {name: value for name, value in scores.items() if value is not None}
        trackers.log({**scored, "validation/figure": line["figure"]}, line["steps"])

    return Callbacks(on_step, on_epoch)


def _show(result: "Trained", as_json: bool) -> None:
    if as_json:
        scores = {str(protocol): score.report() for protocol, score in result.scores.items()}
        content: dict[str, Any] = {"out": str(result.out), "tasks": list(result.tasks)}
        content |= {"best_epoch": result.best_epoch, "figure": result.best_score}
        resumed = str(result.resumed) if result.resumed else None
        print_json({**content, "seconds": round(result.seconds, 1), "resumed": resumed, "validation": scores})
        return
    from abawkit.cli._output import show_table, stdout

    scored = next(iter(result.scores.values())).tasks
    parts = {"va": ("CCC", "ccc_va"), "expression": ("EXPR", "expression_f1"), "au": ("AU", "au_f1")}
    columns = dict(parts[task] for task in TASKS if task in scored)
    columns |= {"P": "score"} if len(columns) == len(TASKS) else {}
    rows = [
        (protocol, *(f"{getattr(score, key):.4f}" for key in columns.values()))
        for protocol, score in result.scores.items()
    ]
    show_table(f"Validation, best epoch {result.best_epoch}", ["protocol", *columns], rows)
    if untrained := [task for task in TASKS if task not in result.tasks]:
        print(f"not trained: {', '.join(untrained)}; predict takes this network for {', '.join(result.tasks)} alone")
    stdout().print(printable(f"written: {result.out} ({result.seconds:.0f} s)"))

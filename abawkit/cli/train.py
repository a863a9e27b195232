"""``abawkit train``, and its dry run."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from abawkit.choices import TRACKERS, FoldsOver
from abawkit.cli._command import command, needs, print_json, print_message, print_next_step
from abawkit.cli._options import FollowLinks, Force, Json, Ops, Threads, complete_with, list_shipped_recipes
from abawkit.errors import ConfigError, printable
from abawkit.labels import TASKS
from abawkit.run_names import RUN_REPORT
from abawkit.system.launcher import read_launch

if TYPE_CHECKING:
    from abawkit.training.run import Trained


@command
@needs("log", "!dry_run")
@needs("max_minutes", "!dry_run")
@needs("hang_timeout", "!dry_run")
@needs("stage", "!dry_run")
@needs("folds", "!dry_run")
@needs("folds_over", "folds|resume")
@needs("refit", "folds|resume")
@needs("with_frames", "!dry_run")
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
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Random seed; overrides the recipe.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda, cuda:1, or auto; instead of the recipe's.")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            metavar="va|expression|au",
            help="Train only this task; can be repeated.",
            autocompletion=complete_with(lambda: list(TASKS)),
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Start from a file of weights, the folder of a run, or published ones (.pth)."),
    ] = None,
    frames: Annotated[
        list[Path] | None,
        typer.Option("--frames", help="Decode frames from this folder instead of the packed frames; can be repeated."),
    ] = None,
    follow_links: FollowLinks = False,
    features: Annotated[
        list[Path] | None,
        typer.Option(
            "--features",
            metavar="STORE",
            help="Features that a sequence network reads in place of frames; repeatable: side by side. For other "
            "networks, those of --weights: their first stage reads them.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(min=2, max=100, help="Train so many networks, each on the videos of all folds but one."),
    ] = None,
    folds_over: Annotated[
        FoldsOver | None, typer.Option("--folds-over", help="The rows that the folds divide; default: train.")
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="With --folds: train a network on all rows, too, for the folds' median best epoch."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out, bit for bit, if there is one.")
    ] = False,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="With --resume: continue under other versions, threads or hardware.")
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
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", help="Save a checkpoint and end with exit code 75 after this time."),
    ] = None,
    hang_timeout: Annotated[
        float | None,
        typer.Option(
            "--hang-timeout",
            metavar="SECONDS",
            help="End with exit code 76 and the stacks of all threads if no step ends for so long; default: never.",
        ),
    ] = None,
    stage: Annotated[
        bool,
        typer.Option("--stage", help="Copy packed frames or features to TMPDIR first, and read them there."),
    ] = False,
    ops: Ops = None,
    threads: Threads = None,
    with_frames: Annotated[
        bool,
        typer.Option("--with-frames", help="Show validation frames in the report, too; synthetic ones always are."),
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a network on a curated set.

    The run folder gets recipe.toml (with every default), manifest.json, metrics.jsonl (a line an epoch),
    best.safetensors, last.safetensors and checkpoints/; for the eye, results.png after each epoch, batches.png (frames
    as augmented) and report.html. Recipes that come with abawkit: demo, baseline, paper, and
    sequence-frame, sequence-bigru, sequence-tcn for heads over time on --features.

    With --folds, the folder gets such a run for each fold, fold-1 and so on, and out-of-fold.npz: the probabilities of
    every row by the network that has not seen its video, for tune, calibrate and ensemble. predict takes the folder as
    the ensemble of its folds.

    Ctrl-C, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 and a file called STOP in the run folder end it after a step, with all
    that is needed to continue. Several processes: torchrun --nproc-per-node 2 -m abawkit train ...

    Example: abawkit train demo --data curated --out runs/first --set all.epochs=4
    """
    given: dict[str, Any] = {
        "changes": changes or [],
        "seed": seed,
        "device": device,
        "tasks": tasks or [],
        "weights": weights,
        "frames": frames,
        "follow_links": follow_links,
        "features": features or [],
        "ops": ops,
        "threads": threads,
    }
    if dry_run:
        if resume or force:
            raise ConfigError("--dry-run writes nothing: give it without --resume and --force")
        _show_dry_run(recipe, data, out, given, as_json)
        return
    if out is None:
        raise ConfigError("give the folder for the run with --out")

    from abawkit import api
    from abawkit.cli._output import report_epoch, show_training

    is_main = read_launch().is_main
    names: Any = log or []  # what is no tracker is refused below
    with show_training() if is_main else nullcontext() as on_step:
        result = api.train(
            recipe,
            data,
            out,
            **given,
            folds=folds,
            folds_over=folds_over,
            refit=refit,
            resume=resume,
            allow_drift=allow_drift,
            log=names,
            max_minutes=max_minutes,
            hang_timeout=hang_timeout,
            stage=stage,
            with_frames=with_frames,
            force=force,
            on_run=print_message,
            on_step=on_step,
            on_epoch=report_epoch,
        )
    if not is_main:
        return
    if result.folds:
        from abawkit.cli._folds import show_folds

        show_folds(result, as_json=as_json)
    else:
        _show(result, as_json)
    if data and not as_json:
        _name_next_step(result, data, (features or []) if result.sequence else [])


def _show(result: "Trained", as_json: bool) -> None:
    from abawkit.cli._output import show_table

    if as_json:
        scores = {str(protocol): score.report() for protocol, score in result.scores.items()}
        content: dict[str, Any] = {"out": str(result.out), "tasks": list(result.tasks)}
        content |= {"best_epoch": result.best_epoch, "figure": result.best_score}
        resumed = str(result.resumed) if result.resumed else None
        goodput = result.goodput.as_dict() if result.goodput else None
        content |= {"seconds": round(result.seconds, 1), "goodput": goodput, "resumed": resumed}
        report = result.out / RUN_REPORT
        print_json({**content, "report": str(report) if report.is_file() else None, "validation": scores})
        return
    from abawkit.cli._output import stdout
    from abawkit.cli._tables import name_score_parts

    parts = name_score_parts([task for task in TASKS if task in next(iter(result.scores.values())).tasks])
    parts = {part: heading for part, heading in parts.items() if heading != "sum"}
    rows = [(protocol, *(f"{getattr(score, part):.4f}" for part in parts)) for protocol, score in result.scores.items()]
    show_table(f"Validation, best epoch {result.best_epoch}", ["protocol", *parts.values()], rows)
    if untrained := [task for task in TASKS if task not in result.tasks]:
        print(f"not trained: {', '.join(untrained)}; predict takes this network for {', '.join(result.tasks)} alone")
    if result.goodput:
        print(result.goodput.describe())
    stdout().print(printable(f"written: {result.out} ({result.seconds:.0f} s)"))
    if (result.out / RUN_REPORT).is_file():
        print(printable(f"report: {result.out / RUN_REPORT}; open it in a browser"))


def _name_next_step(result: "Trained", data: Path, features: list[Path]) -> None:
    given = [word for store in features for word in ("--features", store)]
    if result.folds and result.probabilities:
        truth = ["--truth", data, "--split", result.folds_over]
        print_next_step("tune", result.probabilities, *truth, "--out", result.out / "rule.json")
    else:
        answers = result.out.with_name(f"{result.out.name}.txt")
        print_next_step("predict", result.out, "--split", "validation", "--data", data, *given, "--out", answers)


def _show_dry_run(
    recipe: str | None, data: Path | None, out: Path | None, given: dict[str, Any], as_json: bool
) -> None:
    """Runs one batch and shows what the whole run would take."""
    from abawkit.cli._output import show_table
    from abawkit.execution import cpu_threads
    from abawkit.training.start import prepare_start

    start = prepare_start(recipe, data, out, **given, dry_run=True)
    from abawkit.ops import use
    from abawkit.training.dry_run import dry_run

    with cpu_threads(start.threads), use(start.ops, source=f"--ops {start.ops}"):
        found = dry_run(start.recipe, start.inputs)
    if as_json:
        print_json(found.as_dict())
        return
    gib = f"{found.peak_memory / 2**30:.2f} GiB"
    made_by = found.environment
    rows = [
        ("network", f"{start.recipe.network}, {found.parameters:,} parameters, {found.trainable:,} trained"),
        ("rows", f"{found.rows:,} training, {found.validation_rows:,} validation"),
        ("device", f"{made_by['device']}, {made_by['threads']} threads"),
        ("operator", ", ".join(made_by["ops"].values()) or "none"),
        ("first batch", ", ".join(f"{name} {value:.3f}" for name, value in found.losses.items())),
        ("peak memory", gib),
        ("speed", f"{found.images_per_second:.0f} images/s, {found.validation_images_per_second:.0f} in validation"),
        ("checkpoint", f"{found.checkpoint_bytes / 2**20:.1f} MiB, {start.recipe.checkpoints.keep} are kept"),
        ("steps", f"{found.steps:,} of {start.recipe.batch_size}"),
        *([("first stage", found.first_stage)] if found.first_stage else []),
        ("time", str(timedelta(seconds=round(found.seconds)))),
    ]
    show_table("Dry run: nothing was written", ["what", "found"], rows)

"""The commands, in the order in which they are used."""

from collections.abc import Callable
from typing import Annotated

import typer

import abawkit
from abawkit.cli._command import App
from abawkit.cli.ablate import ablate
from abawkit.cli.bench import bench
from abawkit.cli.calibrate import calibrate
from abawkit.cli.check import check
from abawkit.cli.compare import compare
from abawkit.cli.curate import curate
from abawkit.cli.demo import demo
from abawkit.cli.doctor import doctor
from abawkit.cli.ensemble import ensemble
from abawkit.cli.explain import explain
from abawkit.cli.export import export
from abawkit.cli.features import features
from abawkit.cli.import_weights import import_weights
from abawkit.cli.inspect import inspect
from abawkit.cli.leaderboard import leaderboard
from abawkit.cli.ops import ops
from abawkit.cli.predict import predict
from abawkit.cli.recipes import recipes
from abawkit.cli.review import review
from abawkit.cli.score import score
from abawkit.cli.smooth import smooth
from abawkit.cli.submissions import submissions
from abawkit.cli.submit import submit
from abawkit.cli.synth import synth
from abawkit.cli.train import train
from abawkit.cli.tune import tune

app = App(
    help="From a release of the ABAW challenge to a checked submission and its score.",
    epilog="Start with: abawkit demo",
    no_args_is_help=True,
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"abawkit {abawkit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version  # done by its callback


_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "From a release to a submission": (synth, curate, train, import_weights, predict, check, score, export),
    "Post-processing": (ensemble, smooth, calibrate, tune),
    "Submissions": (submit, compare),
    "Inspection": (inspect, review, explain, leaderboard, ablate),
}

app.command(rich_help_panel="From a release to a submission")(demo)
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(no_args_is_help=_command not in (ablate, leaderboard), rich_help_panel=_panel)(_command)
app.command(rich_help_panel="Inspection")(recipes)
app.add_typer(features, name="features", rich_help_panel="From a release to a submission", no_args_is_help=True)
app.add_typer(submissions, name="submissions", rich_help_panel="Submissions")
app.command(rich_help_panel="Inspection")(doctor)
app.command(rich_help_panel="Inspection")(bench)
app.add_typer(ops, name="ops", rich_help_panel="Inspection")

"""The commands, in the order in which they are used."""

from typing import Annotated

import typer

import abawkit
from abawkit.cli.check import check
from abawkit.cli.curate import curate
from abawkit.cli.demo import demo
from abawkit.cli.doctor import doctor
from abawkit.cli.import_weights import import_weights
from abawkit.cli.inspect import inspect
from abawkit.cli.ops import ops
from abawkit.cli.predict import predict
from abawkit.cli.score import score
from abawkit.cli.synth import synth
from abawkit.cli.train import train

app = typer.Typer(
    help="From a release of the ABAW challenge to a checked submission and its honest score.",
    epilog="Start with: abawkit demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"abawkit {abawkit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version  # done by its callback


app.command()(demo)
for command in (synth, curate, train, import_weights, predict, check, score, inspect):
    app.command(no_args_is_help=True)(command)
app.command()(doctor)
app.add_typer(ops, name="ops")

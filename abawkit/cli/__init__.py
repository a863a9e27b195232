"""The command line: one file a command, each thin over one documented function.

Nothing here imports numpy, torch or rich before a command needs it: ``abawkit --help`` answers at once.
"""

from abawkit.cli.app import app


def main() -> None:
    """Entry point of ``abawkit``."""
    app(prog_name="abawkit")


__all__ = ["app", "main"]

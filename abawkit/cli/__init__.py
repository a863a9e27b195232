"""The command line: one file a command, each thin over one documented function.

Nothing here imports numpy, torch or rich before a command needs it: ``abawkit --help`` answers at once.
"""

import sys

from abawkit.cli._streams import NOT_WRITTEN, READER_GONE, exit_code, finish_streams, prepare_streams, report_unwritten
from abawkit.cli.app import app
from abawkit.system.waiting_threads import shorten_spinning


def main() -> None:
    """Entry point of ``abawkit``."""
    prepare_streams()
    shorten_spinning()
    code = 0
    try:
        app(prog_name="abawkit")
    except SystemExit as end:
        code = exit_code(end)
    except BrokenPipeError:
        code = READER_GONE
    except OSError as error:  # of a help page, or of installing completion: commands have met their own
        report_unwritten(error)
        code = NOT_WRITTEN
    sys.exit(finish_streams(code))


__all__ = ["app", "main"]

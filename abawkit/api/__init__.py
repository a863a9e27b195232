"""Every step from a release to a score as a Python function; the command line calls the same functions.

- A path is a `str` or a `pathlib.Path`.
- Arguments have the defaults and the names of the command line's options, but for ``frame_list`` (``--list``),
  ``format_name`` (``--format``) and ``changes`` (``--set``). Messages use the option's name: for ``--max-missing``,
  change ``max_missing``.
- Output is written whole or not at all, and replaces what is there only with ``force=True``.
- Errors that you can correct are an `abawkit.errors.AbawkitError`, and the message says how; the docstrings below say
  which. Input that was accepted but looks wrong is reported as an `abawkit.errors.DataWarning`.
"""

from abawkit.api.data import curate, open_curated, review_labels, write_release
from abawkit.api.features import extract_features, import_features, open_features
from abawkit.api.networks import leaderboard, predict, train
from abawkit.api.scores import compare, score, tune

__all__ = [
    "compare",
    "curate",
    "extract_features",
    "import_features",
    "leaderboard",
    "open_curated",
    "open_features",
    "predict",
    "review_labels",
    "score",
    "train",
    "tune",
    "write_release",
]

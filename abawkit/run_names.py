"""Names of the files and folders of a run, and of the manifest of a synthetic release."""

from typing import Final

RECIPE: Final = "recipe.toml"
MANIFEST: Final = "manifest.json"
METRICS: Final = "metrics.jsonl"
BEST: Final = "best.safetensors"
"""The weights of a run folder that others start from."""
LAST: Final = "last.safetensors"
STOP: Final = "STOP"
"""A file of this name, whatever is in it, stops the run as a signal does; the run removes it."""
TIMING: Final = "timing.json"
"""Where the time of an unfinished run goes, for what continues it; the manifest of a finished run has it."""
RESULTS_PICTURE: Final = "results.png"
BATCHES_PICTURE: Final = "batches.png"
RUN_REPORT: Final = "report.html"
PICTURES: Final = (RESULTS_PICTURE, BATCHES_PICTURE, RUN_REPORT)
"""What a run shows to a person; nothing depends on them."""
WRITTEN: Final = (RECIPE, MANIFEST, METRICS, BEST, LAST, TIMING, *PICTURES)

CHECKPOINTS: Final = "checkpoints"
STATE: Final = "state.pt"
NETWORK: Final = "network.safetensors"
AVERAGE: Final = "average.safetensors"
"""`CHECKPOINTS` holds a folder for each checkpoint, with the other three and a `MANIFEST`."""

FOLDS_RECORD: Final = "folds.json"
"""What a folder of folds was begun with; beside it is a run for each fold."""
FOLD_PREFIX: Final = "fold-"
"""What a fold's number follows in the name of its run."""
REFIT_FOLDER: Final = "refit"
"""The run on the rows of all folds."""
OUT_OF_FOLD_NAME: Final = "out-of-fold"
"""Stem of the stored probabilities, and of their manifest."""

SYNTHETIC_MANIFEST: Final = "release.json"
"""Only in a release that `abawkit.synth` wrote: how it was made."""

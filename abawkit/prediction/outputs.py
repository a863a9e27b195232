"""The three files of a prediction, and reading the probabilities back."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from abawkit.errors import ConfigError, DataError
from abawkit.tables import Array, Predictions


def outputs(out: Path) -> tuple[Path, Path, Path]:
    """The official file, and the probabilities and the manifest that lie beside it.

    Raises:
        ConfigError: If the three would not be three files.
    """
    if not out.name:
        raise ConfigError(f"{out}: is a folder; give the path of the file to write")
    paths = out, out.with_suffix(".npz"), out.with_suffix(".json")
    if len(set(paths)) < 3:
        raise ConfigError(
            f"{out}: .npz and .json are kept for what lies beside the submission; name it predictions.txt"
        )
    return paths


def read_probabilities(path: Path) -> Predictions:
    """Reads the probabilities that `predict` wrote.

    Raises:
        DataError: If the file is not one of these.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            columns: dict[str, Array] = {name: file[name] for name in ("images", "va", "expression", "au")}
        return Predictions(pa.array(columns.pop("images").tolist(), pa.string()), **columns)
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: does not hold probabilities ({error}); run `abawkit predict` again") from error

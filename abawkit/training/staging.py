"""Copies what a run reads again and again, packed frames and features, to a disk of the machine that it runs on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from abawkit.curation.curated_set import FRAMES_FOLDER
from abawkit.errors import ConfigError
from abawkit.features.store import FeatureStore
from abawkit.frames.packed import PackedFrames
from abawkit.system.staging import StageFile, find_stage_folder, stage_files
from abawkit.training.start import Start


@contextmanager
def stage_inputs(start: Start, *, on_copy: Callable[[str], None] | None = None) -> Iterator[None]:
    """Within the block, packed frames and features of a run are read from copies; see `stage_files`.

    Args:
        start: The run.
        on_copy: Called with a line of text before this process copies a file.

    Raises:
        ConfigError: If frames are read from image files, or there is no disk of this machine for temporary files.
        DataError: If frames or features are absent or damaged, or there is not enough space.
    """
    inputs = start.inputs
    if inputs.frames:
        raise ConfigError("--stage copies packed frames and features; with --frames, images are read where they are")
    files: list[StageFile] = []
    for folder in inputs.features:
        files += FeatureStore.open(folder).list_arrays()
    if not start.recipe.is_sequence:
        files += PackedFrames.open(inputs.data / FRAMES_FOLDER).list_files()
    with stage_files(files, find_stage_folder(), on_copy=on_copy):
        yield

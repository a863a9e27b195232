"""What curating, checking and scoring labels cost, as multiples of pandas reading the same files.

    python benchmarks/labels.py --release FOLDER [--rounds 7]

All figures of one ratio come from interleaved rounds in one process.
"""

import argparse
import gzip
import os
import platform
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from abawkit.curation import Sources, curate
from abawkit.curation.release import TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS
from abawkit.errors import DataWarning
from abawkit.formats.editions import ABAW7
from abawkit.scoring.matching import score_file
from abawkit.synth import write_release
from abawkit.tables import FrameList, Submission

LIST = "MTL.txt"
TARGETS = {"curate": 6.0, "check": 4.0, "score": 4.0}


def unpack(release: Path, folder: Path) -> None:
    """Puts the three text files of a release into a folder, unpacked."""
    for name in (TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS, LIST):
        plain = release / name
        packed = release / f"{name}.gz"
        (folder / name).write_bytes(plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes()))


def answers(frames: FrameList, seed: int) -> Submission:
    """Random decisions for every row of a list."""
    rng = np.random.default_rng(seed)
    count = len(frames)
    return Submission(
        images=pa.array(frames.images),
        va=np.round(rng.uniform(-1, 1, (count, 2)), 6),
        expression=rng.integers(0, 8, count, dtype=np.int8),
        au=rng.integers(0, 2, (count, 12), dtype=np.int8),
    )


def measure(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each piece of work, in interleaved rounds after one to warm up."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def processor() -> str:
    """Model of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def read_with_pandas(*paths: Path) -> None:
    """What everything is compared with: the files, read into data frames and nothing checked."""
    for path in paths:
        pd.read_csv(path, header=None, skiprows=1)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--release", type=Path, help="folder with the three text files, plain or .gz; by default a large one is drawn"
    )
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.release:
            unpack(options.release, folder)
        else:
            write_release(folder / "drawn", size="large", labels_only=True)
            for path in (TRAIN_ANNOTATIONS, VALIDATION_ANNOTATIONS, f"test_set_examples/{LIST}"):
                shutil.copy(folder / "drawn" / path, folder)
        frames = ABAW7().read_list(folder / LIST)
        submission, truth, out = folder / "submission.txt", folder / "truth.txt", folder / "curated"
        submission.write_bytes(ABAW7().encode(answers(frames, seed=1)))
        truth.write_bytes(ABAW7().encode(answers(frames, seed=2)))
        out.mkdir()
        sources = Sources(folder / TRAIN_ANNOTATIONS, folder / VALIDATION_ANNOTATIONS, None)
        medians = measure(
            {
                "pandas, both annotation files": lambda: read_with_pandas(sources.train, sources.validation),
                "curate": lambda: curate(sources, out),
                "pandas, submission": lambda: read_with_pandas(submission),
                "check": lambda: ABAW7().check(submission, ABAW7().read_list(folder / LIST)),
                "score": lambda: score_file(submission, truth),
            },
            options.rounds,
        )
    print(
        f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, pandas {pd.__version__}, ", end=""
    )
    print(f"pyarrow {pa.__version__}, numpy {np.__version__}; medians of {options.rounds} interleaved rounds\n")
    for name, median in medians.items():
        base = medians["pandas, both annotation files" if name == "curate" else "pandas, submission"]
        ratio = f"{median / base:5.2f} x pandas (target <= {TARGETS[name]:g})" if name in TARGETS else ""
        print(f"{name:<32}{median:8.1f} ms  {ratio}".rstrip())


if __name__ == "__main__":
    main()

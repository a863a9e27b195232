"""Do two processes train as fast as one with as many threads in all?

Trains on a synthetic release with one process of two threads and with two processes of one thread, in turn, and
prints the medians of the images a second that ``metrics.jsonl`` has, and their ratio.

    python benchmarks/processes.py [--rounds 5]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from abawkit.curation import curate, find_sources
from abawkit.synth.release import write_release

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def speed(launcher: tuple[str, ...], threads: int, curated: Path, out: Path, settings: list[str]) -> float:
    """Images a second of a run, the median of its epochs; the first one warms up."""
    command = [sys.executable, *launcher, "-m", "abawkit", "train", "demo", "--data", str(curated), "--out", str(out)]
    changes = [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    arguments = [*command, *changes, "--threads", str(threads)]
    subprocess.run(arguments, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    epochs = [json.loads(line)["images_per_second"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    return float(median(epochs[1:]))


def main() -> None:
    """Measures both networks, and synchronised batch norms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cases = {
        "ddamfn-nano, batch 64": ["all.epochs=30", "batch_size=64"],
        "ddamfn-nano, batch 64, synchronised": ["all.epochs=30", "batch_size=64", "sync_batchnorm=true"],
        "ddamfn, batch 64": ["all.epochs=4", "batch_size=64", "network=ddamfn"],
        "ddamfn, batch 64, synchronised": ["all.epochs=4", "batch_size=64", "network=ddamfn", "sync_batchnorm=true"],
    }
    with tempfile.TemporaryDirectory(prefix="abawkit-") as name:
        folder = Path(name)
        write_release(folder / "release", size="tiny", workers=2)
        (folder / "curated").mkdir()
        curate(find_sources(folder / "release"), folder / "curated", policy="per-task")
        for case, settings in cases.items():
            one, two = [], []
            for k in range(options.rounds):
                one.append(speed((), 2, folder / "curated", folder / f"{case} one {k}", settings))
                two.append(speed(TORCHRUN, 1, folder / "curated", folder / f"{case} two {k}", settings))
            ratio = median(b / a for a, b in zip(one, two, strict=True))
            speeds = f"{median(one):.0f} images/s with one process, {median(two):.0f} with two"
            print(f"{case}: {speeds}: {ratio:.2f} x", flush=True)


if __name__ == "__main__":
    main()

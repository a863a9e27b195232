"""Does the memory of `abawkit predict` grow with the list, beyond what it writes?

Repeats the rows of a tiny release's test list, predicts each list in a process of its own with the small network, and
prints the peak resident memory of each, the difference, and the size of the outputs that are held.

    python benchmarks/predict_memory.py [--rows 8000 24000]
"""

import argparse
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import torch

from abawkit.formats.editions import ABAW7
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import save_weights
from abawkit.synth.release import write_release

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.scale import measure

FRAME = 112 * 112 * 3
OUTPUTS = 4 * (2 + 8 + 12)
"""Bytes of a row's probabilities, in float32."""


def main() -> None:
    """Predicts two lists and prints what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs=2, default=(8_000, 24_000), help="Rows of the two lists.")
    rows = parser.parse_args().rows
    peaks: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "release").mkdir()
        write_release(folder / "release", size="tiny")
        network = DDAMFN(NETWORKS["ddamfn-nano"])
        save_weights(folder / "nano.safetensors", network.config, network.state_dict())
        images = ABAW7().read_list(folder / "release" / "test_set_examples" / "MTL.txt").images.to_pylist()
        for count in rows:
            listed, out = folder / f"{count}.txt", folder / f"predictions{count}.txt"
            listed.write_text("".join(f"{image},\n" for image in ["image", *islice(cycle(images), count)]))
            root = folder / "release" / "test_data" / "cropped_aligned"
            options = ["--list", str(listed), "--frames", str(root), "--out", str(out), "--device", "cpu"]
            command = [sys.executable, "-m", "abawkit", "predict", str(folder / "nano.safetensors"), *options]
            threads = ["--threads", str(torch.get_num_threads())]
            peaks.append(measure([*command, *threads], folder / "log").peak)
            written = sum(file.stat().st_size for file in folder.glob(f"predictions{count}.*"))
            print(f"{count:>7,} rows: peak {peaks[-1] / 2**20:7.1f} MiB, files written {written / 2**20:6.2f} MiB")
    more = rows[1] - rows[0]
    growth = peaks[1] - peaks[0]
    print(f"growth         : {growth / 2**20:7.1f} MiB, {growth / more:,.0f} bytes a row more")
    print(f"probabilities  : {more * OUTPUTS / 2**20:7.2f} MiB, {OUTPUTS} bytes a row")
    print(f"frames would be: {more * FRAME / 2**20:7.1f} MiB, {FRAME:,} bytes a row; ratio {growth / more / FRAME:.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()

"""What do packed frames take, raw and encoded: space, the time to pack and to read them, and memory?

Links the frames of a synthetic release under as many names as are asked for, packs them in both forms, and reads
batches in random order from both and from the files themselves, in turn in one process. Prints bytes a frame, frames a
second and the medians of the ratios of each round. Then packs and reads the smallest and the largest set once in
processes of their own, and prints the resident memory of each and of a frame more: their own, and with mapped pages of
files, which the system keeps for raw frames while it has room for them.

    python benchmarks/packed_frames.py [--frames 20000 100000] [--batch 256] [--rounds 5] [--size tiny]
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from abawkit.choices import PackedForm
from abawkit.frames.image_folder import FolderFrames
from abawkit.frames.packed import PackedFrames
from abawkit.frames.packing import pack_frames
from abawkit.synth.release import write_release
from abawkit.system.files import count_processors

FORMS: tuple[PackedForm, ...] = ("raw", "encoded")


def link_frames(release: Path, folder: Path, count: int) -> list[str]:
    """Links the frames of a release under `count` names, 2,000 in each folder; returns the names."""
    sources = sorted((release / "cropped_aligned").rglob("*.jpg"))
    names = [f"video{k // 2000}/{k % 2000 + 1:05}.jpg" for k in range(count)]
    for name, source in zip(names, (sources[k % len(sources)] for k in range(count)), strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).hardlink_to(source)
    return names


def list_names(folder: Path) -> list[str]:
    """The names of linked frames."""
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.jpg"))]


def read_memory() -> tuple[int, int]:
    """Resident memory of this process in bytes: what is its own, and with mapped pages of files."""
    status = Path("/proc/self/status").read_text()
    own, whole = (re.search(rf"{key}:\s+(\d+) kB", status) for key in ("RssAnon", "VmRSS"))
    assert own
    assert whole
    return int(own[1]) * 1024, int(whole[1]) * 1024


def work(step: str, folder: Path, out: Path, form: PackedForm, batch: int) -> None:
    """Packs, or reads every frame in random order; prints the most memory that was held after a chunk or batch."""
    peak = (0, 0)

    def note(*_: object) -> None:
        nonlocal peak
        own, whole = read_memory()
        peak = max(peak[0], own), max(peak[1], whole)

    if step == "pack":
        pack_frames(list_names(folder), folder, out, form=form, workers=count_processors(), progress=note)
        note()
    else:
        store = PackedFrames.open(out)
        order = np.random.default_rng(0).permutation(len(store))
        for start in range(0, len(order), batch):
            store.take(order[start : start + batch])
            note()
    print(json.dumps(peak))


def measure_elsewhere(step: str, folder: Path, out: Path, form: str, batch: int) -> list[int]:
    """The memory of `work` in a process of its own."""
    command = [sys.executable, __file__, "--work", step, str(folder), str(out), form, "--batch", str(batch)]
    found: list[int] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def compare(runs: dict[str, Callable[[], object]], frames: int, rounds: int, base: str) -> None:
    """Prints the rates of several runs in turn, and the medians of their ratios to one of them."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    for name, taken in times.items():
        ratio = median(b / a for a, b in zip(taken, times[base], strict=True))
        print(f"  {name}: {frames / median(taken):,.0f} frames/s, {ratio:.2f} x {base}", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--batch", type=int, default=256, help="frames at a time")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", default="tiny", help="of the release whose frames are linked")
    parser.add_argument("--work", nargs=4, metavar=("STEP", "FOLDER", "OUT", "FORM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        step, folder, out, form = options.work
        work(step, Path(folder), Path(out), form, options.batch)
        return
    with tempfile.TemporaryDirectory(prefix="abawkit-", dir=Path.cwd()) as name:  # the disk, not memory
        measure(Path(name), options.frames, options.batch, options.rounds, options.size)


def measure(base: Path, counts: Sequence[int], batch: int, rounds: int, size: str) -> None:
    """Measures space, time and memory in a folder that can be filled."""
    write_release(base / "release", size=size, workers=count_processors())
    peaks: dict[tuple[str, PackedForm], list[list[int]]] = {}
    for count in counts:
        folder = base / f"frames{count}"
        names = link_frames(base / "release", folder, count)
        for form in FORMS:
            for step in ("pack", "read"):
                out = base / f"{form}{count}"
                peaks.setdefault((step, form), []).append(measure_elsewhere(step, folder, out, form, batch))
    for (step, form), found in peaks.items():
        for number, kind in enumerate(("own memory", "with mapped pages")):
            shown = [peak[number] for peak in found]
            more = (shown[-1] - shown[0]) / (counts[-1] - counts[0])
            texts = [f"{peak / 2**20:,.0f} MiB for {count:,}" for peak, count in zip(shown, counts, strict=True)]
            print(f"{step} {form}, {kind}: {', '.join(texts)}; {more:,.0f} bytes a frame more", flush=True)
    stores = {form: PackedFrames.open(base / f"{form}{counts[-1]}") for form in FORMS}
    for form, store in stores.items():
        print(f"{form}: {store.bytes / len(store):,.0f} bytes a frame")
    few, threads = names[: counts[0]], count_processors()
    packing: dict[str, Callable[[], object]] = {
        form: partial(pack_frames, few, folder, base / "again", form=form, workers=threads) for form in FORMS
    }
    print(f"packing {len(few):,} frames, {threads} threads, medians of {rounds} rounds in turn:")
    compare(packing, len(few), rounds, "raw")
    chosen = np.random.default_rng(0).permutation(counts[-1])[: 40 * batch]
    sources: dict[str, FolderFrames | PackedFrames] = {"files": FolderFrames(names, folder)}
    sources |= {form: PackedFrames.open(base / f"{form}{counts[-1]}") for form in FORMS}
    reading: dict[str, Callable[[], object]] = {
        name: partial(read_batches, source, chosen, batch) for name, source in sources.items()
    }
    print(f"reading {len(chosen):,} of {counts[-1]:,} frames in random order, batches of {batch}:")
    compare(reading, len(chosen), rounds, "files")


def read_batches(source: FolderFrames | PackedFrames, order: NDArray[np.int64], batch: int) -> None:
    """Reads frames batch by batch."""
    for start in range(0, len(order), batch):
        source.take(order[start : start + batch])


if __name__ == "__main__":
    main()

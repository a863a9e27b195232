"""What the attention costs beside torch's own operators and beside `torch.compile`: the table of docs/benchmarks.md.

    python benchmarks/attention.py [--rounds 15] [--threads 2] [--device cpu] [--images 8 ...]

All figures of one ratio come from interleaved rounds in one process.
"""

import argparse
import platform
import sys
from pathlib import Path

import torch

from abawkit.ops.availability import read_native_facts
from abawkit.ops.bench import Bench, Measured, bench

IMAGES = (1, 8, 32, 64, 256)

# Times faster than eager and than the best of torch.compile, on two threads of a CPU; None where nothing was promised.
TARGETS: dict[str, dict[int, tuple[float, float | None]]] = {
    "evaluation": {1: (30, 7), 8: (30, 7), 32: (30, 7), 64: (30, 7), 256: (15, 5)},
    "training forward": dict.fromkeys(IMAGES[1:], (12, None)),
    "training forward and backward": dict.fromkeys(IMAGES[1:], (14, 6)),
}
LEAST_OF_SUM = {256: 0.5}
MOST_SAVED = 0.1


def processor() -> str:
    """Model of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def judged(value: float | None, target: float | None, *, most: bool = False) -> str:
    """A figure, with its target where it misses it."""
    if value is None:
        return "-"
    text = f"{value:.2f}" if value < 1 else f"{value:.1f}"
    if target is None or (value <= target if most else value >= target):
        return text
    return f"{text} (of {target:g})"


def row(result: Bench, m: Measured, name: str) -> list[str]:
    """One line of the table."""
    on_cpu = result.device == "cpu"
    eager, compiled = TARGETS[m.work].get(m.images, (None, None)) if on_cpu else (None, None)
    variants = {n: t for n, t in m.milliseconds.items() if n.startswith("torch.compile")}
    fastest = min(variants, key=lambda n: variants[n], default="-").removeprefix("torch.compile").strip(", ")
    read = judged(m.of_stream(name, copied=not on_cpu), LEAST_OF_SUM.get(m.images) if on_cpu else None)
    return [
        m.work,
        str(m.images),
        f"{m.milliseconds[name]:.3f}",
        f"{m.kernels[name]:.3f}" if name in m.kernels else "-",
        judged(m.to_eager(name), eager),
        judged(m.to_compiled(name), compiled),
        fastest or "as it is",
        read,
        judged(m.of_saved(name), MOST_SAVED if on_cpu else None, most=True),
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--no-compile", dest="compiled", action="store_false")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = bench(
        options.images,
        dtype=getattr(torch, options.dtype),
        device=options.device,
        rounds=options.rounds,
        compiled=options.compiled,
        say=lambda text: print(text, file=sys.stderr),
    )
    hardware = processor() if result.device == "cpu" else torch.cuda.get_device_name(result.device)
    print(f"{hardware}, {result.threads} threads, torch {result.torch}, {result.dtype}, {result.rounds} rounds")
    for name, value in read_native_facts().items():
        print(f"{name}: {value}")
    last = "of sum's rate" if result.device == "cpu" else "of copy's bandwidth"
    print(
        f"\n| work | N | ms | kernels alone | x eager | x torch.compile | its best form | {last} | kept for backward |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for m in result.measured:
        for name in m.names:
            print(f"| {' | '.join(row(result, m, name))} |")
    for what, reason in result.left_out.items():
        print(f"not measured: {what}: {reason}")


if __name__ == "__main__":
    main()

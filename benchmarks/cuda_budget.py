"""What the CUDA kernels cost, without a GPU: from nvcc's and nvdisasm's output.

    python benchmarks/cuda_budget.py [--images 1024] [--types float32 bfloat16] [--calls inference forward backward]
                                     [--architecture 90] [--card H200] [--clock 1.98] [--json]

For each program of a call at the published sizes (512 x 7 x 7, 2 heads, 16):

- registers and spills: `nvcc -Xptxas -v`; shared memory, blocks and rounds: the call itself, run with a launcher that
  only notes what is launched (csrc/tests/cuda/launches.cpp); blocks an SM: from these and the card's limits;
- instructions an image: warp instructions on the longest way through nvdisasm's listing (`machine_code.py`), each loop
  taken as often as `TURNS` says for its source line, times the warps launched, divided by the images; a warp has work
  in all branches, so that this is more than what runs;
- bytes an image: features, and what programs hand on, counted from their definition in `MOVED`; weights are left out;
- the floor: the slower of issuing the instructions (4 a clock and SM) and moving the bytes at the card's copy rate.

Needs nvcc, g++, c++filt and nvdisasm (a CUDA toolkit, or the package nvidia-cuda-nvdisasm).
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import machine_code  # noqa: E402

CSRC = ROOT / "csrc"
C, H, W, K, M = 512, 7, 7, 2, 16
P, AREA = H + W, H * W
COMPUTE = 4  # bytes of a float32, the type of all that programs hand on


@dataclass(frozen=True)
class Card:
    """Limits of a GPU: SMs, clock in GHz, rate of a copy in bytes a second, and what an SM holds."""

    sms: int
    clock: float
    rate: float
    shared: int  # bytes of an SM
    block_shared: int  # bytes that a block may have
    registers: int = 65536
    warps: int = 64


CARDS = {
    # SMs: NVIDIA's data sheet; clock: the highest that nvidia-smi lists for SMs; rate: a device copy, measured.
    "H200": Card(132, 1.98, 4.3e12, 233472, 232448),
    # NVIDIA A100 data sheet and whitepaper; the rate is 90 % of the 2.04 TB/s stated there.
    "A100": Card(108, 1.41, 1.84e12, 167936, 166912),
}


@dataclass(frozen=True)
class Launch:
    """One launch of a call."""

    program: str
    blocks: int
    threads: int
    shared_bytes: int
    rounds: int


@dataclass
class Cost:
    """What a program costs; `spills` in bytes, `seconds` by the roofline."""

    call: str
    program: str
    blocks: int
    threads: int
    registers: int
    spills: int
    shared_bytes: int
    blocks_per_sm: int
    warps_per_sm: int
    instructions_per_image: float | None  # None where they are not counted
    bytes_per_image: float
    seconds: float


# How often a loop runs, by a part of its source line; for some it follows from the launch and the number of images.
Turns = float | Callable[["Launch", int], float]
TURNS: dict[str, Turns] = {
    "block = blockIdx.x": 1,
    "at.round != rounds": lambda launch, _: launch.rounds,
    # Fused
    "chunk <= round + ahead": 1,
    "tile += parts": lambda launch, _: 256 / images_of(launch) / 16 / 4,
    "tile += 2": lambda launch, _: 256 / images_of(launch) / 16 / 2,
    "i < images * outputs": lambda launch, _: images_of(launch) * K * P * M / launch.threads,
    # Training
    "next <= round + 1": 1,
    "slot < slots - 1": 1,
    "first += warps * 16": C / 128,
    "n < end; ++n": lambda _, images: -(-images // 64),
    # What LEFT_OUT has, where some of it is noted for other lines.
    "entry < area": 0,
    "part + width <= count": 0,
    "rest < count": 0,
    "vector < K * 2": 0,
    "i < channels * count": 0,
}
# Code that doesn't run in the calls counted, by a part of its source line.
LEFT_OUT = (
    # for features that aren't aligned, and channels that 16 bytes or a block's channels don't divide
    "entry < area",
    "part + width <= count",
    "done = count",
    "rest < count",
    "one(first",
    # for chunks of features that shared memory does not hold
    "copy(a, at, round)",
    "if (at.round && chunk",
    # for writing gates
    "copy_gates",
    "i < channels * count",
    "vector = 0",
    "vector / 2) * a.size",
    "here.lane, channels);",
    "p * stride] = gates[p]",
)

# What an image moves, by program: entries of the features' type, and bytes of other types.
VECTORS, SQUEEZED = K * P * C * COMPUTE, K * P * M * COMPUTE  # sums or gates of an image, and what is squeezed of them
MOVED: dict[str, tuple[int, int]] = {
    "Fused": (C * AREA + C, 0),
    "Sums": (C * AREA, VECTORS),
    "ContractFixed": (0, VECTORS + SQUEEZED),
    "SqueezeMoments": (0, SQUEEZED),
    "Activate": (0, 2 * SQUEEZED),
    "Attend": (C * AREA, SQUEEZED + C * COMPUTE),
    "PoolNorm": (C, C * COMPUTE),
    "PoolNormBackward": (C, 2 * C * COMPUTE),
    "AttendBackward": (C * AREA, SQUEEZED + C * COMPUTE + VECTORS),
    "Outer": (0, VECTORS + SQUEEZED),
    "ActivateBackward": (0, 3 * SQUEEZED),
    "SqueezeNormBackward": (0, 3 * SQUEEZED),
    "FeaturesBackward": (2 * C * AREA, 2 * SQUEEZED + C * COMPUTE + VECTORS),
    # Of weights and partial sums alone, which don't grow with the images.
    **dict.fromkeys(("Transpose", "Statistics", "AddRows", "SqueezeWeightBackward"), (0, 0)),
}
# Programs that are not counted: their loops are over partial sums, of which each has its own number.
UNCOUNTED = {"AddRows", "Statistics", "PoolNorm", "PoolNormBackward", "SqueezeMoments", "SqueezeWeightBackward"}


def images_of(launch: Launch) -> int:
    """Images that a block of `Fused` has at once."""
    return int(launch.program.rstrip(">").rsplit(",", 1)[1])


def find_tool(name: str) -> str:
    """A tool of CUDA, on PATH, in $CUDA_HOME or in NVIDIA's Python packages.

    Raises:
        FileNotFoundError: saying where it was looked for.
    """
    homes = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(home) / "bin" for home in homes if home]
    folders += [
        bin_ for root in (spec.submodule_search_locations or [] if spec else []) for bin_ in Path(root).glob("*/bin")
    ]
    found = shutil.which(name) or next((str(f / name) for f in folders if (f / name).is_file()), "")
    if not found:
        raise FileNotFoundError(
            f"{name}: not on PATH, in $CUDA_HOME or in a package of NVIDIA; pip install nvidia-cuda-{name}"
        )
    return found


def run(*command: str | Path) -> tuple[str, str]:
    """Standard output and errors of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout, done.stderr


class Compiled:
    """The programs of some calls, compiled for one architecture; `folder` is scratch space."""

    def __init__(self, folder: Path, architecture: str, card: Card) -> None:
        self._folder, self._architecture, self._card = folder, architecture, card
        self._recorder = folder / "launches"
        run(
            "g++",
            "-std=c++17",
            "-O0",
            "-w",
            f"-I{CSRC / 'kernels'}",
            CSRC / "tests/cuda/launches.cpp",
            "-o",
            self._recorder,
        )
        self._ways: dict[str, list[machine_code.Block]] = {}
        self._resources: dict[str, tuple[int, int]] = {}

    def launches(self, call: str, dtype: str, images: int) -> list[Launch]:
        """What a call launches."""
        text, _ = run(self._recorder, call, dtype, str(images), str(self._card.sms), str(self._card.block_shared))
        rows = (line.split("\t") for line in text.splitlines())
        return [Launch(name.replace("abawkit::cuda::", ""), *map(int, numbers)) for name, *numbers in rows]

    def compile(self, programs: Sequence[str], *, disassemble: bool = True) -> None:
        """Compiles programs, and reads what they take and, where asked for, their instructions."""
        source, cubin = self._folder / "programs.cu", self._folder / "programs.cubin"
        lines = ["#include <cuda/device_launcher.h>", "#include <cuda/dispatch.h>", "namespace abawkit::cuda {"]
        lines += [
            f"template __global__ void run_program<{p}>(const __grid_constant__ {p}::Arguments, std::int64_t);"
            for p in programs
        ]
        source.write_text("\n".join([*lines, "}"]))
        target = f"arch=compute_{self._architecture},code=sm_{self._architecture}"
        nvcc = (find_tool("nvcc"), "-std=c++17", "-O3", "-lineinfo", "-gencode", target, "-Xptxas", "-v")
        _, notes = run(*nvcc, f"-I{CSRC / 'kernels'}", "-cubin", "-o", cubin, source)
        listing = run(find_tool("nvdisasm"), "-c", "-gi", cubin)[0] if disassemble else ""
        for mangled, blocks in machine_code.kernels(listing):
            self._ways[_demangle(mangled)] = blocks
        for entry in notes.split("Compiling entry function '")[1:]:
            spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", entry)
            used = re.search(r"Used (\d+) registers", entry)
            assert spills, entry
            assert used, entry
            self._resources[_demangle(entry.split("'")[0])] = int(used[1]), int(spills[1]) + int(spills[2])

    def cost(self, call: str, launch: Launch, images: int, size: int) -> Cost:
        """What a launch costs."""
        registers, spills = self._resources[launch.program]
        name = launch.program.split("<")[0]
        warps, limits = launch.threads // 32, self._card
        instructions = None if name in UNCOUNTED else self._instructions(launch, images)
        entries, others = MOVED[name]
        moved = entries * size + others
        blocks = min(
            limits.registers // (-(-registers // 8) * 8 * launch.threads),
            limits.shared // (launch.shared_bytes + 1024),
            limits.warps // warps,
        )
        issue = (instructions or 0) * images / (limits.sms * 4 * limits.clock * 1e9)
        return Cost(
            call,
            launch.program,
            launch.blocks,
            launch.threads,
            registers,
            spills,
            launch.shared_bytes,
            blocks,
            min(blocks, -(-launch.blocks // limits.sms)) * warps,
            instructions,
            moved,
            max(issue, moved * images / limits.rate),
        )

    def _instructions(self, launch: Launch, images: int) -> float | None:
        if launch.program not in self._ways:
            return None

        def turns(text: str) -> float | None:
            count = next((count for part, count in TURNS.items() if part in text), None)
            return count(launch, images) if callable(count) else count

        way = machine_code.Way(self._ways[launch.program], turns, lambda text: any(part in text for part in LEFT_OUT))
        return round(way.length() * (launch.threads // 32) * launch.blocks / images, 1)


def _demangle(name: str) -> str:
    text, _ = run("c++filt", name)
    return (
        text.split("run_program<", 1)[1].rsplit(">(", 1)[0].strip().replace("abawkit::cuda::", "").replace("> >", ">>")
    )


def measure(
    calls: Sequence[str], types: Sequence[str], images: int, architecture: str, card: Card, *, disassemble: bool = True
) -> list[Cost]:
    """What all programs of some calls cost; instructions are only counted where they are disassembled."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = Compiled(Path(folder), architecture, card)
        launches = [(f"{c} {t}", t, launch) for c in calls for t in types for launch in compiled.launches(c, t, images)]
        compiled.compile(sorted({launch.program for _, _, launch in launches}), disassemble=disassemble)
        return [compiled.cost(name, launch, images, 4 if t == "float32" else 2) for name, t, launch in launches]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--types", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--calls", nargs="+", default=["inference"])
    parser.add_argument("--architecture", default="90")
    parser.add_argument("--card", default="H200", choices=CARDS)
    parser.add_argument("--clock", type=float, help="GHz, in place of the card's highest")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    card = CARDS[arguments.card]
    if arguments.clock:
        card = Card(**(asdict(card) | {"clock": arguments.clock}))
    try:
        costs = measure(arguments.calls, arguments.types, arguments.images, arguments.architecture, card)
    except (FileNotFoundError, machine_code.UnknownLoopError) as error:
        sys.exit(f"error: {error}")
    if arguments.json:
        print(json.dumps([asdict(cost) for cost in costs], indent=2))
        return
    table = Table(title=f"N = {arguments.images}, sm_{arguments.architecture}, {arguments.card} at {card.clock} GHz")
    for heading in (
        "call",
        "program",
        "blocks",
        "registers",
        "spills",
        "shared",
        "blocks/SM",
        "warps/SM",
        "instructions/image",
        "bytes/image",
        "floor us",
    ):
        table.add_column(heading, justify="left" if heading in {"call", "program"} else "right")
    for c in costs:
        table.add_row(
            c.call,
            c.program,
            str(c.blocks),
            str(c.registers),
            str(c.spills),
            str(c.shared_bytes),
            str(c.blocks_per_sm),
            str(c.warps_per_sm),
            "-" if c.instructions_per_image is None else f"{c.instructions_per_image:,.0f}",
            f"{c.bytes_per_image:,.0f}",
            f"{c.seconds * 1e6:.1f}",
        )
    Console(width=200).print(table)


if __name__ == "__main__":
    main()

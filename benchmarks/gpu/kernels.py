"""The operator's kernels one by one: microseconds in each, and what launching them costs beside a captured graph.

python -m benchmarks.gpu.kernels [--device cuda]
python -m benchmarks.gpu.kernels --ncu           # under Nsight Compute: bytes, issue rate, bank conflicts of each
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Final

import torch

from abawkit.ops import Parameters, dual_direction_attention
from abawkit.ops.folding import FoldCache
from abawkit.ops.testing import Inputs, make_random_inputs
from abawkit.ops.timing import Rotation, read_cache_bytes, read_kernel_times, time_wall
from benchmarks.gpu.runner import LEFT_OUT

Case = tuple[int, torch.dtype, torch.memory_format]
Run = Callable[[], object]

CASES: Final[tuple[Case, ...]] = (
    (256, torch.float32, torch.contiguous_format),
    (1024, torch.float32, torch.contiguous_format),
    (1024, torch.bfloat16, torch.channels_last),
)
SMALL: Final[tuple[Case, ...]] = ((4, torch.float32, torch.contiguous_format),)
GRAPHS: Final = (1, 16, 64, 256)
REPEATS: Final = 10
METRICS: Final = (
    "gpu__time_duration.sum",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
    "sm__inst_issued.avg.pct_of_peak_sustained_active",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "l1tex__data_bank_conflicts_pipe_lsu.sum",
    "smsp__sass_inst_executed_op_local.sum",
)


def make_inputs(case: Case, device: torch.device) -> Inputs:
    """Inputs of the published sizes."""
    images, dtype, form = case
    inputs = make_random_inputs(images, dtype=dtype, device=device)
    return inputs._replace(features=inputs.features.contiguous(memory_format=form))


def make_evaluation(inputs: Inputs, features: Rotation) -> Run:
    """Evaluation with folded weights."""
    _, parameters, statistics = inputs
    cache = FoldCache()

    def evaluate() -> object:
        with torch.no_grad():
            return dual_direction_attention(
                features(), parameters, statistics, training=False, gates=False, implementation="native", cache=cache
            )

    return evaluate


def make_training(inputs: Inputs, features: Rotation) -> Run:
    """Training forward with gates, and backward."""
    leaves = [p.detach().requires_grad_() for p in inputs.parameters]

    def train() -> object:
        x = features().detach().requires_grad_()
        embedding, gates = dual_direction_attention(
            x, Parameters(*leaves), inputs.statistics, training=True, implementation="native"
        )
        outputs = [embedding, *(gates or ())]
        return torch.autograd.grad(outputs, [x, *leaves], [torch.ones_like(t) for t in outputs])

    return train


def measure_kernels(case: Case, device: torch.device) -> list[dict[str, Any]]:
    """Microseconds of each kernel in evaluation and in training, the longest first; on a CPU there are none."""
    inputs = make_inputs(case, device)
    features = Rotation(inputs.features, read_cache_bytes(device))
    rows = []
    for work, make in (("evaluation", make_evaluation), ("training", make_training)):
        run = make(inputs, features)
        run()
        found = read_kernel_times(run, REPEATS, device) if device.type == "cuda" else {}
        kernels = dict(sorted(found.items(), key=lambda item: -item[1]))
        rows.append({"work": work, "images": case[0], "dtype": str(case[1]), "layout": str(case[2]), "us": kernels})
    return rows


def measure_graph(images: int, device: torch.device) -> dict[str, float]:
    """Milliseconds of an evaluation: called, and as a captured graph that is replayed."""
    inputs = make_inputs((images, torch.float32, torch.contiguous_format), device)
    run = make_evaluation(inputs, Rotation(inputs.features, 0))
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    times = time_wall({"called": run, "replayed": graph.replay}, 5, device)
    return {"images": images, **times}


def run_ncu(device: str) -> int:
    """Runs each kernel once under Nsight Compute; clocks are left as they are."""
    program = shutil.which("ncu")
    if not program:
        print("ncu was not found")
        return LEFT_OUT
    options = ["--clock-control", "none", "--target-processes", "all", "--csv", "--metrics", ",".join(METRICS)]
    options += ["--kernel-name-base", "mangled", "--kernel-name", "regex:abawkit", "--launch-count", "40"]
    own = [sys.executable, "-m", "benchmarks.gpu.kernels", "--once", "--device", device]
    return subprocess.run([program, *options, *own], check=False).returncode


def main() -> None:
    """Prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--ncu", action="store_true")
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    if options.ncu:
        raise SystemExit(run_ncu(options.device))
    device = torch.device(options.device)
    cases = CASES if device.type == "cuda" else SMALL
    if options.once:
        for case in cases:
            inputs = make_inputs(case, device)
            for make in (make_evaluation, make_training):
                make(inputs, Rotation(inputs.features, 0))()
        return
    kernels = [row for case in cases for row in measure_kernels(case, device)]
    graphs = [measure_graph(images, device) for images in GRAPHS] if device.type == "cuda" else []
    print(json.dumps({"kernels": kernels, "graphs": graphs}))


if __name__ == "__main__":
    main()

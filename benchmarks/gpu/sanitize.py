"""Runs the operator's kernels on few images under a tool of NVIDIA's compute-sanitizer.

python -m benchmarks.gpu.sanitize memcheck|racecheck|synccheck|initcheck
python -m benchmarks.gpu.sanitize none --device cpu     # the same calls, without a tool
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from abawkit.ops import native_library as binary
from abawkit.ops.native import pack
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES, Inputs, make_random_inputs
from benchmarks.gpu.runner import LEFT_OUT
from benchmarks.gpu.steps import TOOLS

KERNELS: Final = "kns=abawkit"
"""Part of the mangled name of every kernel of ours, as they are in a namespace of this name, and of no other."""

SIZES: Final = (DDAMFN_SIZES, Sizes(37, 7, 7, 2, 16), Sizes(24, 3, 5, 3, 4))
DTYPES: Final = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
IMAGES: Final = 5
EPS: Final = 1e-5


def shifted(x: Tensor, device: torch.device) -> Tensor:
    """The features behind an odd address."""
    return torch.empty(x.numel() + 1, dtype=x.dtype, device=device)[1:].view(x.shape).copy_(x)


LAYOUTS: Final[dict[str, Callable[[Tensor, torch.device], Tensor]]] = {
    "contiguous": lambda x, device: x.to(device),
    "channels_last": lambda x, device: x.contiguous(memory_format=torch.channels_last).to(device),
    "behind an odd address": shifted,
}


def call_kernels(inputs: Inputs, layout: Callable[[Tensor, torch.device], Tensor], device: torch.device) -> None:
    """Evaluation, and training forward and backward, each with and without what is optional.

    Every input is made on the host and copied: no kernel of torch's, which a tool does not watch, writes one of them.
    """
    ops, sizes = torch.ops.abawkit, inputs.parameters.sizes
    wide = torch.float64 if inputs.features.dtype == torch.float64 else torch.float32
    x = layout(inputs.features, device)
    folded = pack(inputs.parameters, inputs.statistics, eps=EPS, dtype=wide).to(device)
    for gates in (True, False):
        ops.dda_inference(x, folded, sizes.heads, sizes.squeezed, gates)
    parameters = [p.to(wide).to(device) for p in inputs.parameters]
    for given in (None, inputs.statistics.flat().to(wide).to(device)):
        for gates in (True, False):
            embedding, rows, columns, *saved = ops.dda_forward(x, parameters, given, EPS, gates)
            ends = [torch.linspace(-1, 1, t.numel()).to(t.dtype).view(t.shape).to(device) for t in (embedding, rows)]
            last = torch.ones(columns.shape, dtype=columns.dtype).to(device)
            whole = (ends[0], ends[1], last) if gates else (ends[0], None, None)
            found = ops.dda_backward(*whole, x, parameters, *saved, given is None, EPS)
            if not all(bool(t.isfinite().all()) for t in (t.cpu() for t in (embedding, *found))):
                raise SystemExit(f"{inputs.features.dtype}, {sizes}: what was computed is not finite")


def run_calls(device: torch.device) -> None:
    """Every size, type and layout."""
    if reason := binary.load():
        raise SystemExit(f"the native operators can't be loaded: {reason}")
    dtypes = [t for t in DTYPES if device.type == "cuda" or t != torch.float16]
    for sizes, dtype, (name, layout) in itertools.product(SIZES, dtypes, LAYOUTS.items()):
        call_kernels(make_random_inputs(IMAGES, sizes, dtype=dtype), layout, device)
        print(f"{tuple(sizes)}, {dtype}, {name}", flush=True)


def run_tool(tool: str, device: str) -> int:
    """Runs this file under a tool.

    Returns:
        Its exit code: not 0 where it found something, `LEFT_OUT` where there is no compute-sanitizer.
    """
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if not program:
        print("compute-sanitizer was not found")
        return LEFT_OUT
    options = ["--tool", tool, "--error-exitcode", "9", "--print-limit", "20"]
    listed = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    options += ["--kernel-regex", KERNELS] if "--kernel-regex" in listed.stdout + listed.stderr else []
    own = [sys.executable, "-m", "benchmarks.gpu.sanitize", "none", "--device", device]
    # each tensor in an allocation of its own: an access past its end would else hit another tensor and go unseen
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    return subprocess.run([program, *options, *own], env=environment, check=False).returncode


def main() -> None:
    """Runs the calls, under a tool or alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=[*TOOLS, "none"])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.tool != "none":
        raise SystemExit(run_tool(options.tool, options.device))
    run_calls(torch.device(options.device))


if __name__ == "__main__":
    main()

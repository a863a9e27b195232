"""What the machine is, and the rate at which its memory copies: what every other rate is compared with.

python -m benchmarks.gpu.machine [--device cuda]
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess

import torch

from abawkit.ops.availability import read_native_facts
from abawkit.ops.timing import Rotation, read_cache_bytes, time_wall

BYTES = {"cuda": 2**30, "cpu": 2**24}
"""Of the buffer that is copied: far more than any cache of a GPU; on a CPU, where it is only tried, little."""


def copy_rate(device: torch.device) -> float:
    """Bytes a second, read and written, of a large copy: the median of five."""
    source = Rotation(torch.zeros(BYTES[device.type], dtype=torch.uint8, device=device), 0)
    target = torch.empty_like(source())
    times = [time_wall({"": lambda: target.copy_(source())}, 3, device)[""] for _ in range(5)]
    return 2 * target.nbytes / (statistics.median(times) / 1000)


def read_tool(*command: str) -> str:
    """The last line that a program prints; empty where it is not here."""
    if not shutil.which(command[0]):
        return ""
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return printed.splitlines()[-1] if printed else ""


def main() -> None:
    """Prints everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    device = torch.device(parser.parse_args().device)
    on_gpu = device.type == "cuda"
    properties = torch.cuda.get_device_properties(device) if on_gpu else None
    facts = {
        "device": properties.name if properties else platform.processor() or platform.machine(),
        "gpus": torch.cuda.device_count() if on_gpu else 0,
        "capability": list(torch.cuda.get_device_capability(device)) if on_gpu else None,
        "processors": properties.multi_processor_count if properties else None,
        "memory_bytes": properties.total_memory if properties else None,
        "cache_bytes": read_cache_bytes(device),
        "driver": read_tool("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if on_gpu else "",
        "nvcc": read_tool("nvcc", "--version"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torch_cuda": torch.version.cuda,
        "native": read_native_facts(),
        "copy_bytes_per_second": copy_rate(device),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

"""What a run writes down: what it was made of, a line an epoch, and the digests of its checkpoints."""

import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

from abawkit.curation.table import CuratedSet
from abawkit.files import write_json
from abawkit.models.precision import Precision, describe_precision
from abawkit.provenance import code_digest, git_commit
from abawkit.training.run_files import BEST, LAST, MANIFEST, METRICS, RECIPE

__all__ = ["BEST", "LAST", "MANIFEST", "METRICS", "RECIPE", "environment", "write_manifest"]

FORMAT: Final = "abawkit.run.2"
"""Of `MANIFEST`; the first one had no name and counted epochs from 0."""


def environment(device: torch.device, operators: dict[str, str], training: Precision | None = None) -> dict[str, Any]:
    """Versions and hardware that results depend on.

    Args:
        device: Where it ran.
        operators: Names of the implementations that it ran on, by operator.
        training: What steps computed with, where there were any.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    packages = ("abawkit", "torch", "numpy", "pandas", "pillow", "simplejpeg")
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "device": f"{device} ({name})",
        "code": code_digest(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "ops": operators,
        "precision": describe_precision(training),
        "git": git_commit(Path.cwd()),
    }


def processor_name() -> str:
    """What the processor calls itself, or its architecture where it has no name."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def write_manifest(out: Path, curated: CuratedSet, environment: dict[str, Any], content: dict[str, Any]) -> None:
    """Writes ``manifest.json``: data, environment, and what the run adds."""
    data = {"policy": curated.policy, "table_digest": curated.digest, "folder": str(curated.folder.resolve())}
    write_json(out / MANIFEST, {"format": FORMAT, "data": data, "environment": environment, **content})

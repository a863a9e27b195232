"""Builds the native operators for the GPU of this machine alone, into this checkout.

python -m benchmarks.gpu.build
python -m benchmarks.gpu.build --dry FOLDER     # without CUDA, and installed there: this checkout stays as it is
"""

import argparse
import os
import subprocess
import sys

import torch

PIP = [sys.executable, "-m", "pip", "install", "--verbose", "--no-index", "--no-deps", "--no-build-isolation"]


def main() -> None:
    """Runs pip, and ends with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", metavar="FOLDER")
    folder = parser.parse_args().dry
    if folder:
        variables, options = {"ABAWKIT_CUDA": "skip"}, ["--target", folder, "."]
    else:
        major, minor = torch.cuda.get_device_capability()
        variables = {"ABAWKIT_CUDA": "require", "ABAWKIT_CUDA_ARCHITECTURES": f"{major}{minor}"}
        options = ["--editable", "."]
    environment = {**os.environ, "ABAWKIT_NATIVE": "require", **variables}
    raise SystemExit(subprocess.run([*PIP, *options], env=environment, check=False).returncode)


if __name__ == "__main__":
    main()

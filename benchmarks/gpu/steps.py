"""The steps of the check: on a GPU, and the same ones at a small size on a CPU.

Nothing but the standard library is imported here: the packages that steps need may have to be installed first.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.gpu.runner import Step

IMAGES: Final = (1, 16, 64, 256, 1024)
BATCH: Final = 256
DRY_FACTOR: Final = 10
"""How much longer a dry run may take: a CPU may have one core."""

TRAIN: Final = 52_154
"""Training rows that the strict policy keeps. Source: https://arxiv.org/abs/2407.12390, section 4.1."""

VALIDATION: Final = 51_159
"""As many rows as the official test list has. Source: https://arxiv.org/abs/2407.03835."""

TOOLS: Final = ("memcheck", "racecheck", "synccheck", "initcheck")
"""Of NVIDIA's compute-sanitizer."""

TESTS: Final = ("tests/gpu", "tests/models", "tests/ops", "tests/training")
"""Where tests under the `gpu` marker stand."""


def make_steps(python: str, work: Path, out: Path, *, dry: bool, workers: int) -> list[Step]:
    """All steps, what matters most first: the time that is given may not do for all of them.

    Args:
        python: The interpreter.
        work: Folder for what steps need of each other.
        out: Folder of the results.
        dry: Whether to run on the CPU, at a small size.
        workers: Processes that share the GPU in the tests; 0 to run them in one, without pytest-xdist.
    """
    steps = [
        *_build(python, work, out, dry=dry, workers=workers),
        *_operator(python, dry=dry),
        *_sanitizers(python, dry=dry),
        *_product(python, work, dry=dry),
        *_details(python, dry=dry),
    ]
    return [replace(step, seconds=step.seconds * DRY_FACTOR) for step in steps] if dry else steps


def _device(dry: bool) -> list[str]:
    return ["--device", "cpu" if dry else "cuda"]


def _build(python: str, work: Path, out: Path, *, dry: bool, workers: int) -> Iterator[Step]:
    abawkit = [python, "-m", "abawkit"]
    build = [python, "-m", "benchmarks.gpu.build", *(["--dry", str(work / "site")] if dry else [])]
    yield Step("build", build, 150)
    yield Step("machine", [python, "-m", "benchmarks.gpu.machine", *_device(dry)], 30, json_output=True)
    yield Step("ops", [*abawkit, "ops", "--json"], 45, json_output=True)  # the first self-checks, of the CPU too
    yield Step("self_check", [*abawkit, "ops", "check", *_device(dry), "--json"], 40, json_output=True)
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "--durations", "5"]
    tests += ["-n", str(workers)] if workers else []
    variables = {"OMP_NUM_THREADS": "2", "ABAWKIT_REQUIRE_GPU": "" if dry else "1"}
    yield Step("tests", [*tests, f"--junitxml={out / 'tests.xml'}", *TESTS], 120, environment=variables)


def _operator(python: str, *, dry: bool) -> Iterator[Step]:
    bench = [python, "-m", "abawkit", "ops", "bench", "--json", *_device(dry), "--rounds", "1" if dry else "5"]
    images = [part for n in ((2,) if dry else IMAGES) for part in ("--images", str(n))]
    low = ["--dtype", "bfloat16", "--channels-last"]
    yield Step("operator_float32", [*bench, "--no-compile", *images], 40, json_output=True)
    low += ["--mode", "evaluation"] if dry else []  # eager training in bfloat16 takes a CPU a minute
    yield Step("operator_bfloat16", [*bench, "--no-compile", *low, *images], 40, json_output=True)


def _sanitizers(python: str, *, dry: bool) -> Iterator[Step]:
    for tool in TOOLS:
        chosen = "none" if dry else tool
        yield Step(tool, [python, "-m", "benchmarks.gpu.sanitize", chosen, *_device(dry)], 45)


def _product(python: str, work: Path, *, dry: bool) -> Iterator[Step]:
    """The whole network; epochs of the demo, and over 52,154 frames; 51,159 packed frames to a submission."""
    abawkit, device = [python, "-m", "abawkit"], "cpu" if dry else "cuda"
    size = ["--network", "ddamfn-nano", "--images", "4"] if dry else ["--images", str(BATCH), "64"]
    network = [python, "-m", "benchmarks.gpu.network", *_device(dry), *size]
    yield Step("network", network, 60, json_output=True)
    release, curated, large = work / "release", work / "curated", work / "large"
    yield Step("release", [*abawkit, "synth", str(release), "--size", "tiny" if dry else "demo"], 60)
    yield Step("curate", [*abawkit, "curate", str(release), "--out", str(curated)], 30)
    train = [*abawkit, "train"]
    changes = ["--set", f"device={device}", "--set", "heads.epochs=0", "--set", "all.epochs=2"]
    out = work / "demo"
    command = [*train, "demo", "--data", str(curated), "--out", str(out), *changes]
    yield Step("demo_epochs", command, 60, results=out / "metrics.jsonl")
    rows = ["--train", "64", "--validation", "64"] if dry else ["--train", str(TRAIN), "--validation", str(VALIDATION)]
    yield Step("frames", [python, "-m", "benchmarks.gpu.frames", str(curated), str(large), *rows], 30)
    out = work / "epochs"
    changes += ["--set", f"batch_size={32 if dry else BATCH}", *(["--set", "network=ddamfn-nano"] if dry else [])]
    command = [*train, "baseline", "--data", str(large), "--out", str(out), *changes]
    yield Step("epochs", command, 60, results=out / "metrics.jsonl")
    command = [*abawkit, "predict", str(out), "--data", str(large), "--split", "validation", *_device(dry)]
    yield Step("submission", [*command, "--out", str(work / "submission.txt")], 40)


def _details(python: str, *, dry: bool) -> Iterator[Step]:
    bench = [python, "-m", "abawkit", "ops", "bench", "--json", *_device(dry), "--rounds", "1" if dry else "5"]
    size = ["--images", "2" if dry else str(BATCH), "--mode", "training"]
    yield Step("compiled", [*bench, *size], 90, json_output=True)
    kernels = [python, "-m", "benchmarks.gpu.kernels", *_device(dry)]
    yield Step("kernels", kernels, 45, json_output=True)
    yield Step("ncu", [*kernels, "--once" if dry else "--ncu"], 45)

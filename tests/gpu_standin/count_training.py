"""What training asks of a GPU: kernels, copies and synchronisations a step, a checkpoint and a validation.

From the command line, with the Python of an environment of ``make gpu-standin``::

    python tests/gpu_standin/count_training.py CURATED [--package CHECKOUT] [--kernels N] [--stalls] [KEY=VALUE ...]

KEY=VALUE changes the recipe, which is a small one on ``cuda``. ``--package`` counts the Python sources of another
checkout, with the compiled operators of the environment. ``--kernels`` lists the N kernels launched most in the last
step, ``--stalls`` the lines of abawkit that wait for the device or copy between it and the host.
"""

import argparse
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tests.gpu_standin.host_kernels import HostKernels, host_kernels_in_all_threads
from tests.gpu_standin.runtime_calls import Costs, clear_calls, read_counts, read_operators, summarise


class Counted(NamedTuple):
    """Costs of the parts of a run, each in the order in which they came.

    Attributes:
        steps: From the beginning of a step to that of the next, without what follows.
        checkpoints: Of writing each checkpoint.
        validations: Of each validation, all its batches together.
    """

    steps: list[Costs]
    checkpoints: list[Costs]
    validations: list[Costs]


class Meter:
    """Attributes what the runtime is asked for to the part of the run that asks."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, Counter[str], int]] = []
        self.open: list[str] = []
        self.part = "preparation"
        self.counts: Counter[str] = Counter()
        self.operators = 0

    def take(self) -> None:
        """Adds what was asked since the last call to the present part."""
        self.counts += read_counts()
        self.operators += len(read_operators())
        clear_calls()

    def begin(self, part: str) -> None:
        """Ends the present part and begins another."""
        self.take()
        self.parts.append((self.part, self.counts, self.operators))
        self.part, self.counts, self.operators = part, Counter(), 0

    def costs(self, part: str) -> list[Costs]:
        """Of all parts of a name."""
        return [summarise(counts, operators) for name, counts, operators in self.parts if name == part]

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose calls are a part of their own; what is asked after it is of no part."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.begin(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.begin("between")

        return call

    def from_here(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function at whose calls a part begins that goes on until the next begins."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.begin(part)
            return function(*args, **kwargs)

        return call


class StallsByLine(HostKernels):  # type: ignore[no-untyped-call]
    """Notes which lines of abawkit ask for synchronisations and for copies between host and device.

    Attributes:
        lines: How often, by operator and line.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, *rest: Any, **named: Any) -> Any:
        """Calls the operator, and compares the counts before and after it."""
        before = _stalls()
        found = super().__torch_dispatch__(func, *rest, **named)
        if _stalls() > before and not func.is_view:  # a view that copies has called the operator that does
            frames = [frame for frame in traceback.extract_stack() if "/abawkit/" in frame.filename]
            line = f"{frames[-1].filename.rpartition('/abawkit/')[2]}:{frames[-1].lineno}" if frames else "elsewhere"
            self.lines[f"{func} {line}"] += 1
        return found


def _stalls() -> int:
    return sum(n for call, n in read_counts().items() if call.startswith(("synchronisation", "copy in,", "copy out,")))


@contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """Runs within this block say where their steps, checkpoints and validations begin and end."""
    from abawkit.training.learner import Learner
    from abawkit.training.loop import Loop

    clear_calls()
    with (
        mock.patch.object(Learner, "step", meter.from_here("step", Learner.step)),
        mock.patch.object(Loop, "save", meter.around("checkpoint", Loop.save)),
        mock.patch.object(Loop, "validate", meter.around("validation", Loop.validate)),
    ):
        yield
    meter.begin("end")


def count_training(curated: Path, out: Path, changes: dict[str, Any], kernels: HostKernels | None = None) -> Counted:
    """Trains on ``cuda`` under the stand-in runtime and counts.

    Args:
        curated: Folder of a curated set.
        out: Folder for the run, which exists.
        changes: To the recipe; nested as in TOML.
        kernels: Instead of a `HostKernels`.
    """
    from abawkit.errors import DataWarning
    from abawkit.training.recipe import Recipe
    from abawkit.training.run import train
    from abawkit.training.start import Inputs

    plain = {
        "network": "ddamfn-nano",
        "batch_size": 20,  # four steps an epoch
        "device": "cuda",
        "heads": {"epochs": 1, "learning_rate": 1e-2},
        "all": {"epochs": 1, "learning_rate": 1e-3},
    }
    recipe = Recipe.model_validate(_merge(plain, changes))
    meter = Meter()
    with host_kernels_in_all_threads(kernels), metered(meter), warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of a small set, which lacks expressions
        train(recipe, Inputs(curated), out)
    return Counted(meter.costs("step"), meter.costs("checkpoint"), meter.costs("validation"))


def _merge(plain: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(plain)
    for key, value in changes.items():
        merged[key] = _merge(plain.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def _parse(settings: list[str]) -> dict[str, Any]:
    import tomllib

    found: dict[str, Any] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        for part in reversed(key.split(".")):
            parsed = {part: parsed}
        found = _merge(found, parsed)
    return found


def _use_package(checkout: Path, folder: Path) -> None:
    """Puts a checkout's Python sources before those of the environment, with its compiled operators."""
    import abawkit

    installed = Path(abawkit.__file__).parent / "ops"
    shutil.copytree(checkout / "abawkit", folder / "abawkit", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for path in [*installed.glob("*.so"), installed / "build_note.txt"]:
        shutil.copy(path, folder / "abawkit" / "ops")
    for name in [name for name in sys.modules if name.split(".")[0] == "abawkit"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))


def _lines(name: str, costs: list[Costs]) -> list[str]:
    return [f"{name} {i}: {cost}" for i, cost in enumerate(costs)]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("curated", type=Path)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--kernels", type=int, default=0)
    parser.add_argument("--stalls", action="store_true")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    given = parser.parse_args()
    kernels = StallsByLine() if given.stalls else HostKernels()
    with tempfile.TemporaryDirectory() as folder:
        if given.package:
            _use_package(given.package, Path(folder))
        out = Path(folder) / "run"
        out.mkdir()
        counted = count_training(given.curated, out, _parse(given.settings), kernels)
    lines = [
        *_lines("step", counted.steps),
        *_lines("checkpoint", counted.checkpoints),
        *_lines("validation", counted.validations),
    ]
    if given.kernels:
        lines += [f"{times:6} {name}" for name, times in counted.steps[-1].by_kernel.most_common(given.kernels)]
    if isinstance(kernels, StallsByLine):
        lines += [f"{times:6} {line}" for line, times in kernels.lines.most_common()]
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()

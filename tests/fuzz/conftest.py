"""Fuzzing: inputs made at random, most of them nearly right, for whatever reads what comes from elsewhere.

Each test is one target. It says what must hold for any input, and which outcomes its inputs must have had, so that one
whose inputs are all refused at the door is noticed. In ``make test`` a target tries a modest number of inputs, the same
ones each time.

``ABAWKIT_FUZZ_EXAMPLES=20000 pytest tests/fuzz -n 2`` tries that many for each target, other ones each time, and says
how many there were. What failed is shrunk and printed; the test that keeps it away belongs beside those of its module.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Protocol

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abawkit.models.config import NetworkConfig, Split, StageConfig
from abawkit.models.network import DDAMFN
from abawkit.run_names import BEST
from abawkit.scoring.score import Score
from abawkit.training.callbacks import Callbacks
from abawkit.training.checkpoint import Position
from abawkit.training.distributed import ALONE
from abawkit.training.learner import Learner
from abawkit.training.loop import Loop
from abawkit.training.progress import capture_generators, restore_generators
from abawkit.training.recipe import Recipe, Stage

EXAMPLES: Final = int(os.environ.get("ABAWKIT_FUZZ_EXAMPLES", "0"))
PATIENCE: Final = 60
"""Seconds after which an input counts as one that never ends; the slowest takes a thousandth of that."""
RARE: Final = 0.01
"""An outcome that fewer of the inputs have is not one that is tried."""

Strategy = st.SearchStrategy[Any]


class Fuzz(Protocol):
    """Calls a check with inputs of a strategy; each outcome that is named must be what it says of some of them."""

    def __call__(
        self, check: Callable[[Any], str], inputs: Strategy, *, outcomes: Sequence[str], examples: int
    ) -> None: ...


class NeverEnds(BaseException):
    """Not an Exception, so that no reader takes it for a defect of its file."""


@contextmanager
def patience(seconds: int, given: Any) -> Iterator[None]:
    def give_up(*_: Any) -> None:
        raise NeverEnds(f"{given!r:.2000}")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def fuzz(record_property: Callable[[str, object], None]) -> Fuzz:
    def fuzz(check: Callable[[Any], str], inputs: Strategy, *, outcomes: Sequence[str], examples: int) -> None:
        found: Counter[str] = Counter()

        def tried(given: Any) -> None:
            with patience(PATIENCE, given):
                outcome = check(given)
            found[outcome] += 1

        chosen = settings(
            max_examples=EXAMPLES or examples,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        began = time.monotonic()
        try:
            chosen(given(inputs)(tried))()
        finally:
            record_property("fuzz", dict(found))
            record_property("fuzz seconds", round(time.monotonic() - began, 1))
        rare = [outcome for outcome in outcomes if found[outcome] < RARE * found.total()]
        assert not rare, f"inputs are of one kind: {dict(found)}"

    return fuzz


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    found = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            properties = dict(getattr(report, "user_properties", ()))
            if "fuzz" in properties and report.when == "call":
                found[report.nodeid] = properties
    for name, properties in sorted(found.items()) if EXAMPLES else ():
        words = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(properties["fuzz"].items()))
        terminalreporter.write_line(f"fuzz: {name}: {words}; {properties['fuzz seconds']} s")


TEXTS: Final = [
    "state.pt",
    "manifest.json",
    "network.safetensors",
    "abawkit.checkpoint.2",
    "",
    ".",
    "..",
    "/",
    "a/b",
    "\0",
    "\n",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "é",
    "nan",
    "9" * 5000,
    "x" * 300,
]
NUMBERS: Final = [0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")]


@pytest.fixture(scope="session")
def scalars() -> Strategy:
    """What stands in JSON beside arrays and objects, and what Python's reader takes for it."""
    texts = st.sampled_from(TEXTS) | st.text(st.characters(), max_size=8)
    return st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats() | texts


@pytest.fixture(scope="session")
def json_values(scalars: Strategy) -> Strategy:
    keys = st.sampled_from(TEXTS) | st.text(max_size=4)
    return st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def parts(tree: Any) -> list[tuple[Any, Any]]:
    """Keys and values of a dict, a list or a tuple; of a long one, those at its ends."""
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    return items if len(items) <= 20 else [*items[:2], *items[-2:]]


def places(tree: Any, depth: int = 8) -> Iterator[tuple[Any, ...]]:
    """Where there are values within a tree of dicts, lists and tuples: the keys that lead there."""
    yield ()
    if depth and isinstance(tree, dict | list | tuple):
        for key, value in parts(tree):
            yield from ((key, *rest) for rest in places(value, depth - 1))


def at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


def changed(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The tree with another value at a place; the tree itself stays as it is."""
    if not place:
        return value
    key, *rest = place
    inner = changed(tree[key], tuple(rest), value)
    return {**tree, key: inner} if isinstance(tree, dict) else type(tree)([*tree[:key], inner, *tree[key + 1 :]])


def without(tree: Any, place: tuple[Any, ...]) -> Any:
    """The tree without what is at a place."""
    parent, key = at(tree, place[:-1]), place[-1]
    if isinstance(parent, dict):
        return changed(tree, place[:-1], {name: value for name, value in parent.items() if name != key})
    return changed(tree, place[:-1], type(parent)([*parent[:key], *parent[key + 1 :]]))


@pytest.fixture(scope="session")
def forged() -> Callable[[Any, Strategy], Strategy]:
    """Trees of dicts, lists and tuples, like one that is right but for one to three places."""

    def forged(right: Any, values: Strategy) -> Strategy:
        @st.composite
        def trees(draw: st.DrawFn) -> Any:
            tree = right
            for _ in range(draw(st.integers(1, 3))):
                anywhere = st.sampled_from(list(places(tree)))
                place = draw(anywhere)
                old, change = (
                    at(tree, place),
                    draw(st.sampled_from(["value", "value", "another's", "gone", "one more"])),
                )
                if change == "gone" and place:
                    tree = without(tree, place)
                elif change == "another's":
                    tree = changed(tree, place, at(tree, draw(anywhere)))
                elif change == "one more" and isinstance(old, dict):
                    tree = changed(tree, place, {**old, draw(st.sampled_from(TEXTS)): draw(values)})
                elif change == "one more" and isinstance(old, list | tuple):
                    tree = changed(tree, place, type(old)([*old, draw(values)]))
                else:
                    tree = changed(tree, place, draw(values))
            return tree

        return trees()

    return forged


TINY: Final = NetworkConfig(
    stem=4,
    stages=(StageConfig(width=4, entry=(Split(3, 4),), depth=1, residual=(Split(3, 4),)),),
    embedding=8,
    attention_heads=1,
    resolution=16,
)
RECIPE: Final = Recipe(network="ddamfn-nano", device="cpu", ema=0.9, heads=Stage(epochs=2), all=Stage(epochs=1))
NOTES: Final = {
    "recipe": RECIPE.to_toml(),
    "data": {"folder": "curated", "table_digest": "0" * 64, "frames": None, "rows": "2" * 64},
    "weights": {"path": "start.safetensors", "sha256": "1" * 64},
    "asked_ops": None,
    "launcher": "",
    "environment": {"python": "3.11", "device": "cpu (a processor)", "threads": 1, "ops": {"a": "b"}, "git": None},
}


def tiny_loop(out: Path) -> Loop:
    """A run of a network that has learned nothing yet; its rows are never looked at."""
    nothing: Any = SimpleNamespace(annotations=None)
    network = DDAMFN(TINY)
    learner = Learner(RECIPE, network, nothing, torch.device("cpu"), bfloat16=False, processes=ALONE)
    learner.embeds = False  # it would look at the rows
    return Loop(learner, nothing, out, notes=NOTES, callbacks=Callbacks())


def learn(loop: Loop, epoch: int, batch: int) -> None:
    """Brings a run to a moment of an epoch, as steps would, and saves it."""
    scheduled = loop.plan[epoch]
    loop.learner.begin_epoch(scheduled, fresh=scheduled.within == 0)
    assert loop.learner.stage is not None
    assert loop.learner.average
    for parameter in loop.learner.network.parameters():
        parameter.grad = torch.full_like(parameter, 0.1) if parameter.requires_grad else None
    loop.learner.stage.optimizer.step()
    loop.learner.average.update()
    progress = loop.progress
    progress.position, progress.steps, progress.done = Position(epoch, batch), progress.steps + batch, progress.done + 9
    progress.sums, progress.counted, progress.bad = {"total": 1.5, "va": 1.0}, 9, 0
    loop.save()
    loop.finish_save()


@pytest.fixture(scope="session")
def tiny() -> Callable[[Path], Loop]:
    return tiny_loop


@pytest.fixture(scope="session")
def notes() -> dict[str, Any]:
    return {**NOTES, "environment": {**NOTES["environment"], "python": "3.12"}}  # type: ignore[dict-item]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with two checkpoints, the newer one in the midst of the second of three epochs."""
    out = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    loop = tiny_loop(out)
    learn(loop, 0, 3)
    part = np.linspace(0, 1, 12).tolist()
    score = Score("official", 9, 0.5, 0.5, 0.5, 0.25, 0.25, 1.0, part[:8], part)
    progress = loop.progress
    progress.best_epoch, progress.best_score, progress.scores = 1, 1.0, {"official": score.as_dict()}
    progress.history, progress.resumed = ['{"epoch": 1}'], [{"from": "0000-000000", "drift": ["  a: was 1, is 2"]}]
    loop.save_validated([BEST], 1.0)
    learn(loop, 1, 2)
    return out


@pytest.fixture(autouse=True)
def same_generators() -> Iterator[None]:
    """A state that is taken up changes the global generators."""
    before = capture_generators()
    yield
    restore_generators(before)

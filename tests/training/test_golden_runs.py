"""Short runs of every shipped recipe end as they did when ``tests/golden/runs.json`` was written.

A change of numbers is a change of that file in the same commit, with a word in CHANGELOG:

    ABAWKIT_RECORD_RUNS=1 python -m pytest tests/training/test_golden_runs.py

Losses are compared on every machine, with a tolerance for rounding; the bits of the weights where this
kind of processor and this torch were recorded, for the reference and for the native operators.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from abawkit.inspection.weights import digest_weights
from abawkit.ops import use
from abawkit.training.recipe import read_recipe
from abawkit.training.run import train
from abawkit.training.start import Inputs

STORED = Path(__file__).parents[1] / "golden/runs.json"

SHORT = ("batch_size=48", "device=cpu", "precision=float32", "all.epochs=1")
WINDOWS = ("batch_size=48", "device=cpu", "all.epochs=2", "sequence.window=32")
FRAMES = (*SHORT, "network=ddamfn-nano", "weights=optional", "heads.epochs=1")
RECIPES = {
    "baseline": FRAMES,
    "demo": FRAMES,
    "paper": FRAMES,
    "sequence-frame": WINDOWS,
    "sequence-tcn": WINDOWS,
    "sequence-bigru": WINDOWS,
}
TOLERANCES = (1e-3, 1e-2)
"""Of the losses of each epoch, relative to 1 where they are smaller: rounding grows from step to step."""


def describe_processor() -> str:
    """What the bits of a run depend on beside the code: the processor's kind, and torch."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    kind = " ".join(facts.get(name, "-") for name in ("vendor_id", "cpu family", "model", "cache size"))
    return f"{kind}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


@pytest.mark.parametrize("ops", ["reference", "native"])
@pytest.mark.parametrize("name", RECIPES)
def test_a_short_run_ends_as_it_did(name: str, ops: str, curated: Path, features: Path, tmp_path: Path) -> None:
    if ops == "native" and name.startswith("sequence"):
        pytest.skip("a sequence network has no operator to choose")
    recipe = read_recipe(name, RECIPES[name])
    inputs = Inputs(curated, features=(features,)) if recipe.is_sequence else Inputs(curated)
    with use(ops):
        train(recipe, inputs, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    found = [line["losses"] for line in lines]
    digest = digest_weights(tmp_path / "last.safetensors")
    if os.environ.get("ABAWKIT_RECORD_RUNS"):
        record(name, ops, found, digest)
        pytest.skip("recorded")
    stored = json.loads(STORED.read_text())[name]
    assert agree(found, stored["epochs"]), (found, stored["epochs"])
    bits = stored["weights"].get(describe_processor(), {}).get(ops)
    assert bits in (None, digest)


def agree(found: list[dict[str, float]], stored: list[dict[str, float]]) -> bool:
    """Whether the losses of each epoch are the same within `TOLERANCES`."""
    pairs = zip(found, stored, TOLERANCES, strict=False)
    return len(found) == len(stored) and all(
        now == pytest.approx(before, rel=tolerance, abs=tolerance) for now, before, tolerance in pairs
    )


def record(name: str, ops: str, epochs: list[dict[str, float]], digest: str) -> None:
    """Writes a run's bits on this kind of processor, and where they changed its numbers, which are the reference's."""
    stored = json.loads(STORED.read_text()) if STORED.exists() else {}
    entry = stored.setdefault(name, {"epochs": [], "weights": {}})
    if ops == "reference" and not agree(epochs, entry["epochs"]):
        entry["epochs"], entry["weights"] = epochs, {}  # bits of other processors are those of other numbers
    entry["weights"].setdefault(describe_processor(), {})[ops] = digest
    STORED.write_text(json.dumps(dict(sorted(stored.items())), indent=1, sort_keys=True) + "\n")

"""What is asked for before work begins is what the work then asks for."""

from contextlib import nullcontext
from importlib import import_module
from typing import Any

import pytest
import torch

from abawkit.choices import InferencePrecision
from abawkit.models.attention import describe_operators, list_convolution_calls, make_attention_call
from abawkit.models.config import NETWORKS
from abawkit.models.devices import use_bfloat16
from abawkit.models.network import DDAMFN
from abawkit.ops import attention, registry
from abawkit.ops.base import Call
from abawkit.ops.reference import Reference

CPU = torch.device("cpu")
mixed_block, norm_prelu, stem = (import_module(f"abawkit.ops.{name}") for name in ("mixed_block", "norm_prelu", "stem"))
NANO = NETWORKS["ddamfn-nano"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_calls_are_those_of_the_network(
    monkeypatch: pytest.MonkeyPatch, training: bool, precision: InferencePrecision
) -> None:
    seen: list[Call] = []

    def spy(call: Call, name: str | None = None) -> Any:
        seen.append(call)
        return registry._select(call, name or "reference")

    for module, name in (
        (attention, "select"),
        (mixed_block, "select_block"),
        (norm_prelu, "select_norm"),
        (stem, "select_stem"),
    ):
        monkeypatch.setattr(module, name, spy)
    network = DDAMFN(NANO).train(training)
    within = use_bfloat16(CPU) if precision == "bfloat16" else nullcontext()
    with torch.set_grad_enabled(training), within:
        network(torch.zeros(2, 3, 112, 112))
    expected = [
        make_attention_call(NANO, CPU, precision, training=training),
        *list_convolution_calls(NANO, CPU, precision, training=training),
    ]
    assert set(seen) == set(expected)


def test_one_name_stands_for_all_calls_and_several_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick(Reference):
        name = "vendor/quick"

        def reasons(self, call: Call) -> list[str]:
            return ["it has no backward"] if call.training else []

    calls = [make_attention_call(NANO, CPU, "float32", training=training) for training in (False, True, False)]
    with registry.use("reference"):
        assert describe_operators(calls) == {"dual_direction_attention": "reference"}
    registry.refresh()
    with monkeypatch.context() as patched:
        found = (
            registry.Offer("vendor/quick", "", "", 9, Quick()),
            registry.Offer("reference", "", "", 0, Reference()),
        )
        patched.setattr(registry, "_load_offers", lambda _: found)
        patched.delenv("ABAWKIT_OPS", raising=False)
        with pytest.warns(match="it has no backward"):
            named = describe_operators(calls)
    registry.refresh()
    assert named == {"dual_direction_attention": "reference in training, vendor/quick in evaluation"}

"""What is asked for before work begins is what the work then asks for."""

from typing import Any

import pytest
import torch

from abawkit.models.attention import describe_operators, make_attention_call
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.ops import attention, registry
from abawkit.ops.base import Call
from abawkit.ops.reference import Reference

CPU = torch.device("cpu")
NANO = NETWORKS["ddamfn-nano"]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_call_is_that_of_the_network(monkeypatch: pytest.MonkeyPatch, training: bool, dtype: torch.dtype) -> None:
    seen: list[Call] = []

    def spy(call: Call, name: str | None = None) -> Any:
        seen.append(call)
        return registry.select(call, name or "reference")

    monkeypatch.setattr(attention, "select", spy)
    network = DDAMFN(NANO).train(training)
    with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        network(torch.zeros(2, 3, 112, 112))
    assert seen == [make_attention_call(NANO, CPU, dtype, training=training)]


def test_one_name_stands_for_all_calls_and_several_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick(Reference):
        name = "vendor/quick"

        def reasons(self, call: Call) -> list[str]:
            return ["it has no backward"] if call.training else []

    calls = [make_attention_call(NANO, CPU, torch.float32, training=training) for training in (False, True, False)]
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

"""What every implementation can serve on this machine, and why not the rest."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch

from abawkit.ops.base import Call
from abawkit.ops.examples import DDAMFN_SIZES
from abawkit.ops.parameters import Sizes
from abawkit.ops.registry import OPERATOR, Offer, best, implementations, wished

DTYPES: Final = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""The types that are asked for, the most usual first."""


@dataclass(frozen=True)
class Serving:
    """Whether one implementation serves one kind of call.

    Attributes:
        device: ``cpu`` or ``cuda:0``.
        dtype: ``float32``.
        training: Whether in training, with gradients, or in evaluation, without.
        reasons: Why not; empty where it does.
    """

    device: str
    dtype: str
    training: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """What runs here.

    Attributes:
        sizes: That all was asked for.
        wished: The name that `abawkit.ops.use` or the environment ask for, if any.
        offers: Every implementation, the best first.
        servings: For each of them, by name, what it serves.
        automatic: The automatic choice by device, type and training.
        facts: Of the native build, by name; empty where there is none.
    """

    sizes: Sizes
    wished: str | None
    offers: list[Offer]
    servings: dict[str, list[Serving]]
    automatic: dict[tuple[str, str, bool], str | None]
    facts: dict[str, str]

    @property
    def devices(self) -> list[str]:
        """The devices that were asked for."""
        return list(dict.fromkeys(device for device, _, _ in self.automatic))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "operator": OPERATOR,
            "sizes": self.sizes._asdict(),
            "wished": self.wished,
            "implementations": [
                {
                    "name": offer.name,
                    "package": offer.package,
                    "summary": offer.summary,
                    "priority": offer.priority if offer.implementation else None,
                    "error": offer.error or None,
                    "calls": [
                        {
                            "device": serving.device,
                            "dtype": serving.dtype,
                            "mode": mode_of(training=serving.training),
                            "runs": not serving.reasons,
                            "reasons": list(serving.reasons),
                        }
                        for serving in self.servings[offer.name]
                    ],
                }
                for offer in self.offers
            ],
            "automatic": [
                {"device": device, "dtype": dtype, "mode": mode_of(training=training), "name": name}
                for (device, dtype, training), name in self.automatic.items()
            ],
            "native": self.facts,
        }


def survey(sizes: Sizes = DDAMFN_SIZES) -> Survey:
    """Asks every installed implementation what it serves here.

    Args:
        sizes: Of the operator; those of the published network by default.
    """
    offers = implementations()
    calls = list(_calls(sizes))
    servings = {
        offer.name: [Serving(*_kind(call), tuple(offer.reasons_for(call))) for call in calls] for offer in offers
    }
    automatic = {_kind(call): offer.name if (offer := best(call).chosen) else None for call in calls}
    return Survey(sizes, wished(), offers, servings, automatic, native_facts())


def devices() -> list[torch.device]:
    """The CPU and every GPU that torch finds."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cpu"), *(torch.device("cuda", i) for i in range(count))]


def mode_of(*, training: bool) -> str:
    """``training`` or ``evaluation``."""
    return "training" if training else "evaluation"


def native_facts() -> dict[str, str]:
    """What the native build says of itself: compiler, instruction sets, torch; empty where there is none."""
    try:
        from abawkit.ops import binary

        facts = dict(binary.build_facts())
        if facts and not binary.load():
            facts["instruction_set_here"] = binary.instruction_set()
    except Exception:  # a broken build is a reason of its implementation's, not the end of a listing
        return {}
    return facts


def _calls(sizes: Sizes) -> Iterator[Call]:
    for device in devices():
        for training in (False, True):
            for dtype in DTYPES:
                yield Call(device, dtype, sizes, training=training, gradients=training)


def _kind(call: Call) -> tuple[str, str, bool]:
    return str(call.device), str(call.dtype).removeprefix("torch."), call.training

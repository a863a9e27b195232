"""What every implementation can serve on this machine, why not the rest, and whether what is served is right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from abawkit.ops.base import Call, Implementation
from abawkit.ops.reference import Reference
from abawkit.ops.registry import OPERATOR, Offer, Request, find_best, find_request, list_implementations
from abawkit.ops.self_check import Comparison, check, describe_differences
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES

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
        request: The request of `abawkit.ops.use` or the environment, if any.
        offers: Every implementation, the best first.
        servings: For each of them, by name, what it serves.
        automatic: The automatic choice by device, type and training.
        facts: Of the native build, by name; empty where there is none.
    """

    sizes: Sizes
    request: Request | None
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
            "wished": self.request.name if self.request else None,
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
                            "mode": name_mode(training=serving.training),
                            "runs": not serving.reasons,
                            "reasons": list(serving.reasons),
                        }
                        for serving in self.servings[offer.name]
                    ],
                }
                for offer in self.offers
            ],
            "automatic": [
                {"device": device, "dtype": dtype, "mode": name_mode(training=training), "name": name}
                for (device, dtype, training), name in self.automatic.items()
            ],
            "native": self.facts,
        }


def survey_operators(sizes: Sizes = DDAMFN_SIZES) -> Survey:
    """Asks every installed implementation what it serves here.

    Args:
        sizes: Of the operator; those of the published network by default.
    """
    offers = list_implementations()
    calls = list(_calls(sizes))
    servings = {
        offer.name: [Serving(*_kind(call), tuple(offer.reasons_for(call))) for call in calls] for offer in offers
    }
    automatic = {_kind(call): offer.name if (offer := find_best(call).chosen) else None for call in calls}
    return Survey(sizes, find_request(), offers, servings, automatic, read_native_facts())


CHECKED_SIZES: Final = (
    DDAMFN_SIZES,
    Sizes(channels=37, height=7, width=7, heads=2, squeezed=16),
    Sizes(channels=24, height=3, width=5, heads=2, squeezed=4),
    Sizes(channels=9, height=5, width=1, heads=3, squeezed=8),
)
"""The published sizes, the same with channels that no tile divides, and sizes that nothing is specialised for."""

CHECKED_IMAGES: Final = (5, 16, 33)
"""Not 2: a batch norm over two images has gradients that vanish, so that their relative error is rounding alone."""


@dataclass(frozen=True)
class Checked:
    """How the results of one implementation compare with the reference's, for one kind of call.

    Attributes:
        name: Of the implementation.
        device: ``cpu`` or ``cuda:0``.
        dtype: ``float32``.
        training: Whether in training, with gradients, or in evaluation, without.
        compared: Tensors that were compared.
        worst: The comparison that came nearest to its bound, or went furthest beyond it.
        reason: What is wrong; empty where everything is right.
    """

    name: str
    device: str
    dtype: str
    training: bool
    compared: int
    worst: Comparison | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        worst = self.worst._asdict() if self.worst else None
        if worst and worst["error"] != worst["error"]:
            worst["error"] = None  # JSON has no NaN
        return {
            "name": self.name,
            "device": self.device,
            "dtype": self.dtype,
            "mode": name_mode(training=self.training),
            "compared": self.compared,
            "worst": worst,
            "reason": self.reason,
        }


def check_all(on: Sequence[torch.device], name: str | None = None) -> Iterator[Checked]:
    """Compares every implementation with the reference at length, whatever earlier checks found.

    Args:
        on: The devices.
        name: Of the implementation that alone is checked, or None for all.

    Yields:
        A result for each kind of call that an implementation says that it can serve.
    """
    for offer in list_implementations():
        implementation = offer.implementation
        if implementation is None or offer.name == Reference.name or name not in (None, offer.name):
            continue
        for device in on:
            for training in (False, True):
                for dtype in DTYPES:
                    kinds = [Call(device, dtype, sizes, training, gradients=training) for sizes in CHECKED_SIZES]
                    served = [call for call in kinds if not implementation.reasons(call)]
                    if served:
                        yield _check_one(implementation, served)


def _check_one(implementation: Implementation, calls: Sequence[Call]) -> Checked:
    device, dtype, training = _kind(calls[0])
    comparisons: list[Comparison] = []
    try:
        for call in calls:
            comparisons += check(implementation, call, images=CHECKED_IMAGES)
        reason = describe_differences(comparisons, calls[0].device)
    except (Exception, SystemExit) as error:  # another's code raises anything
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    worst = max(comparisons, key=lambda c: c.excess, default=None)
    return Checked(implementation.name, device, dtype, training, len(comparisons), worst, reason)


def list_devices() -> list[torch.device]:
    """The CPU and every GPU that torch finds."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cpu"), *(torch.device("cuda", i) for i in range(count))]


def name_mode(*, training: bool) -> str:
    """``training`` or ``evaluation``."""
    return "training" if training else "evaluation"


def read_native_facts() -> dict[str, str]:
    """What the native build says of itself: compiler, instruction sets, torch; empty where there is none."""
    try:
        from abawkit.ops import native_library as binary

        facts = dict(binary.read_build_facts())
        if facts and not binary.load():
            facts["instruction_set_here"] = binary.read_instruction_set()
        if path := binary.find_binary():
            facts["library"] = str(path)
    except Exception:  # a broken build is a reason of its implementation's, not the end of a listing
        return {}
    return facts


def _calls(sizes: Sizes) -> Iterator[Call]:
    for device in list_devices():
        for training in (False, True):
            for dtype in DTYPES:
                yield Call(device, dtype, sizes, training=training, gradients=training)


def _kind(call: Call) -> tuple[str, str, bool]:
    return str(call.device), str(call.dtype).removeprefix("torch."), call.training

"""The calls that each implementation serves on this machine, and comparisons of all of them with the reference."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from abawkit.ops.base import Call, OperatorImplementation
from abawkit.ops.mixed_block_tensors import BlockSizes
from abawkit.ops.norm_prelu_tensors import NormSizes
from abawkit.ops.operators import ATTENTION, MIXED_BLOCK, OPERATORS, Operator
from abawkit.ops.reference import Reference
from abawkit.ops.registry import Offer, Request, find_best, find_request, list_implementations
from abawkit.ops.self_check import Comparison, check, describe_differences
from abawkit.ops.stem_tensors import StemSizes
from abawkit.ops.tensors import Sizes

DTYPES: Final = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Types of features, the most usual first."""


@dataclass(frozen=True)
class Serving:
    """Whether one implementation serves one kind of call.

    Attributes:
        device: ``cpu`` or ``cuda:0``.
        dtype: ``float32``.
        training: In training, with gradients; else in evaluation, without.
        reasons: Why not; empty where it does.
    """

    device: str
    dtype: str
    training: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """The implementations of an operator on this machine.

    Attributes:
        operator: The operator.
        sizes: Of the operator in all calls.
        request: The request of `abawkit.ops.use` or the environment, if any.
        offers: Every implementation, the best first.
        servings: The calls of each of them, by name.
        automatic: The automatic choice by device, type and training.
        facts: Build options of all native operators, beside the attention; empty where there are none.
        alone: Why implementations that train in float32 can't synchronise batch norms over processes, by name and
            device; empty where they can.
    """

    operator: Operator
    sizes: Sizes | BlockSizes | NormSizes | StemSizes
    request: Request | None
    offers: list[Offer]
    servings: dict[str, list[Serving]]
    automatic: dict[tuple[str, str, bool], str | None]
    facts: dict[str, str]
    alone: dict[str, dict[str, list[str]]]

    @property
    def devices(self) -> list[str]:
        """The devices of all calls."""
        return list(dict.fromkeys(device for device, _, _ in self.automatic))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "operator": self.operator.name,
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
                    "not_synchronised": self.alone[offer.name],
                }
                for offer in self.offers
            ],
            "automatic": [
                {"device": device, "dtype": dtype, "mode": name_mode(training=training), "name": name}
                for (device, dtype, training), name in self.automatic.items()
            ],
            "native": self.facts,
        }


def survey_operator(operator: Operator = ATTENTION) -> Survey:
    """Finds out which calls every installed implementation of an operator serves here, for its first sizes."""
    sizes, offers = operator.checked[0], list_implementations(operator)
    calls = list(_list_calls(operator, sizes))
    servings = {
        offer.name: [Serving(*_summarise_call(call), tuple(offer.reasons_for(call))) for call in calls]
        for offer in offers
    }
    automatic = {_summarise_call(call): offer.name if (offer := find_best(call).chosen) else None for call in calls}
    return Survey(
        operator,
        sizes,
        find_request(),
        offers,
        servings,
        automatic,
        read_native_facts() if operator is ATTENTION else {},
        {offer.name: _find_unsynchronised(offer, sizes) if operator.trains else {} for offer in offers},
    )


def _find_unsynchronised(offer: Offer, sizes: Sizes | BlockSizes | NormSizes | StemSizes) -> dict[str, list[str]]:
    calls = (Call(device, torch.float32, sizes, training=True, gradients=True) for device in list_devices())
    trains = [call for call in calls if not offer.reasons_for(call)]
    reasons = {str(call.device): offer.reasons_for(call._replace(synchronised=True)) for call in trains}
    return {device: found for device, found in reasons.items() if found}


@dataclass(frozen=True)
class Checked:
    """The comparison of one implementation with the reference, for one kind of call.

    Attributes:
        operator: Its name.
        name: Of the implementation.
        device: ``cpu`` or ``cuda:0``.
        dtype: ``float32``.
        training: In training, with gradients; else in evaluation, without.
        compared: Number of compared tensors.
        worst: The comparison with the largest error relative to its bound.
        reason: The error; empty where all results are right.
    """

    operator: str
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
            "operator": self.operator,
            "name": self.name,
            "device": self.device,
            "dtype": self.dtype,
            "mode": name_mode(training=self.training),
            "compared": self.compared,
            "worst": worst,
            "reason": self.reason,
        }


def check_all(
    on: Sequence[torch.device], name: str | None = None, operators: Iterable[Operator] = tuple(OPERATORS.values())
) -> Iterator[Checked]:
    """Compares implementations with the reference thoroughly, whatever earlier checks found.

    Args:
        on: The devices.
        name: Of the only implementation to check, or None for all.
        operators: Whose implementations are checked.

    Yields:
        A result for each kind of call that an implementation can serve.
    """
    for operator, offer in ((each, offer) for each in operators for offer in list_implementations(each)):
        implementation = offer.implementation
        if implementation is None or offer.name == Reference.name or name not in (None, offer.name):
            continue
        for device in on:
            for training in operator.modes:
                for dtype in DTYPES:
                    for rounded in (False, True) if (operator, dtype) == (MIXED_BLOCK, torch.float32) else (False,):
                        kinds = [Call(device, dtype, s, training, training, rounded) for s in operator.checked]
                        served = [call for call in kinds if not implementation.reasons(call)]
                        if served:
                            yield _check_one(operator, implementation, served)


def _check_one(operator: Operator, implementation: OperatorImplementation, calls: Sequence[Call]) -> Checked:
    device, dtype, training = _summarise_call(calls[0])
    comparisons: list[Comparison] = []
    try:
        for call in calls:
            comparisons += check(implementation, call, images=operator.images, compare=operator.compare)
        reason = describe_differences(comparisons, calls[0].device)
    except (Exception, SystemExit) as error:  # another's code raises anything
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    worst = max(comparisons, key=lambda c: c.excess, default=None)
    return Checked(operator.name, implementation.name, device, dtype, training, len(comparisons), worst, reason)


def list_devices() -> list[torch.device]:
    """The CPU and every GPU that torch finds."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.device("cpu"), *(torch.device("cuda", i) for i in range(count))]


def name_mode(*, training: bool) -> str:
    """``training`` or ``evaluation``."""
    return "training" if training else "evaluation"


def read_native_facts() -> dict[str, str]:
    """Build options of the native operators: compiler, instruction sets, torch; empty where there are none."""
    try:
        from abawkit.ops import native_library as binary

        facts = dict(binary.read_build_facts())
        if facts and not binary.load():
            facts["instruction_set_here"] = binary.read_instruction_set()
            facts["bfloat16_products"] = "by instructions" if binary.has_bfloat16_products() else "emulated"
        if path := binary.find_binary():
            facts["library"] = str(path)
    except Exception:  # a broken build is a reason of its implementation, not the end of a listing
        return {}
    return facts


def _list_calls(operator: Operator, sizes: Sizes | BlockSizes | NormSizes | StemSizes) -> Iterator[Call]:
    for device in list_devices():
        for training in operator.modes:
            for dtype in DTYPES:
                yield Call(device, dtype, sizes, training=training, gradients=training)


def _summarise_call(call: Call) -> tuple[str, str, bool]:
    dtype = str(call.dtype).removeprefix("torch.") + (", bfloat16 products" if call.bfloat16_products else "")
    return str(call.device), dtype, call.training

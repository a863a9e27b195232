"""An implementation serves a device only after its results there agreed with the reference's."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from typer.testing import CliRunner

from abawkit.cli import app
from abawkit.errors import OpUnavailableError, OpWarning
from abawkit.ops import Gates, Statistics, dual_direction_attention, registry, self_check
from abawkit.ops.base import Arguments, Call
from abawkit.ops.operators import ATTENTION, OPERATORS
from abawkit.ops.reference import Reference
from abawkit.ops.self_check import (
    LEAST_GAP,
    check,
    choose_inputs,
    compute,
    describe_differences,
    find_difference,
    find_smallest_gap,
)
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES, Inputs, make_random_inputs

MODES = {"evaluation": (False, False), "evaluation with gradients": (False, True), "training": (True, True)}
by_mode = pytest.mark.parametrize(("training", "gradients"), MODES.values(), ids=MODES.keys())


def make_call(sizes: Sizes, training: bool = True, gradients: bool = True, dtype: torch.dtype = torch.float32) -> Call:
    return Call(torch.device("cpu"), dtype, sizes, training, gradients)


class Changed(Reference):
    """The reference, whose results are changed by what a test sets."""

    name = "vendor/changed"
    summary = "wrong on purpose"
    priority = 50

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        return super().forward(arguments)


class Inexact(Changed):
    """Off by a thousandth."""

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        embedding, gates = super().forward(arguments)
        return embedding * 1.001, gates


class Forgetful(Changed):
    """Leaves the running statistics where they are."""

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        kept = arguments.statistics
        copies = Statistics(*(s.clone() for s in kept)) if kept else None
        return super().forward(arguments._replace(statistics=copies))


class Flat(Changed):
    """Has no gradient for one of the parameters."""

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        parameters = arguments.parameters
        flat = parameters.row_gate_bias.detach() + 0 * parameters.row_gate_bias
        return super().forward(arguments._replace(parameters=parameters._replace(row_gate_bias=flat)))


class OneLayout(Changed):
    """Takes features in channels_last for contiguous ones."""

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        features = arguments.features
        if not features.is_contiguous():
            features = features.permute(0, 2, 3, 1).reshape(features.shape)
        return super().forward(arguments._replace(features=features))


class FewImages(Changed):
    """Gives nothing for the last image of many."""

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        embedding, gates = super().forward(arguments)
        if len(embedding) > 20:
            embedding = torch.cat([embedding[:-1], torch.full_like(embedding[-1:], torch.nan)])
        return embedding, gates


def test_no_two_heads_are_nearly_equal_where_gradients_are_compared() -> None:
    """Rounding would decide which of them the gradient flows to: a right implementation would be refused."""
    call = make_call(DDAMFN_SIZES)
    first = compute(Reference(), make_random_inputs(16, dtype=torch.float64), training=True, gradients=False).outputs
    assert find_smallest_gap(first["rows"], first["columns"]) < LEAST_GAP
    inputs, exact = choose_inputs(16, call)
    assert find_smallest_gap(exact.outputs["rows"], exact.outputs["columns"]) >= LEAST_GAP
    assert inputs.features.dtype == torch.float32


def test_the_smallest_gap_is_between_the_two_largest_heads() -> None:
    rows = torch.tensor([[[[0.5, 1.0]], [[0.4, 0.2]], [[0.1, 0.9]]]])  # (1, 3, 1, 2)
    columns = torch.tensor([[[[1.0]], [[1.0]], [[0.5]]]])  # maps: 0.5 and 1.0, 0.4 and 0.2, 0.05 and 0.45
    assert find_smallest_gap(rows, columns) == pytest.approx(0.2)  # 0.5 and 0.4; beside it 1.0 and 0.45
    assert find_smallest_gap(rows[:, :1], columns[:, :1]) == float("inf")


@by_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_native_agrees_with_the_reference(
    training: bool, gradients: bool, dtype: torch.dtype, sizes: Sizes, fresh_registry: None
) -> None:
    native = next(offer for offer in registry.list_implementations() if offer.name == "native")
    call = make_call(sizes, training, gradients, dtype)
    assert native.implementation
    if native.implementation.reasons(call):
        pytest.skip("native operators were not built here")
    comparisons = check(native.implementation, call)
    assert describe_differences(comparisons, call.device) == ""
    words = " ".join(c.tensor for c in comparisons)
    for part in ("embedding", "rows", "columns", "contiguous", "channels_last"):
        assert part in words
    assert ("running row_variance" in words) is (training and dtype != torch.bfloat16)
    assert ("gradient of features" in words) is gradients


WRONG: list[tuple[type[Changed], str, str]] = [
    (Inexact, "evaluation", "embedding"),
    (Inexact, "training", "embedding"),
    (Forgetful, "training", "running "),
    (Flat, "training", "gradient of row_gate_bias"),
    (Flat, "evaluation with gradients", "gradient of row_gate_bias"),
    (OneLayout, "evaluation", "channels_last"),
    (OneLayout, "training", "channels_last"),
    (FewImages, "evaluation", "embedding of 7 times 5 images"),
]


@pytest.mark.parametrize(("kind", "mode", "tensor"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_wrong_is_named(kind: type[Changed], mode: str, tensor: str, sizes: Sizes) -> None:
    call = make_call(sizes, *MODES[mode])
    comparisons = check(kind(), call)
    wrong = [c for c in comparisons if not c.holds]
    assert any(tensor in c.tensor for c in wrong)
    reason = describe_differences(comparisons, call.device)
    assert f"failed: {len(wrong)} of {len(comparisons)} tensors differ from the reference's, most of all the " in reason
    assert max(wrong, key=lambda c: c.excess).tensor in reason


def test_a_right_implementation_passes(sizes: Sizes) -> None:
    for training, gradients in MODES.values():
        call = make_call(sizes, training, gradients)
        assert describe_differences(check(Changed(), call), call.device) == ""


Offer = Callable[[type[Changed]], None]


@pytest.fixture
def offer(fresh_registry: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Offer:
    """Installs an implementation beside the reference alone; nothing was checked before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def install(kind: type[Changed]) -> None:
        reference = next(o for o in registry.list_implementations() if o.name == "reference")
        mine = registry.Offer(kind.name, "vendor 1.0", kind.summary, kind.priority, kind())
        monkeypatch.setattr(
            registry, "_load_offers", lambda operator: (mine, reference) if operator.name == ATTENTION.name else ()
        )

    return install


def test_the_automatic_choice_passes_over_what_is_wrong_and_says_so(offer: Offer, inputs: Inputs) -> None:
    offer(Inexact)
    expected, _ = dual_direction_attention(*inputs, training=False, implementation="reference")
    with pytest.warns(OpWarning, match=r"runs on reference, as vendor/changed can't be used: its self-check .* failed"):
        found, _ = dual_direction_attention(*inputs, training=False)
    assert torch.equal(found, expected)


def test_by_name_it_is_an_error(offer: Offer, inputs: Inputs) -> None:
    offer(Inexact)
    with pytest.raises(OpUnavailableError, match=r"can't serve evaluation .*: its self-check .* allowed"):
        dual_direction_attention(*inputs, training=False, implementation="vendor/changed")


def test_what_is_right_serves(offer: Offer, inputs: Inputs) -> None:
    offer(Changed)
    call = Call(inputs.features.device, torch.float32, inputs.parameters.sizes, False, False)
    assert registry.select(call).name == "vendor/changed"


# --- what is kept


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Call]:
    """The calls that were checked; what is kept is kept in a folder of the test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Call] = []

    def counted(implementation: Changed, call: Call, compare: self_check.Compare) -> list[self_check.Comparison]:
        made.append(call)
        return check(implementation, call, compare=compare)

    monkeypatch.setattr(self_check, "check", counted)
    return made


@pytest.mark.parametrize("kind", [Changed, Inexact])
def test_an_answer_is_kept_for_later_processes(kind: type[Changed], checks: list[Call], sizes: Sizes) -> None:
    answers = {find_difference(kind(), make_call(sizes), "vendor 1.0") for _ in range(3)}
    assert len(answers) == 1
    assert bool(answers.pop()) is (kind is Inexact)
    assert len(checks) == 1


class OtherCode(Changed):
    def fingerprint(self, _: torch.device) -> str:
        return "another build"


@pytest.mark.parametrize(
    "change",
    ["package", "code", "dtype", "sizes", "mode", "gradients", "processor", "driver", "torch", "abawkit"],
)
def test_what_it_depends_on_is_checked_again(
    change: str, checks: list[Call], sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = make_call(sizes)
    find_difference(Changed(), call, "vendor 1.0")
    changed = {
        "dtype": call._replace(dtype=torch.float64),
        "sizes": call._replace(sizes=sizes._replace(channels=25)),
        "mode": call._replace(training=False),
        "gradients": call._replace(gradients=False),
    }.get(change, call)
    if change == "processor":
        monkeypatch.setattr(self_check, "describe_device", lambda _: "another processor")
    if change == "driver":
        monkeypatch.setattr(self_check, "_read_driver", lambda _: "another driver")
    if change in ("torch", "abawkit"):
        monkeypatch.setattr(f"{change}.__version__", "99")
    implementation = OtherCode() if change == "code" else Changed()
    find_difference(implementation, changed, "vendor 1.1" if change == "package" else "vendor 1.0")
    assert len(checks) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"reason": 1}', "\0"])
def test_a_file_that_holds_no_answer_is_replaced(
    content: str, checks: list[Call], sizes: Sizes, tmp_path: Path
) -> None:
    find_difference(Changed(), make_call(sizes), "vendor 1.0")
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(content)
    assert find_difference(Changed(), make_call(sizes), "vendor 1.0") == ""
    assert len(checks) == 2
    assert json.loads(kept.read_text())["reason"] == ""


def test_a_folder_that_cannot_be_written_to_costs_nothing_but_time(
    checks: list[Call], sizes: Sizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [find_difference(Changed(), make_call(sizes), "vendor 1.0") for _ in range(2)] == ["", ""]
    assert len(checks) == 2


class Unlucky(Changed):
    """Finds no memory."""

    def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
        del arguments
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.\nMore.")


def test_an_error_refuses_this_process_and_no_later_one(checks: list[Call], sizes: Sizes, tmp_path: Path) -> None:
    reason = find_difference(Unlucky(), make_call(sizes), "vendor 1.0")
    assert reason.endswith("ended with OutOfMemoryError: CUDA out of memory. Tried to allocate 1 GiB.")
    assert list(tmp_path.rglob("*.json")) == []


# --- whatever the caller is doing


STATES: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "fake tensors": FakeTensorMode,
    "another default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_modes_of_the_caller_are_left_outside(
    state: Callable[[], contextlib.AbstractContextManager[Any]], sizes: Sizes
) -> None:
    expected = check(Changed(), make_call(sizes))
    with state():
        assert check(Changed(), make_call(sizes)) == expected


def test_no_random_number_of_the_callers_is_drawn(sizes: Sizes) -> None:
    """A run that is resumed in another process must not depend on whether that one had to check."""
    before = torch.random.get_rng_state()
    check(Changed(), make_call(sizes))
    assert torch.equal(torch.random.get_rng_state(), before)


# --- the command


def test_the_command_checks_everything_at_length_and_ends_with_4_where_results_differ(
    offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(ATTENTION, checked=(Sizes(24, 3, 5, 2, 4),), images=(5,))
    monkeypatch.setitem(OPERATORS, ATTENTION.name, small)
    offer(Changed)
    result = CliRunner().invoke(app, ["ops", "check", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["ok"] is True
    kinds = {(c["device"], c["dtype"], c["mode"]) for c in found["checks"]}
    assert {(dtype, mode) for device, dtype, mode in kinds if device == "cpu"} == {
        (dtype, mode) for dtype in ("float32", "bfloat16", "float16", "float64") for mode in ("evaluation", "training")
    }
    assert all(c["compared"] > 20 and c["worst"]["error"] <= c["worst"]["bound"] for c in found["checks"])

    offer(Inexact)
    result = CliRunner().invoke(app, ["ops", "check", "--device", "cpu"])
    assert result.exit_code == 4
    assert "differs vendor/changed, cpu, float32, training" in result.stdout
    assert "vendor/changed: its self-check on" in result.stderr


def test_the_command_says_where_there_is_nothing_to_check(offer: Offer) -> None:
    offer(Changed)
    result = CliRunner().invoke(app, ["ops", "check", "--ops", "vendor/other"])
    assert (result.exit_code, result.stdout) == (4, "")
    assert (
        "--ops vendor/other: no installed package offers this implementation; give one of native, reference"
        in result.stderr
    )
    result = CliRunner().invoke(app, ["ops", "check", "--ops", "reference"])
    assert result.exit_code == 2
    assert "nothing to check: only the reference serves these devices" in result.stderr

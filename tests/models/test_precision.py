"""Torch's settings for GPUs: what they are within a block, and that they are put back, whatever ends it."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
import torch

from abawkit.bench.networks import make_random_images, make_random_network
from abawkit.models import devices, inference
from abawkit.models.config import NETWORKS
from abawkit.models.devices import (
    WORKSPACE,
    Download,
    choose_training_precision,
    describe_precision,
    has_bfloat16,
    use_bfloat16,
    use_deterministic_algorithms,
    use_exact_float32,
)
from abawkit.models.network import DDAMFN
from abawkit.ops import use
from abawkit.tables import Array
from abawkit.training import build
from abawkit.training.recipe import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def float32_settings() -> list[str]:
    backends: Any = torch.backends
    return [part.fp32_precision for part in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]


def settings() -> dict[str, Any]:
    backends: Any = torch.backends
    return {
        "float32": float32_settings(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (backends.cudnn.deterministic, backends.cudnn.benchmark),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        "workspace": os.environ.get(WORKSPACE),
    }


@pytest.fixture(autouse=True)
def without_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)


@pytest.fixture
def tf32_everywhere() -> Iterator[None]:
    backends: Any = torch.backends
    before = backends.cuda.matmul.fp32_precision
    backends.cuda.matmul.fp32_precision = "tf32"
    yield
    backends.cuda.matmul.fp32_precision = before


@pytest.mark.usefixtures("tf32_everywhere")
def test_float32_is_never_tf32_within_the_block_however_it_was_set_before() -> None:
    before = float32_settings()
    assert before == ["tf32"] * 3
    assert torch.backends.cudnn.allow_tf32
    for _ in range(2):
        with use_exact_float32():
            assert float32_settings() == ["ieee"] * 3
            assert not torch.backends.cudnn.allow_tf32
        assert float32_settings() == before
        assert torch.backends.cudnn.allow_tf32


@pytest.fixture
def mixed_settings() -> Iterator[None]:
    backends: Any = torch.backends
    before = backends.cudnn.conv.fp32_precision
    backends.cudnn.conv.fp32_precision = "ieee"
    yield
    backends.cudnn.conv.fp32_precision = before


@pytest.mark.usefixtures("mixed_settings")
def test_settings_that_torch_cannot_read_the_older_way_come_back_too() -> None:
    before = float32_settings()
    with pytest.raises(RuntimeError, match="mix of the legacy and new"):
        _ = torch.backends.cudnn.allow_tf32
    with use_exact_float32():
        assert float32_settings() == ["ieee"] * 3
    assert float32_settings() == before


def test_a_network_answers_in_float32_without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    original = inference._infer_batch

    def spied(network: DDAMFN, pixels: Array, device: torch.device, precision: Any) -> Download:
        seen.append(float32_settings())
        return original(network, pixels, device, precision)

    monkeypatch.setattr(inference, "_infer_batch", spied)
    before = settings()
    inference.infer(DDAMFN(NETWORKS["ddamfn-nano"]), torch.zeros(1, 112, 112, 3).byte().numpy(), CPU)
    assert seen == [["ieee"] * 3]
    assert settings() == before


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "auto"])
def test_on_a_gpu_every_sum_is_repeatable_within_the_block(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    before = settings()
    with use_deterministic_algorithms(device), use_deterministic_algorithms(device):
        found = settings()
    assert found == {**before, "deterministic": True, "warn only": False, "cudnn": (True, False), "fill": False,
                     "workspace": ":4096:8"}  # fmt: skip
    assert settings() == before


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_on_a_cpu_nothing_is_set(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    before = settings()
    with use_deterministic_algorithms(device):
        assert settings() == before


def test_settings_come_back_after_an_error_too() -> None:
    before = settings()
    with pytest.raises(KeyError), use_deterministic_algorithms("cuda"), use_exact_float32():
        raise KeyError
    assert settings() == before


@pytest.mark.parametrize(
    "use_settings", [use_exact_float32, partial(use_deterministic_algorithms, "cuda")], ids=["float32", "algorithms"]
)
def test_settings_of_threads_whose_blocks_overlap_hold_until_the_last_is_left(
    use_settings: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block that was entered first is left first, as two requests to a server may be."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    before = settings()
    first, second = use_settings(), use_settings()
    first.__enter__()
    within = settings()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        assert settings() == within != before
        thread.submit(second.__exit__, None, None, None).result()
    assert settings() == before


@pytest.mark.parametrize(("initialised", "workspace", "warns"), [(True, None, True), (True, ":16:8", False)])
def test_torch_warns_rather_than_ends_a_run_where_cublas_may_have_begun_without_its_variable(
    initialised: bool, workspace: str | None, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialised)
    if workspace:
        monkeypatch.setenv(WORKSPACE, workspace)
    with use_deterministic_algorithms("cuda"):
        assert settings()["warn only"] is warns
        assert settings()["workspace"] == (workspace or ":4096:8")
    assert settings()["workspace"] == workspace


@pytest.mark.parametrize(
    ("requested", "device", "expected"),
    [
        ("auto", CPU, "float32"),
        ("auto", GPU, "bfloat16"),
        ("float32", GPU, "float32"),
        ("bfloat16", CPU, "bfloat16"),
        ("float64", GPU, "float64"),
    ],
)
def test_what_a_recipes_precision_means(
    requested: Any, device: torch.device, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: not including_emulation)
    assert choose_training_precision(requested, device) == expected


def test_bfloat16_that_a_gpu_would_only_emulate_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: including_emulation)
    assert choose_training_precision("auto", GPU) == "float32"


def test_manifests_say_what_was_computed_with() -> None:
    assert describe_precision() == {"evaluation": "float32", "tf32": "off"}
    assert describe_precision("bfloat16") == {"training": "bfloat16", "evaluation": "float32", "tf32": "off"}
    assert describe_precision("float64")["evaluation"] == "float64"
    assert describe_precision(evaluation="bfloat16") == {"evaluation": "bfloat16", "tf32": "off"}


def test_a_cpu_has_bfloat16_where_the_native_operators_multiply_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(devices, "has_bfloat16_products", lambda has=has: has)
        assert has_bfloat16(CPU) is has


def test_a_cpu_has_no_bfloat16_where_another_implementation_was_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_bfloat16_products", lambda: True)
    with use("reference"):
        assert not has_bfloat16(CPU)


def test_bfloat16_on_a_cpu_rounds_factors_of_mixed_blocks_and_nothing_else() -> None:
    """Features, embedding and every parameter's gradient stay float32, and differ from those without."""
    network = make_random_network("ddamfn-nano").train()
    images, parameters = make_random_images(network, 4), list(network.stages.parameters())
    with use_bfloat16(CPU):
        rounded = network.features(images)
    exact = network.features(images)
    assert rounded.dtype == torch.float32
    assert {g.dtype for g in torch.autograd.grad(rounded.square().sum(), parameters)} == {torch.float32}
    error = ((rounded - exact).abs().max() / exact.abs().max()).item()
    assert 1e-5 < error < 5e-2


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({}, ""),
        ({"network": "sequence"}, "sequence networks compute in float32"),
        ({"sync_batchnorm": True}, ""),
    ],
)
def test_a_run_that_gains_nothing_by_bfloat16_says_why(
    recipe: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "has_bfloat16_products", lambda: True)
    found = build._explain_precision(Recipe.model_validate(recipe), CPU)
    assert reason in found
    assert bool(found) is bool(reason)
    monkeypatch.setattr(devices, "has_bfloat16_products", lambda: False)
    slow = build._explain_precision(Recipe.model_validate({}), CPU)
    assert "has no instructions for it, so it is slower than float32" in slow

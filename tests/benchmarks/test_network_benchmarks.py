"""The benchmarks of the whole network: other runtimes compute the same, and every operator is counted once, by kind."""

import pytest
import torch

from abawkit.bench.networks import evaluate_eagerly, make_random_images, make_random_network
from abawkit.models.network import Outputs
from benchmarks import gradients
from benchmarks.profile_network import KINDS, classify, group_events, make_work
from benchmarks.runtimes import list_missing, make_runtimes


def test_other_runtimes_compute_the_same() -> None:
    if len(missing := list_missing()) == 2:
        pytest.skip(f"not installed: {', '.join(missing)}")
    network = make_random_network("ddamfn-nano").eval().requires_grad_(False)
    images = make_random_images(network, 2)
    expected = evaluate_eagerly(network, images)
    for name, evaluate in make_runtimes(network, images, 1).items():
        found = evaluate()
        assert isinstance(found, Outputs)
        tolerance = 0.1 if name.endswith("bf16") else 1e-4
        for one, other in zip(found[:3], expected[:3], strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "shapes", "kind"),
    [
        ("aten::mkldnn_convolution", [[8, 32, 7, 7], [64, 32, 1, 1], []], 0),
        ("aten::mkldnn_convolution", [[8, 32, 7, 7], [32, 1, 3, 3], []], 1),
        ("aten::convolution_backward", [[8, 64, 7, 7], [8, 32, 7, 7], [64, 32, 1, 1]], 0),
        ("aten::convolution_backward", [[8, 32, 7, 7], [8, 32, 7, 7], [32, 1, 5, 5]], 1),
        ("aten::addmm", [[8], [2, 3], [3, 8]], 0),
        ("aten::native_batch_norm_backward", [], 2),
        ("aten::_prelu_kernel", [], 3),
        ("abawkit::mixed_block_infer", [], 6),
        ("abawkit::dual_direction_attention_infer", [], 5),
        ("abawkit::norm_prelu_backward", [], 7),
        ("abawkit::stem_infer", [], 8),
        ("Optimizer.step#AdamW.step", [], 9),
    ],
)
def test_operators_have_a_kind(name: str, shapes: list[list[int]], kind: int) -> None:
    assert classify(name, shapes) == KINDS[kind]


def test_an_operator_without_a_kind_has_that_of_its_caller() -> None:
    assert classify("aten::empty", []) is None


def test_a_step_has_the_events_of_modules_and_operators_in_both_directions() -> None:
    work = make_work(make_random_network("ddamfn-nano"), 2)
    counts = {
        name: {kind: len(of_kind) for kind, of_kind in group_events(run, 1).items()} for name, run in work.items()
    }
    for name, found in counts.items():
        assert set(found) <= set(KINDS)
        assert found["dual-direction attention"] > 0
        assert ("optimiser" in found) is name.startswith("step")
    forward, step = (counts[f"{mode}, eager"] for mode in ("evaluation", "step"))
    assert set(forward) >= {*KINDS[:6], "rest"}
    assert step["coordinate attention"] > forward["coordinate attention"]  # its backward pass too


def test_the_gradient_of_the_network_is_as_exact_as_eager_pytorchs() -> None:
    """Over all parameters together, against float64; with products in bfloat16 it is coarser, and not another one."""
    network = make_random_network("ddamfn-nano")
    errors = gradients.measure_gradients(network, make_random_images(network, 6))
    assert errors["abawkit"] <= 2 * errors["eager"] + 1e-6
    assert errors["abawkit bf16"] < 0.2

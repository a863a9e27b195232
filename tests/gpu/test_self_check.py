"""The self-check on a device: native passes it there, what is wrong does not, and no device answers for another."""

import json

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from abawkit.cli.app import app
from abawkit.ops import Gates
from abawkit.ops.base import Arguments, Call
from abawkit.ops.native import Native
from abawkit.ops.self_check import check, describe_device, describe_differences, find_difference
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import DDAMFN_SIZES
from tests.ops.test_contract import SIZES
from tests.ops.test_self_check import Changed, Inexact

MODES = {"evaluation": (False, False), "evaluation with gradients": (False, True), "training": (True, True)}


def make_call(
    device: str, dtype: torch.dtype = torch.float32, sizes: Sizes = DDAMFN_SIZES, mode: str = "training"
) -> Call:
    where = torch.device("cuda", torch.cuda.current_device()) if device == "cuda" else torch.device(device)
    return Call(where, dtype, sizes, *MODES[mode])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", ["published", "all different"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_native_passes_it(device: str, dtype: torch.dtype, size: str, mode: str) -> None:
    call = make_call(device, dtype, SIZES[size], mode)
    if reasons := Native().reasons(call):
        assert (device, dtype) == ("cpu", torch.float16), reasons
        pytest.skip("; ".join(reasons))
    comparisons = check(Native(), call, images=(2, 9))
    assert describe_differences(comparisons, call.device) == ""
    assert len(comparisons) >= 2 * 2 * 3  # outputs of both numbers of images in both memory formats


def test_what_is_off_by_a_thousandth_is_refused_with_the_devices_name(device: str) -> None:
    call = make_call(device, sizes=Sizes(24, 3, 5, 2, 4))
    reason = find_difference(Inexact(), call, "a test")
    assert reason.startswith(f"its self-check on {describe_device(call.device)} failed: ")
    assert "relative error 0.001, allowed" in reason


@pytest.mark.gpu
def test_each_device_is_asked_for_itself() -> None:
    """What the CPU computes right says nothing of a GPU: the answer that is kept is not taken for another device."""
    sizes = Sizes(24, 3, 5, 2, 4)

    class WrongOnGPUs(Inexact):
        def forward(self, arguments: Arguments) -> tuple[Tensor, Gates | None]:
            return super().forward(arguments) if arguments.features.is_cuda else Changed.forward(self, arguments)

    reasons = [find_difference(WrongOnGPUs(), make_call(device, sizes=sizes), "a test") for device in ("cpu", "cuda")]
    assert reasons[0] == ""
    assert reasons[1]


@pytest.mark.gpu
def test_the_command_checks_a_gpu_at_length() -> None:
    result = CliRunner().invoke(app, ["ops", "check", "--device", "cuda", "--ops", "native", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["ok"]
    assert {one["device"].split(":")[0] for one in found["checks"]} == {"cuda"}

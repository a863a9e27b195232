"""The stem: its definition, its native evaluation, and how the network uses it."""

import copy

import pytest
import torch
from torch import Tensor, nn

from abawkit.models.layers import Stem
from abawkit.ops import stem, use
from abawkit.ops.base import EPS, Call, StemImplementation
from abawkit.ops.operators import STEM
from abawkit.ops.registry import list_implementations, select_stem
from abawkit.ops.self_check import TOLERANCES, check, measure_relative_errors
from abawkit.ops.stem_check import compare_stem, compute_stem
from abawkit.ops.stem_native import NativeStem, PackedStem
from abawkit.ops.stem_reference import StemReference
from abawkit.ops.stem_tensors import StemSizes
from abawkit.ops.testing import make_random_stem

SIZES = StemSizes(3, 20, 5, 3)
CHECKED = [sizes for sizes in STEM.checked if isinstance(sizes, StemSizes)]
CALL = Call(torch.device("cpu"), torch.float32, SIZES, training=False, gradients=False)

registered = pytest.mark.skipif(
    not list_implementations(STEM), reason="abawkit was installed before this operator: pip install ."
)
native = pytest.mark.skipif(bool(NativeStem().reasons(CALL)), reason=f"no native stem: {NativeStem().reasons(CALL)}")


def infer(implementation: StemImplementation, x: Tensor, sizes: StemSizes) -> Tensor:
    return compute_stem(implementation, make_random_stem(1, sizes)._replace(x=x), sizes)


def make_module() -> Stem:
    torch.manual_seed(0)
    module = Stem(20).eval()
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.dim() == 1:
            nn.init.uniform_(value, 0.5, 1.5) if "var" in name else nn.init.normal_(value, 0.5, 0.3)
    return module


def test_the_definition_is_what_the_modules_compute() -> None:
    module = make_module()
    x = torch.randn(2, 3, 9, 12)
    expected = module(x)
    assert expected.requires_grad
    parameters, statistics = module.operands()
    folded = StemReference().fold(parameters, statistics, StemSizes(3, 20), eps=EPS)
    torch.testing.assert_close(StemReference().infer(x, folded), expected, rtol=1e-5, atol=1e-5)


@native
@pytest.mark.parametrize("sizes", CHECKED, ids=StemSizes.describe)
def test_the_native_stem_passes_the_check(sizes: StemSizes) -> None:
    found = check(NativeStem(), CALL._replace(sizes=sizes), images=(3,), compare=STEM.compare)
    assert any(" 1 images" in comparison.tensor for comparison in found)
    assert all(comparison.holds for comparison in found), max(found, key=lambda c: c.excess)


def test_the_check_finds_a_wrong_slope() -> None:
    class Wrong(StemReference):
        def fold(self, parameters, statistics, sizes, *, eps):  # type: ignore[no-untyped-def]
            return super().fold(parameters._replace(slope=parameters.slope * 1.001), statistics, sizes, eps=eps)

    assert not any(comparison.holds for comparison in compare_stem(Wrong(), CALL, (3,)))


@native
@pytest.mark.parametrize("side", [(1, 1), (1, 9), (13, 2), (30, 33)])
@pytest.mark.parametrize("images", [0, 1, 5])
def test_any_size_and_any_strides_are_as_precise_as_eager_pytorch(images: int, side: tuple[int, int]) -> None:
    for sizes in (SIZES, *CHECKED):
        x = torch.randn(images, sizes.inputs, *side)
        exact = compute_stem(StemReference(), make_random_stem(1, sizes)._replace(x=x).to(torch.float64), sizes)
        eager = infer(StemReference(), x, sizes)
        strided = torch.empty(images, sizes.inputs, *side[::-1]).transpose(2, 3).copy_(x)
        for given in (x, x.contiguous(memory_format=torch.channels_last), strided):
            found = infer(NativeStem(), given, sizes)
            assert found.shape == eager.shape
            assert found.is_contiguous(memory_format=torch.channels_last)
            if images:
                own, allowed = (measure_relative_errors({"y": y}, {"y": exact})["y"] for y in (found, eager))
                assert own <= 2 * allowed + TOLERANCES[torch.float32] / 4


@native
def test_bits_do_not_depend_on_threads_or_on_the_batch() -> None:
    x, before = torch.randn(5, 3, 41, 29), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 4):
            torch.set_num_threads(threads)
            results += [
                infer(NativeStem(), x, SIZES),
                torch.cat([infer(NativeStem(), one, SIZES) for one in x[:, None]]),
            ]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found, results[0]) for found in results[1:])


@native
def test_numbers_that_are_not_finite_are_not_lost() -> None:
    x = torch.randn(1, 3, 12, 12)
    x[0, 1, 6, 6] = torch.nan
    found, expected = infer(NativeStem(), x, SIZES), infer(StemReference(), x, SIZES)
    assert expected.isnan().any()
    assert torch.equal(found.isnan(), expected.isnan())


@registered
def test_the_module_runs_the_operator_and_follows_its_weights() -> None:
    module = make_module()
    x = torch.randn(2, 3, 9, 12)
    with torch.no_grad():
        for changed in ("1.activation.weight", "0.norm.running_var", "1.conv.weight"):
            module.state_dict()[changed].mul_(0.7)
            first, second = module
            expected = second(first(x))
            found = module(x)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
            assert torch.equal(found, stem(x, *module.operands()))
        assert module(torch.empty(0, 3, 9, 12)).shape == (0, 20, 5, 6)
        twin = copy.deepcopy(module).double()
        torch.testing.assert_close(twin(x.double()).float(), found, rtol=1e-5, atol=1e-5)
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
    assert module.train()(x).requires_grad


@native
@registered
def test_other_calls_take_the_reference() -> None:
    for change in ({"dtype": torch.float64}, {"device": torch.device("meta")}):
        call = CALL._replace(**change)
        assert NativeStem().reasons(call) == ["it is for float32 on CPUs"]
        assert not NativeStem().is_meant_for(call)
    with use("native"):
        assert select_stem(CALL).name == "native"
        assert select_stem(CALL._replace(dtype=torch.float64)).name == "reference"


@native
@pytest.mark.parametrize("sizes", CHECKED[1:], ids=StemSizes.describe)
def test_torch_accepts_the_operator(sizes: StemSizes) -> None:
    x, parameters, statistics = make_random_stem(2, sizes, (5, 3))
    packed = NativeStem().fold(parameters, statistics, sizes, eps=EPS)
    torch.library.opcheck(torch.ops.abawkit.stem_infer.default, (x, *packed))


@native
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": 4}, "kernel sizes must be odd"),
        ({"depthwise": 33}, "kernel sizes must be odd, 31 at most"),
        ({"stride": 3}, "wrong sizes of a stem"),
        ({"channels": 0}, "wrong sizes of a stem"),
        ({"channels": 33}, "the packed weights has"),
    ],
)
def test_the_binding_refuses_what_does_not_fit(changes: dict[str, int], message: str) -> None:
    x, parameters, statistics = make_random_stem(1, SIZES, (5, 3))
    packed: PackedStem = NativeStem().fold(parameters, statistics, SIZES, eps=EPS)
    with pytest.raises(RuntimeError, match=message):
        torch.ops.abawkit.stem_infer(x, *packed._replace(**changes))  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused() -> None:
    x, parameters, statistics = make_random_stem(2, SIZES)
    with torch.no_grad():
        with pytest.raises(ValueError, match=r"got an input \(2, 5, 3, 3\), expected \(N, 3, H, W\)"):
            stem(torch.zeros(2, 5, 3, 3), parameters, statistics)
        with pytest.raises(ValueError, match="H and W at least 1"):
            stem(torch.zeros(2, 3, 0, 3), parameters, statistics)
        with pytest.raises(ValueError, match="got stride 3, expected 1 or 2"):
            stem(x, parameters, statistics, 3)
    with pytest.raises(ValueError, match="without gradients"):
        stem(x, parameters, statistics)

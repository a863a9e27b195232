"""The native operators as torch sees them: schemas, fake tensors, gradients, autocast, tracing, and wrong operands."""

import io
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import compiled_autograd

from abawkit.models.attention import DualDirectionAttention
from abawkit.ops import Parameters, attention_mse, use
from abawkit.ops.base import Call
from abawkit.ops.native import pack
from abawkit.ops.registry import select
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import make_random_inputs

OPS = torch.ops.abawkit
WEIGHTS = range(17)


@pytest.fixture(autouse=True)
def loaded(sizes: Sizes) -> None:
    """The operators are there once native was asked for."""
    select(Call(torch.device("cpu"), torch.float32, sizes, training=False, gradients=False), "native")


def checked(operator: Any, *arguments: Any) -> None:
    results = torch.library.opcheck(operator, arguments)
    assert set(results.values()) == {"SUCCESS"}, results


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("gates", [False, True])
def test_evaluation_passes_torchs_checks_of_operators(sizes: Sizes, dtype: torch.dtype, gates: bool) -> None:
    features, parameters, statistics = make_random_inputs(3, sizes, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    folded = pack(parameters, statistics, eps=1e-5, dtype=wide)
    checked(OPS.dda_inference, features, folded, sizes.heads, sizes.squeezed, gates)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_training_passes_torchs_checks_of_operators(sizes: Sizes, given: bool, gates: bool, last: bool) -> None:
    features, parameters, statistics = make_random_inputs(3, sizes)
    features = features.contiguous(memory_format=torch.channels_last) if last else features
    flat = statistics.flat() if given else None
    leaves = [t.detach().requires_grad_() for t in (features, *parameters)]
    checked(OPS.dda_forward, leaves[0], leaves[1:], flat, 1e-5, gates)


def test_the_gradients_operator_passes_torchs_checks_of_operators(sizes: Sizes) -> None:
    features, parameters, _ = make_random_inputs(3, sizes)
    embedding, rows, columns, *saved = OPS.dda_forward(features, list(parameters), None, 1e-5, True)
    arguments = (features, list(parameters), *saved, True, 1e-5)
    checked(OPS.dda_backward, embedding, rows, columns, *arguments)
    checked(OPS.dda_backward, embedding, None, None, *arguments)


class Network(nn.Module):
    """The attention between other layers, with a loss of its gates."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 40, 3, padding=1)
        self.attention = DualDirectionAttention(40, 6, 5, 2)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding, gates = self.attention(self.before(x))
        assert gates is not None
        return embedding, attention_mse(gates)


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 6, 5, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("training", [False, True])
def test_compiles_as_one_graph_and_gives_the_same_gradients(training: bool) -> None:
    torch.compiler.reset()
    eager: nn.Module = network().train(training)
    traced = network().train(training)
    compiled = torch.compile(traced, fullgraph=True, backend="aot_eager")
    with use("native"):
        for count in (4, 7):
            for module in (eager, compiled):
                embedding, distance = module(images(count))
                (embedding.square().sum() + distance).backward()
    for expected, found in zip(eager.parameters(), traced.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
    for buffers in zip(eager.buffers(), traced.buffers(), strict=True):
        torch.testing.assert_close(*buffers)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch looks at it, not we
def test_compiled_autograd_takes_the_backward_pass_as_one_graph() -> None:
    torch.compiler.reset()
    eager, traced = network(), network()
    one_graph = partial(torch.compile, backend="aot_eager", fullgraph=True)
    with use("native"):
        for module, context in ((eager, nullcontext()), (traced, compiled_autograd._enable(one_graph))):
            embedding, distance = module(images(4))
            with context:
                (embedding.square().sum() + distance).backward()
    for expected, found in zip(eager.parameters(), traced.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exports_with_any_number_of_images(strict: bool) -> None:
    module = network().eval()
    batch = torch.export.Dim("batch", min=2)
    with torch.no_grad(), use("native"):
        exported = torch.export.export(module, (images(4),), strict=strict, dynamic_shapes=({0: batch},))
        assert any("abawkit" in str(node.target) for node in exported.graph.nodes)
        for found, expected in zip(exported.module()(images(6)), module(images(6)), strict=True):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_training_is_exported_saved_and_loaded_with_its_running_statistics(strict: bool) -> None:
    eager, file = network(), io.BytesIO()
    with use("native"):
        torch.export.save(torch.export.export(network(), (images(4),), strict=strict), file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        for found, expected in zip(loaded(images(4)), eager(images(4)), strict=True):
            torch.testing.assert_close(found, expected)
    buffers = dict(loaded.named_buffers())
    for name, expected in eager.named_buffers():
        torch.testing.assert_close(buffers[name], expected)


@pytest.mark.parametrize("training", [False, True])
def test_autocast_gives_its_own_type_and_float32_gradients_of_weights(training: bool) -> None:
    whole, low = network().train(training), network().train(training)
    with use("native"):
        expected, _ = whole(images(6))
        with torch.autocast("cpu", torch.bfloat16):
            embedding, distance = low(images(6))
            (embedding.float().sum() + distance).backward()
    assert embedding.dtype == torch.bfloat16
    assert (embedding.float() - expected).abs().max() < 0.05 * expected.abs().max()
    assert {p.grad.dtype for p in low.parameters() if p.grad is not None} == {torch.float32}


def test_autocast_leaves_float64_alone() -> None:
    module = network().double().eval()
    with torch.no_grad(), use("native"), torch.autocast("cpu", torch.bfloat16):
        embedding, _ = module.attention(torch.randn(2, 40, 6, 5, dtype=torch.float64))
    assert embedding.dtype == torch.float64


def test_weights_of_bfloat16_get_gradients_of_bfloat16(sizes: Sizes) -> None:
    features, parameters, statistics = make_random_inputs(4, sizes, dtype=torch.bfloat16, gradients=True)
    from abawkit.ops import dual_direction_attention

    embedding, _ = dual_direction_attention(
        features, parameters, statistics, training=True, implementation="native", gates=False
    )
    embedding.sum().backward()  # type: ignore[no-untyped-call]
    assert {p.grad.dtype for p in parameters if p.grad is not None} == {torch.bfloat16}


WRONG: dict[str, tuple[Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]], str]] = {
    "features of three dimensions": (lambda x, p: (x[0], p), r"features must be \(N, C, H, W\)"),
    "features of integers": (lambda x, p: (x.long(), p), "features must be float32"),
    "features of float16": (lambda x, p: (x.half(), p), "float16 is for GPUs"),
    "too few parameters": (lambda x, p: (x, p[:-1]), "expected 17 parameters"),
    "weights of another size": (lambda x, p: (x, [*p[:-1], p[-1][:-1]]), "has 23 entries, expected 24"),
    "weights of another type": (lambda x, p: (x, [*p[:-1], p[-1].double()]), "wrong type of numbers"),
    "no channels": (lambda x, p: (x[:, :0], p), "empty features"),
    "one image": (lambda x, p: (x[:1], p), "at least 2 images"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_operands_are_refused_before_a_kernel_sees_them(
    sizes: Sizes, change: Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]], message: str
) -> None:
    features, parameters, _ = make_random_inputs(3, sizes)
    with pytest.raises(RuntimeError, match=message):
        OPS.dda_forward(*change(features, list(parameters)), None, 1e-5, True)


def test_folded_weights_of_another_size_are_refused(sizes: Sizes) -> None:
    features, parameters, statistics = make_random_inputs(3, sizes)
    folded = pack(parameters, statistics, eps=1e-5, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="the folded weights has"):
        OPS.dda_inference(features, folded[:-1], sizes.heads, sizes.squeezed, False)


def test_a_second_derivative_is_an_error_not_a_wrong_number(sizes: Sizes) -> None:
    features, parameters, _ = make_random_inputs(3, sizes, gradients=True)
    embedding = OPS.dda_forward(features, list(parameters), None, 1e-5, False)[0]
    (first,) = torch.autograd.grad(embedding.square().sum(), features, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; use the reference"):
        first.sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("changed", WEIGHTS)
def test_a_change_of_any_weight_is_seen_by_the_next_evaluation(changed: int, sizes: Sizes) -> None:
    torch.manual_seed(1)
    module = DualDirectionAttention(24, 3, 5, 2).eval()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 24, 3, 5)
    with torch.no_grad(), use("native"):
        before, _ = module(x)
        tensors: Parameters = module.operands()[0]
        tensors[changed].mul_(1.5).add_(0.5)
        after, _ = module(x)
        with use("reference"):
            expected, _ = module(x)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)

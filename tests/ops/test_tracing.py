"""`torch.compile` and `torch.export` take the choice that holds when they trace, and keep it."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from abawkit.ops import Parameters, Statistics, dual_direction_attention, registry, use
from abawkit.ops.base import Arguments, Call
from abawkit.ops.reference import Reference
from abawkit.ops.tensors import Sizes
from abawkit.ops.testing import make_random_inputs

pytestmark = pytest.mark.usefixtures("fresh_registry")


class Attention(nn.Module):
    def __init__(self, sizes: Sizes, implementation: str | None = None) -> None:
        super().__init__()
        _, parameters, statistics = make_random_inputs(2, sizes)
        self.weights = nn.ParameterList(parameters)
        self.implementation = implementation
        for name, value in statistics._asdict().items():
            self.register_buffer(name, value)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        statistics = Statistics(*(getattr(self, name) for name in Statistics._fields))
        embedding, gates = dual_direction_attention(
            x, Parameters(*self.weights), statistics, training=self.training, implementation=self.implementation
        )
        assert gates is not None
        return embedding, *gates


class Marked(Reference):
    """Says that it ran by what it returns."""

    name: ClassVar[str] = "vendor/marked"

    def forward(self, arguments: Arguments) -> tuple[Tensor, None]:
        return arguments.features.new_full(arguments.features.shape[:2], 7.0), None


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("named", [None, "reference"])
def test_compiles_without_a_break_in_the_graph(sizes: Sizes, training: bool, named: str | None) -> None:
    torch.compiler.reset()
    eager, traced = Attention(sizes, named).train(training), Attention(sizes, named).train(training)
    compiled = torch.compile(traced, fullgraph=True, backend="aot_eager")
    with use("reference"):
        for images in (4, 7, 5):
            x = make_random_inputs(images, sizes, seed=images).features
            results = eager(x), compiled(x)
            for expected, found in zip(*results, strict=True):
                torch.testing.assert_close(found, expected)
            for result in results:
                sum(part.square().sum() for part in result).backward()
    for expected, found in zip(eager.parameters(), traced.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
    for expected, found in zip(eager.buffers(), traced.buffers(), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exports_for_any_number_of_images(sizes: Sizes, training: bool, strict: bool) -> None:
    module = Attention(sizes, "reference").train(training)
    images = torch.export.Dim("images", min=2)
    x = make_random_inputs(4, sizes).features
    with torch.no_grad():
        exported = torch.export.export(module, (x,), strict=strict, dynamic_shapes={"x": {0: images}})
        x = make_random_inputs(6, sizes, seed=1).features
        for found, expected in zip(exported.module()(x), module(x), strict=True):
            torch.testing.assert_close(found, expected)


def test_a_compiled_function_keeps_the_choice_that_it_was_traced_with(
    sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.compiler.reset()
    offers = (*registry.list_implementations(), registry.Offer("vendor/marked", "", implementation=Marked()))
    monkeypatch.setattr(registry, "_load_offers", lambda _: offers)
    monkeypatch.setattr(registry, "find_difference", lambda *_: "")  # what it computes is wrong on purpose
    x, parameters, statistics = make_random_inputs(2, sizes)

    def attend(x: Tensor) -> Tensor:
        return dual_direction_attention(x, parameters, statistics, training=False, gates=False)[0]

    compiled = torch.compile(attend, fullgraph=True, backend="eager")
    with use("vendor/marked"):
        assert (compiled(x) == 7).all()
        assert (attend(x) == 7).all()
    with use("reference"):
        assert (compiled(x) == 7).all()
        assert not (attend(x) == 7).any()


def test_the_choice_is_marked_as_torch_marks_constant_results() -> None:
    marked = torch.compiler.assume_constant_result(lambda: None)  # type: ignore[no-untyped-call]
    assert vars(marked).items() <= vars(registry._select_while_tracing).items()


def test_an_implementation_that_can_not_run_is_named_while_tracing(sizes: Sizes) -> None:
    torch.compiler.reset()
    compiled = torch.compile(Attention(sizes, "nope"), fullgraph=True, backend="eager")
    with pytest.raises(Exception, match="implementation='nope': no installed package offers this implementation"):
        compiled(make_random_inputs(2, sizes).features)


def test_a_call_is_told_in_words(sizes: Sizes) -> None:
    call = Call(torch.device("cuda", 1), torch.bfloat16, sizes._replace(heads=1), training=True, gradients=False)
    assert call.describe() == "training of bfloat16 on cuda:1, without gradients, 24 x 3 x 5, 1 head"
    synchronised = call._replace(synchronised=True)
    assert "on cuda:1, with synchronised batch norms, without gradients, 24" in synchronised.describe()

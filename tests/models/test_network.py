"""What every network does, whatever its size, memory format or type of numbers."""

from itertools import combinations

import pytest
import torch
from torch import Tensor

from abawkit.errors import ConfigError
from abawkit.models.attention import DualDirectionAttention
from abawkit.models.config import NETWORKS, NetworkConfig, Split, StageConfig
from abawkit.models.network import DDAMFN, Outputs
from abawkit.ops import Gates, attention_mse

ODD = NetworkConfig(
    stem=4,
    stages=(
        StageConfig(width=6, entry=(Split(3, 3), Split(5, 4)), depth=1, residual=(Split(3, 5),)),
        StageConfig(width=9, entry=(Split(1, 2), Split(9, 9)), depth=2, residual=(Split(3, 5), Split(7, 1))),
    ),
    embedding=11,
    attention_heads=3,
    resolution=37,
)
"""Sizes that nothing divides."""


def network(config: NetworkConfig, seed: int = 0) -> DDAMFN:
    torch.manual_seed(seed)
    return DDAMFN(config)


def images(config: NetworkConfig, frames: int = 2) -> Tensor:
    return torch.randn(frames, 3, config.resolution, config.resolution, generator=torch.Generator().manual_seed(1))


def scalar(outputs: Outputs) -> Tensor:
    """A number that all outputs take part in."""
    tasks = outputs.va.square().sum() + outputs.expression.logsumexp(1).sum() + outputs.au.logsumexp(1).sum()
    assert outputs.gates is not None
    return tasks + attention_mse(outputs.gates)


@pytest.mark.parametrize("config", [ODD, NETWORKS["ddamfn-nano"]], ids=["odd", "nano"])
def test_outputs_have_the_challenges_shapes_and_ranges(config: NetworkConfig) -> None:
    outputs = network(config)(images(config))
    size, heads = config.feature_size, config.attention_heads
    assert (outputs.va.shape, outputs.expression.shape, outputs.au.shape) == ((2, 2), (2, 8), (2, 12))
    assert outputs.va.abs().max() <= 1
    for gate in outputs.gates:
        assert gate.shape == (2, heads, config.embedding, size)
        assert gate.min() > 0
        assert gate.max() < 1


def test_nano_is_small_and_has_every_part_of_the_published_network() -> None:
    nano = network(NETWORKS["ddamfn-nano"])
    assert 50_000 <= sum(p.numel() for p in nano.parameters()) <= 100_000

    def kinds(built: DDAMFN) -> set[type]:
        return {type(module) for module in built.modules()}

    with torch.device("meta"):
        assert kinds(nano) == kinds(DDAMFN(NETWORKS["ddamfn"]))


@pytest.mark.parametrize("config", [ODD, NETWORKS["ddamfn-nano"]], ids=["odd", "nano"])
def test_gradients_reach_every_parameter(config: NetworkConfig) -> None:
    built = network(config)
    for module in built.modules():  # a new residual block is the identity: let its inside take part
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 0.7)
    scalar(built(images(config, 3))).backward()  # type: ignore[no-untyped-call]
    without = [n for n, p in built.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    still = {n for n, p in built.named_parameters() if p.grad is not None and not p.grad.any()}
    assert still <= {n for n, _ in built.named_parameters() if n.endswith("squeeze.bias")}, "a norm follows these"


def test_heads_and_backbone_share_out_all_parameters() -> None:
    built = network(ODD)
    heads, backbone = list(built.head_parameters()), list(built.backbone_parameters())
    assert sum(p.numel() for p in heads) == (2 + 8 + 12) * (ODD.embedding + 1)
    assert {id(p) for p in heads} | {id(p) for p in backbone} == {id(p) for p in built.parameters()}
    assert len(heads) + len(backbone) == len(list(built.parameters()))


def test_training_the_heads_alone_leaves_the_backbone_and_its_statistics_as_they_are() -> None:
    built = network(ODD)
    built.requires_grad_(False)
    built.heads.requires_grad_(True)
    built.eval()
    before = {k: v.clone() for k, v in built.state_dict().items()}
    optimiser = torch.optim.SGD(built.head_parameters(), lr=0.1)
    scalar(built(images(ODD))).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    changed = {key for key, value in built.state_dict().items() if not value.equal(before[key])}
    assert changed == {key for key in before if key.startswith("heads.")}


def test_a_new_network_starts_undecided_and_with_heads_that_differ() -> None:
    outputs = network(NETWORKS["ddamfn-nano"])(images(NETWORKS["ddamfn-nano"], 8))
    assert outputs.va.abs().max() < 0.5
    assert (outputs.au.sigmoid() - 0.5).abs().max() < 0.15
    assert (outputs.expression.softmax(1) - 1 / 8).abs().max() < 0.1
    assert attention_mse(outputs.gates) > 0.01, "1 / MSE would drown the other losses"


def test_weights_follow_from_the_seed() -> None:
    first, second, third = (network(ODD, seed).state_dict()["stem.0.conv.weight"] for seed in (5, 5, 6))
    assert first.equal(second)
    assert not first.equal(third)


def test_a_small_network_learns_a_small_batch() -> None:
    built = network(ODD).train()
    x, target = images(ODD, 8), torch.arange(8)
    optimiser = torch.optim.Adam(built.parameters(), 1e-2)
    for _ in range(40):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(built(x).expression, target)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.2


def test_memory_format_changes_nothing_but_rounding() -> None:
    built = network(ODD).double()
    x = images(ODD).double()
    plain = scalar(built(x)).item()
    built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert scalar(built(x.contiguous(memory_format=torch.channels_last))).item() == pytest.approx(plain, rel=1e-12)


def test_autocast_agrees_to_its_precision_and_compares_heads_in_float32() -> None:
    built, x = network(ODD).eval(), images(ODD)
    whole = built(x)
    with torch.autocast("cpu", torch.bfloat16):
        low = built(x)
    assert attention_mse(low.gates).dtype == torch.float32
    assert torch.allclose(low.expression.float(), whole.expression, atol=0.02)


def test_the_network_exports_with_any_batch_size() -> None:
    built, x = network(ODD).eval(), images(ODD, 5)
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(built, (x[:3],), dynamic_shapes=({0: batch},), strict=False)
    assert torch.allclose(exported.module()(x).va, built(x).va, atol=1e-6)


def test_the_network_compiles_to_one_graph_in_evaluation() -> None:
    built, x = network(ODD).eval(), images(ODD)
    torch.compiler.reset()
    with torch.no_grad():
        compiled = torch.compile(built, fullgraph=True, backend="eager")(x, gates=False)
        own = built(x, gates=False)
    for found, expected in zip(compiled[:3], own[:3], strict=True):
        assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 36, 37), (2, 1, 37, 37), (3, 37, 37)])
def test_images_of_another_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 3, 37, 37\)"):
        network(ODD)(torch.zeros(shape))


def explicit_mse(gates: Gates) -> Tensor:
    maps = gates.maps().double()
    pairs = list(combinations(maps.unbind(1), 2))
    return torch.stack([(a - b).square().mean() for a, b in pairs]).mean()


@pytest.mark.parametrize("heads", [2, 3, 5])
def test_distance_of_heads_is_that_of_their_maps(heads: int) -> None:
    gates = Gates(torch.rand(2, heads, 6, 5), torch.rand(2, heads, 6, 7))
    assert attention_mse(gates).item() == pytest.approx(explicit_mse(gates).item(), rel=1e-5)


@pytest.mark.parametrize("difference", [1e-1, 1e-3, 1e-5])
def test_distance_of_nearly_equal_heads_keeps_its_digits(difference: float) -> None:
    rows, columns = torch.rand(2, 1, 6, 5) + 0.1, torch.rand(2, 1, 6, 7) + 0.1
    gates = Gates(torch.cat([rows, rows * (1 + difference)], 1), torch.cat([columns, columns], 1))
    assert attention_mse(gates).item() == pytest.approx(explicit_mse(gates).item(), rel=1e-4)


def test_distance_of_equal_heads_is_exactly_zero() -> None:
    rows, columns = torch.rand(2, 1, 6, 5), torch.rand(2, 1, 6, 7)
    assert attention_mse(Gates(rows.expand(2, 2, 6, 5), columns.expand(2, 2, 6, 7))).item() == 0


def test_one_head_has_no_distance() -> None:
    with pytest.raises(ConfigError, match="attention_heads = 2 or more"):
        attention_mse(Gates(torch.rand(2, 1, 6, 5), torch.rand(2, 1, 6, 7)))


def test_gradients_of_the_attention_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    block = DualDirectionAttention(3, 4, 5, heads=2).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 3, 4, 5, dtype=torch.float64, requires_grad=True)

    def output(features: Tensor) -> tuple[Tensor, Tensor]:
        embedding, gates = block(features)
        return embedding, attention_mse(gates)

    assert torch.autograd.gradcheck(output, x)

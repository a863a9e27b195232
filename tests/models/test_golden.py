"""The network is the published DDAMFN: same weights in, same features, embedding, logits and gradients out."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.published import ImportedWeights, import_published
from abawkit.models.published_keys import map_sources
from abawkit.ops import attention_mse, use

pytestmark = pytest.mark.usefixtures("plain_float32")
by_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
IMPLEMENTATIONS = ("reference", "native")
by_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def assert_reproduces(found: Tensor, expected: Tensor, dtype: torch.dtype, name: str) -> None:
    """Float64: each element agrees to 1e-6 of itself (the stored values are rounded to float32, 6e-8 of each).

    Float32: each element agrees to 1e-4 of the tensor's largest magnitude. An element near zero is a difference of
    large terms and keeps their rounding error, so relative to itself it has no bound in any correct implementation.
    """
    assert found.shape == expected.shape, name
    error = (found.detach().cpu().double() - expected.double()).abs()
    if dtype == torch.float64:
        worst, tolerance = (error / expected.double().abs()).max().item(), 1e-6
    else:
        worst, tolerance = (error.max() / expected.double().abs().max()).item(), 1e-4
    assert worst < tolerance, f"{name}: relative error {worst:.2e}"


@pytest.fixture(scope="module")
def imported(published_file: Path) -> ImportedWeights:
    return import_published(published_file)


def network(imported: ImportedWeights, dtype: torch.dtype) -> DDAMFN:
    built = DDAMFN(NETWORKS["ddamfn"])
    built.load_state_dict(imported.state, strict=False)
    return built.to(dtype).eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(np.random.default_rng(7).normal(0, 1, (4, 3, 112, 112)).astype(np.float32))


@pytest.fixture(scope="module")
def exact_features(imported: ImportedWeights, images: Tensor) -> Tensor:
    """What the attention block is trained on; float64."""
    with torch.no_grad():
        return network(imported, torch.float64).features(images.double())


@by_device
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_evaluation_reproduces_the_published_network(
    imported: ImportedWeights,
    images: Tensor,
    golden: dict[str, Tensor],
    dtype: torch.dtype,
    layout: torch.memory_format,
    device: str,
) -> None:
    ddamfn = network(imported, dtype).to(device)
    ddamfn.to(memory_format=layout)  # type: ignore[call-overload]
    features = ddamfn.features(images.to(device, dtype).contiguous(memory_format=layout))
    for implementation in IMPLEMENTATIONS:
        with use(implementation):
            embedding, gates = ddamfn.attention(features)
        weight, bias = (imported.classifier[name].to(device, dtype) for name in ("weight", "bias"))
        found = {
            "eval.features": features,
            "eval.attention": gates.maps(),
            "eval.embedding": embedding,
            "eval.logits": embedding @ weight.T + bias,
        }
        assert found.keys() == {name for name in golden if name.startswith("eval.")}
        for name, tensor in found.items():
            assert_reproduces(tensor, golden[name], dtype, f"{implementation} {name}")


def published_names(values: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors of the attention block under the names and shapes that they have in the published network."""
    table = map_sources()
    renamed: dict[str, Tensor] = {}
    for name, value in values.items():
        source = table[f"attention.{name}"]
        parts = value.reshape(len(source.keys), *source.shape)
        renamed |= {f"{prefix}{key}": part for key, part in zip(source.keys, parts, strict=True)}
    return renamed


@by_device
@by_implementation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_reproduces_the_published_attention_block(
    imported: ImportedWeights,
    exact_features: Tensor,
    golden: dict[str, Tensor],
    dtype: torch.dtype,
    implementation: str,
    device: str,
) -> None:
    features = exact_features.to(device, dtype, copy=True)
    block = network(imported, dtype).attention.train().to(device)
    features.requires_grad_()
    direction = torch.from_numpy(np.random.default_rng(11).normal(0, 1, (4, 512))).to(device, dtype)

    with use(implementation):
        embedding, gates = block(features)
    mse = attention_mse(gates)
    loss = (embedding * direction).sum() + 0.1 / (mse + sys.float_info.epsilon)
    loss.backward()

    gradients = {name: p.grad for name, p in block.named_parameters() if p.grad is not None}
    statistics = {name: b for name, b in block.named_buffers() if not name.endswith("num_batches_tracked")}
    assert features.grad is not None
    found = {
        "train.embedding": embedding,
        "train.mse": mse.reshape(1),
        "train.loss": loss.reshape(1),
        "train.grad.features": features.grad,
        **published_names(gradients, "train.grad."),
        **published_names(statistics, "train.after."),
    }
    assert found.keys() == {name for name in golden if name.startswith("train.")}
    for name, tensor in found.items():
        if name.endswith("CoordAtt.conv1.bias"):
            # A batch norm follows and takes this bias away again: the gradient is zero, what is stored is rounding.
            assert tensor.abs().max() < (1e-10 if dtype == torch.float64 else 1e-3)
        else:
            assert_reproduces(tensor, golden[name], dtype, name)


def test_published_parameter_count_holds_every_stored_parameter_used_or_not(
    imported: ImportedWeights, published_state: dict[str, Tensor]
) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked")

    def parameters(keys: list[str]) -> int:
        return sum(published_state[key].numel() for key in keys if not key.endswith(buffers))

    assert parameters(list(published_state)) == 4_187_936
    used = sum(p.numel() for p in DDAMFN(NETWORKS["ddamfn"]).backbone_parameters())
    classifier = 8 * 512 + 8
    assert used + classifier == 4_187_936 - parameters(imported.dropped)


def test_multiply_accumulates_of_the_published_network() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        ddamfn = DDAMFN(NETWORKS["ddamfn"]).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad(), use("reference"):
            ddamfn.embed(torch.empty(1, 3, 112, 112))
    assert counter.get_total_flops() / 2e6 == pytest.approx(539.6, abs=0.1)

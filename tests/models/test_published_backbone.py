"""The published backbone, and DDAMFN with another number of attention heads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.errors import DataError
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.published import import_published, save_imported
from abawkit.models.published_keys import summarise_unused
from abawkit.models.weights import load_weights

State = dict[str, Tensor]
Write = Callable[..., Path]


def test_the_backbone_gives_the_features_of_ddamfn_that_was_made_of_it(
    published_file: Path, backbone_state: State, write: Write
) -> None:
    whole, found = import_published(published_file), import_published(write(backbone_state, "MFN_msceleb.pth"))
    assert found.backbone
    assert not whole.backbone
    assert found.state.keys() == {key for key in whole.state if not key.startswith("attention.")}
    assert all(value.equal(whole.state[key]) for key, value in found.state.items())
    assert (found.classes, found.classifier, found.config) == (0, {}, NETWORKS["ddamfn"])


def test_its_layers_for_face_recognition_and_what_no_pass_uses_are_dropped(backbone_state: State, write: Write) -> None:
    dropped = import_published(write({"state_dict": backbone_state})).dropped
    assert {"conv_6_dw.conv.weight", "linear.weight", "bn.running_var", "conv_23.conv_dw.bn.weight"} <= set(dropped)
    assert len(dropped) == 34 * 6 + 6 + 1 + 5
    assert summarise_unused(dropped) == [("conv_dw.bn, conv_dw.prelu", 204), ("bn, conv_6_dw, linear", 12)]


def test_an_imported_backbone_is_written_and_read(backbone_state: State, write: Write, tmp_path: Path) -> None:
    imported = import_published(write(backbone_state))
    save_imported(imported, tmp_path / "backbone.safetensors")
    loaded = load_weights(tmp_path / "backbone.safetensors", heads_optional=True)
    assert loaded.state.keys() == imported.state.keys()
    with pytest.raises(DataError, match=r"missing: attention\."):
        load_weights(tmp_path / "backbone.safetensors")


def test_a_backbone_that_lacks_a_tensor_is_refused_by_its_own_names(backbone_state: State, write: Write) -> None:
    state = {key: value for key, value in backbone_state.items() if key != "conv_45.project.bn.bias"}
    with pytest.raises(DataError, match=r"missing: conv_45\.project\.bn\.bias \[256\]"):
        import_published(write(state))


def published_gates(x: Tensor, state: State, head: int) -> Tensor:
    """A head's map, of tensors under their published names, as design notes of the network describe it."""
    p = {key.removeprefix(f"cat_head{head}.CoordAtt."): v.double() for key, v in state.items() if f"head{head}." in key}

    def norm(values: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (p[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(values, mean, variance, weight, bias)

    rows = norm(F.conv2d(x, p["Linear_h.conv.weight"], groups=512), "Linear_h.bn")
    columns = norm(F.conv2d(x, p["Linear_w.conv.weight"], groups=512), "Linear_w.bn").transpose(2, 3)
    both = norm(F.conv2d(torch.cat([rows, columns], 2), p["conv1.weight"], p["conv1.bias"]), "bn1")
    both = F.hardswish(both)
    row_gate = F.conv2d(both[:, :, :7], p["conv2.weight"], p["conv2.bias"]).sigmoid()
    column_gate = F.conv2d(both[:, :, 7:].transpose(2, 3), p["conv3.weight"], p["conv3.bias"]).sigmoid()
    return row_gate * column_gate


@pytest.mark.parametrize("heads", [1, 2, 3, 4])
@torch.no_grad()
def test_any_published_number_of_heads_gives_the_published_embedding(
    state_with_heads: Callable[[int], State], write: Write, heads: int
) -> None:
    state = state_with_heads(heads)
    imported = import_published(write({"model_state_dict": state}))
    name = {1: "ddamfn-1-head", 2: "ddamfn"}.get(heads, f"ddamfn-{heads}-heads")
    assert imported.config == NETWORKS[name]
    network = DDAMFN(imported.config)
    network.load_state_dict(imported.state, strict=False)
    x = torch.randn(2, 512, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(heads))
    found, _ = network.double().eval().attention(x)
    attended = x * torch.stack([published_gates(x, state, head) for head in range(heads)]).amax(0)
    pooled = F.conv2d(attended, state["Linear.conv.weight"].double(), groups=512)
    norm: Any = [state[f"Linear.bn.{n}"].double() for n in ("running_mean", "running_var", "weight", "bias")]
    torch.testing.assert_close(found, F.batch_norm(pooled, *norm).flatten(1), rtol=1e-9, atol=1e-12)


def test_more_heads_than_are_published_are_refused(state_with_heads: Callable[[int], State], write: Write) -> None:
    with pytest.raises(DataError, match=r"cat_head\*: 5 attention heads, expected 1 to 4"):
        import_published(write(state_with_heads(5)))


def test_a_gap_between_heads_is_refused(state_with_heads: Callable[[int], State], write: Write) -> None:
    state = {key: value for key, value in state_with_heads(3).items() if not key.startswith("cat_head1.")}
    with pytest.raises(DataError, match=r"unexpected: cat_head2\."):
        import_published(write(state))


def test_dropped_names_are_two_families_and_their_counts(published_file: Path) -> None:
    assert summarise_unused(import_published(published_file).dropped) == [
        ("conv_dw.bn, conv_dw.prelu", 204),
        ("CoordAtt.Linear, bn", 17),
    ]

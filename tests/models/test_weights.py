"""A file of weights loads whole into its own network, or says what is wrong with it."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from abawkit.errors import DataError
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.weights import _digest_content, apply_weights, digest_state, load_weights, save_weights

NANO = NETWORKS["ddamfn-nano"]


@pytest.fixture
def network() -> DDAMFN:
    torch.manual_seed(3)
    return DDAMFN(NANO)


@pytest.fixture
def file(network: DDAMFN, tmp_path: Path) -> Path:
    save_weights(tmp_path / "w.safetensors", NANO, network.state_dict(), {"epoch": "2"})
    return tmp_path / "w.safetensors"


def without_heads(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.startswith("heads.")}


def test_weights_make_the_same_network_again(network: DDAMFN, file: Path) -> None:
    config, state, metadata = load_weights(file)
    again = DDAMFN(config)
    apply_weights(again, state)
    assert metadata == {"epoch": "2"}
    images = torch.randn(2, 3, 112, 112)
    assert again.eval()(images).va.equal(network.eval()(images).va)


def test_the_same_weights_make_the_same_file(network: DDAMFN, file: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "again.safetensors", NANO, network.state_dict(), {"epoch": "2"})
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_channels_last_weights_are_the_same_weights(network: DDAMFN) -> None:
    digest = digest_state(network.state_dict())
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert digest_state(network.state_dict()) == digest


def test_a_flipped_bit_is_noticed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        load_weights(file)


@pytest.mark.parametrize("kept", [0, 4, 100, -4])
def test_a_truncated_file_is_refused(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match="truncated, damaged or not a safetensors file"):
        load_weights(file)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.safetensors: no such file"):
        load_weights(tmp_path / "absent.safetensors")


def test_a_file_of_another_writer_is_refused(network: DDAMFN, tmp_path: Path) -> None:
    safetensors.torch.save_file(network.state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"not in the format abawkit\.network\.2"):
        load_weights(tmp_path / "other.safetensors")


DEEPEST = NANO.to_dict() | {"stages": [NANO.to_dict()["stages"][0] | {"depth": 256}] * 8}  # to build it takes minutes
HEADER = {"format": "abawkit.network.1", "network": NANO.to_dict(), "digest": "0", "metadata": {}}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "its header is damaged"),
        ("3", "its header is damaged"),
        ("[" * 100_000, "its header is damaged"),
        (json.dumps(HEADER | {"network": {"stem": 8}}), "its header is damaged(?s:.*)stages: Field required"),
        (json.dumps(HEADER | {"network": "x"}), "its header is damaged"),
        (json.dumps(HEADER | {"metadata": []}), "its header is damaged"),
        (json.dumps(HEADER | {"format": "abawkit.network.9"}), r"got format 'abawkit\.network\.9', expected"),
        (json.dumps(HEADER | {"network": DEEPEST}), "a network of 2,056 blocks has more than these 212 tensors"),
        (json.dumps(HEADER), r"have digest [0-9a-f]{64}, expected 0: damaged"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, network: DDAMFN, header: str, message: str) -> None:
    safetensors.torch.save_file(network.state_dict(), tmp_path / "w.safetensors", {"abawkit": header})
    with pytest.raises(DataError, match=message):
        load_weights(tmp_path / "w.safetensors")


def test_a_backbone_is_loaded_only_where_heads_may_be_missing(network: DDAMFN, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    save_weights(path, NANO, without_heads(network.state_dict()))
    with pytest.raises(DataError, match=r"missing: heads\.va\.weight"):
        load_weights(path)
    other = DDAMFN(NANO)
    heads = {key: value.clone() for key, value in other.state_dict().items() if key.startswith("heads.")}
    apply_weights(other, load_weights(path, heads_optional=True).state, heads_optional=True)
    assert all(other.state_dict()[key].equal(value) for key, value in (network.state_dict() | heads).items())


def test_one_missing_head_is_an_error_even_where_all_may_be_missing(network: DDAMFN) -> None:
    state = network.state_dict()
    del state["heads.au.bias"]
    with pytest.raises(DataError, match=r"missing: heads\.au\.bias \[12\]"):
        apply_weights(network, state, heads_optional=True)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("heads.va.weight", torch.zeros(3, 128), r"heads\.va\.weight: got shape \[3, 128\], expected \[2, 128\]"),
        ("stem.9.conv.weight", torch.zeros(1), r"unexpected: stem\.9\.conv\.weight"),
        ("heads.va.bias", torch.tensor([0.0, torch.inf]), r"heads\.va\.bias: holds NaN or infinity"),
        (
            "heads.va.bias",
            torch.zeros(2, dtype=torch.complex64),
            r"heads\.va\.bias: got numbers of type torch\.complex64",
        ),
        ("x", torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), r"unexpected: x"),
        ("heads.va.bias", torch.zeros(2, dtype=torch.int64), r"heads\.va\.bias: got numbers of type torch\.int64"),
    ],
)
def test_a_wrong_state_is_named_and_nothing_is_loaded(
    network: DDAMFN, tmp_path: Path, key: str, value: Tensor, message: str
) -> None:
    before = digest_state(network.state_dict())
    other = {k: v + 1 for k, v in network.state_dict().items()} | {key: value}
    with pytest.raises(DataError, match=message):
        apply_weights(network, other)
    with pytest.raises(DataError, match=message):
        save_weights(tmp_path / "w.safetensors", NANO, other)
    assert digest_state(network.state_dict()) == before
    assert not (tmp_path / "w.safetensors").exists()


def test_weights_of_another_network_are_refused(file: Path) -> None:
    with pytest.raises(DataError, match=r"differences:(?s:.*)missing: stages\.0\.0\.depthwise\.parts\.2\.weight"):
        apply_weights(DDAMFN(NETWORKS["ddamfn"]), load_weights(file).state, str(file))


def test_the_format_before_this_one_is_read_and_its_epoch_counted_from_1(tmp_path: Path, network: DDAMFN) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, NANO, network.state_dict(), {"epoch": "2"})
    state = load_weights(path).state
    header = {"format": "abawkit.network.1", "network": NANO.to_dict(), "metadata": {"epoch": "2"}}
    header["digest"] = _digest_content(state, header)
    safetensors.torch.save_file(state, path, {"abawkit": json.dumps(header)})
    assert load_weights(path).metadata == {"epoch": "3"}

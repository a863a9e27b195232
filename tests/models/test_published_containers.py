"""What public checkpoints look like: the same weights come out of each, or the user is asked which ones are meant."""

import argparse
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from abawkit.errors import DataError
from abawkit.models.published import ImportedWeights, import_published
from abawkit.models.state_dicts import StateDict

State = dict[str, Tensor]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def whole(published_file: Path) -> ImportedWeights:
    return import_published(published_file)


def same(found: ImportedWeights, expected: ImportedWeights) -> bool:
    return found.state.keys() == expected.state.keys() and all(
        found.state[key].equal(value) and not found.state[key].requires_grad for key, value in expected.state.items()
    )


def prefixed(state: State, prefix: str) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def optimizer_of(state: State) -> dict[str, Any]:
    """What `Adam.state_dict` returns."""
    moments = {i: {"step": torch.tensor(3.0), "exp_avg": value.float() * 0} for i, value in enumerate(state.values())}
    return {"state": moments, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": list(moments)}]}


def containers(state: State) -> dict[str, tuple[Any, str]]:
    """Content of a file, and where its weights are, by what writes such files."""
    lightning = {
        "epoch": 1,
        "global_step": 3,
        "pytorch-lightning_version": "2.2.0",
        "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(8)},
        "hyper_parameters": {"lr": 1e-4},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [optimizer_of({})],
    }
    return {
        "published": (
            {"iter": 3, "model_state_dict": state, "optimizer_state_dict": optimizer_of(state)},
            "model_state_dict",
        ),
        "alone": (state, ""),
        "ordered": (OrderedDict(state), ""),
        "state_dict": ({"epoch": 3, "state_dict": state}, "state_dict"),
        "model": ({"epoch": 3, "model": state}, "model"),
        "net": ({"acc": 0.6, "net": state}, "net"),
        "unknown key": ({"ddamfn of Tuesday": state}, "ddamfn of Tuesday"),
        "nested": ({"checkpoint": {"weights": {"model": state}}}, "checkpoint.weights.model"),
        "DataParallel": ({"state_dict": prefixed(state, "module.")}, "state_dict"),
        "torch.compile": (prefixed(state, "_orig_mod."), ""),
        "compiled DataParallel": (prefixed(state, "module._orig_mod."), ""),
        "wrapped": (prefixed(state, "net.backbone."), ""),
        "AveragedModel": ({"n_averaged": torch.tensor(5), **prefixed(state, "module.")}, ""),
        "Lightning": (lightning, "state_dict"),
        "NumPy beside it": (
            {"model_state_dict": state, "best_acc": np.float64(0.6469), "history": np.zeros((3, 2), np.float32)},
            "model_state_dict",
        ),
        "NumPy of all kinds": (
            {"net": state, "log": [np.int64(3), np.bool_(True), np.float16(1), np.array([1, 2]), np.array(["a"])]},
            "net",
        ),
        "options of a script": ({"model": state, "args": argparse.Namespace(lr=0.1, name="a", sub=[1])}, "model"),
        "timm": (
            {
                "epoch": 3,
                "arch": "ddamfn",
                "state_dict": state,
                "optimizer": optimizer_of({}),
                "version": 2,
                "args": argparse.Namespace(model="ddamfn", opt="adamw"),
                "amp_scaler": {"scale": 65536.0},
                "metric": np.float64(64.7),
            },
            "state_dict",
        ),
        "parameters": ({key: torch.nn.Parameter(v) if v.is_floating_point() else v for key, v in state.items()}, ""),
        "NumPy arrays": ({key: value.numpy() for key, value in state.items()}, ""),
        "the same twice": ({"model": state, "state_dict": {k: v.clone() for k, v in state.items()}}, "model"),
    }


NAMES = tuple(containers({}))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_weights_come_out_of_every_container(
    published_state: State, whole: ImportedWeights, write: Write, name: str
) -> None:
    content, key = containers(published_state)[name]
    found = import_published(write(content))
    assert same(found, whole)
    assert found.key == key


@pytest.mark.parametrize("name", ["published", "NumPy beside it", "options of a script"])
def test_the_form_before_torch_1_6_makes_no_difference(
    published_state: State, whole: ImportedWeights, write: Write, name: str
) -> None:
    content, _ = containers(published_state)[name]
    assert same(import_published(write(content, "old.pth.tar", _use_new_zipfile_serialization=False)), whole)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}], ids=["bare", "transformers"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_safetensors_with_published_names_are_imported(
    published_state: State, whole: ImportedWeights, tmp_path: Path, metadata: dict[str, str] | None, prefix: str
) -> None:
    safetensors.torch.save_file(prefixed(published_state, prefix), tmp_path / "model.safetensors", metadata)
    assert same(import_published(tmp_path / "model.safetensors"), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(published_state: State, write: Write, dtype: torch.dtype) -> None:
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in published_state.items()}
    found = import_published(write({"state_dict": state})).state["stem.0.conv.weight"]
    assert found.dtype == torch.float32
    assert found.equal(published_state["features.0.conv.weight"].to(dtype).float())


def test_arrays_in_another_order_of_bytes_or_axes_have_the_same_values(
    published_state: State, whole: ImportedWeights, write: Write
) -> None:
    arrays: dict[str, Any] = {key: value.numpy() for key, value in published_state.items()}
    arrays["features.0.conv.weight"] = np.asfortranarray(arrays["features.0.conv.weight"])
    arrays["features.0.bn.weight"] = arrays["features.0.bn.weight"].astype(">f4")
    arrays["features.0.bn.num_batches_tracked"] = np.int64(arrays["features.0.bn.num_batches_tracked"])
    assert same(import_published(write({"net": arrays})), whole)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([1 + 2j]), np.zeros(2, "f4,i4")], ids=str)
def test_an_array_that_does_not_hold_numbers_is_no_tensor(published_state: State, write: Write, array: Any) -> None:
    with pytest.raises(DataError, match=r"'features\.0\.bn\.bias' is a NumPy array that .* expected a dense tensor"):
        import_published(write(published_state | {"features.0.bn.bias": array}))


@pytest.mark.parametrize(
    "tensor", [torch.zeros(64).to_sparse(), torch.zeros(64, device="meta")], ids=["sparse", "meta"]
)
def test_a_tensor_without_plain_values_is_none(published_state: State, write: Write, tensor: Tensor) -> None:
    with pytest.raises(DataError, match=r"'features\.0\.bn\.bias' is a tensor that is sparse, quantised or without"):
        import_published(write(published_state | {"features.0.bn.bias": tensor}))


def other(state: State) -> State:
    return {key: value + 1 for key, value in state.items()}


def test_a_moving_average_is_left_out_and_named_where_weights_lie_beside_it(
    published_state: State, whole: ImportedWeights, write: Write
) -> None:
    path = write({"model": published_state, "ema": other(published_state)})
    found = import_published(path)
    assert same(found, whole)
    assert (found.key, found.others) == ("model", ["ema"])
    averaged = import_published(path, "ema")
    assert (averaged.key, averaged.others) == ("ema", ["model"])
    assert averaged.state["stem.0.conv.weight"].equal(published_state["features.0.conv.weight"] + 1)


@pytest.mark.parametrize(
    "name", ["ema", "model_ema", "state_dict_ema", "ema.module", "params_ema", "a.swa_model", "EMA"]
)
def test_names_of_moving_averages_are_known(name: str) -> None:
    assert StateDict(name, {}, []).averaged


@pytest.mark.parametrize("name", ["", "model", "schema", "emanuel", "teacher", "n_swans"])
def test_other_names_are_none(name: str) -> None:
    assert not StateDict(name, {}, []).averaged


def test_an_average_within_one_state_dict_is_left_out_by_its_prefix(
    published_state: State, whole: ImportedWeights, write: Write
) -> None:
    state = prefixed(published_state, "model.") | prefixed(other(published_state), "ema_model.module.")
    found = import_published(write({"state_dict": state, "epoch": 1}))
    assert same(found, whole)
    assert (found.key, found.others) == ("state_dict.model", ["state_dict.ema_model.module"])


def test_an_average_alone_is_taken(published_state: State, whole: ImportedWeights, write: Write) -> None:
    found = import_published(write({"ema": {"decay": 0.999, "module": published_state}}))
    assert same(found, whole)
    assert found.key == "ema.module"


def test_of_several_networks_the_user_is_asked_for_one(published_state: State, write: Write) -> None:
    path = write({"student": published_state, "teacher": other(published_state), "epoch": 3})
    with pytest.raises(DataError, match=r"holds 2 sets of weights of DDAMFN: 'student', 'teacher'; .* --key student"):
        import_published(path)
    assert import_published(path, "teacher").key == "teacher"
    with pytest.raises(DataError, match=r"under the key 'pupil'; there are: 'student', 'teacher'"):
        import_published(path, "pupil")


def test_what_lies_beside_the_network_is_listed(published_state: State, write: Write) -> None:
    content, _ = containers(published_state)["Lightning"]
    assert import_published(write(content)).beside == ["criterion.weight"]
    assert import_published(write(published_state)).beside == []


def test_a_mapping_that_holds_itself_is_looked_at_once_for_all(published_state: State, write: Write) -> None:
    content: dict[str, Any] = {"net": published_state}
    content["content"] = content
    assert import_published(write(content)).key == "net"


def test_weights_of_abawkit_need_no_import(whole: ImportedWeights, tmp_path: Path) -> None:
    from abawkit.models.published import save_imported

    save_imported(whole, tmp_path / "own.safetensors")
    with pytest.raises(DataError, match="abawkit wrote these weights; use them as they are"):
        import_published(tmp_path / "own.safetensors")

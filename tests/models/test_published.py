"""Published weights come in whole, by name, without running code; anything else is refused and says why."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from abawkit.errors import DataError
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.models.published import import_published, save_imported
from abawkit.models.weights import load_weights

State = dict[str, Tensor]


def test_every_parameter_of_the_network_but_its_heads_is_imported(published_file: Path) -> None:
    imported = import_published(published_file)
    ours = {key: value.shape for key, value in DDAMFN(NETWORKS["ddamfn"]).state_dict().items()}
    assert {key: value.shape for key, value in imported.state.items()} == {
        key: shape for key, shape in ours.items() if not key.startswith("heads.")
    }


def test_parameters_that_no_forward_pass_uses_are_dropped_and_listed(published_file: Path) -> None:
    dropped = import_published(published_file).dropped
    assert "features.2.conv_dw.bn.weight" in dropped
    assert "features.3.model.8.conv_dw.prelu.weight" in dropped
    assert "cat_head1.CoordAtt.Linear.conv.weight" in dropped
    assert "bn.running_var" in dropped
    # 34 mixed blocks with a norm (5) and a PReLU (1), 2 heads with a linear block (6), the last norm (5).
    assert len(dropped) == 34 * 6 + 2 * 6 + 5


def test_unused_parameters_may_be_absent(published_state: State, published_file: Path, write: Any) -> None:
    whole = import_published(published_file)
    used = {key: value for key, value in published_state.items() if key not in whole.dropped}
    imported = import_published(write(used))
    assert imported.dropped == []
    assert all(imported.state[key].equal(value) for key, value in whole.state.items())


@pytest.mark.parametrize("wrap", [True, False], ids=["model_state_dict", "bare"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_container_and_prefix_make_no_difference(
    published_state: State, published_file: Path, write: Any, wrap: bool, prefix: str
) -> None:
    state = {f"{prefix}{key}": value for key, value in published_state.items()}
    imported = import_published(write({"model_state_dict": state} if wrap else state))
    assert all(imported.state[key].equal(value) for key, value in import_published(published_file).state.items())


@pytest.mark.parametrize("classes", [7, 8, 10])
def test_the_classifier_is_kept_apart_with_its_number_of_classes(
    published_state: State, write: Any, classes: int
) -> None:
    weight = torch.randn(classes, 512)
    imported = import_published(write(published_state | {"fc.weight": weight, "fc.bias": torch.zeros(classes)}))
    assert imported.classes == classes
    assert imported.classifier["weight"].equal(weight)
    assert not any(key.startswith("heads.") for key in imported.state)


def test_weights_without_a_classifier_are_imported(published_state: State, write: Any) -> None:
    imported = import_published(write({k: v for k, v in published_state.items() if not k.startswith("fc.")}))
    assert (imported.classes, imported.classifier) == (0, {})


def test_half_precision_is_widened(published_state: State, write: Any) -> None:
    half = {key: value.half() if value.is_floating_point() else value for key, value in published_state.items()}
    assert import_published(write(half)).state["stem.0.conv.weight"].dtype == torch.float32


def broken(state: State, key: str, value: Tensor | None) -> State:
    rest = {k: v for k, v in state.items() if k != key}
    return rest if value is None else rest | {key: value}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("features.8.conv.weight", None, r"missing: features\.8\.conv\.weight \[512, 256, 1, 1\]"),
        ("cat_head1.CoordAtt.conv1.bias", None, r"missing: cat_head1\.CoordAtt\.conv1\.bias \[16\]"),
        ("cat_head2.CoordAtt.conv1.bias", torch.zeros(16), r"unexpected: cat_head2\.CoordAtt\.conv1\.bias \[16\]"),
        ("a\x1b[2J", torch.zeros(1), r"unexpected: a\\x1b\[2J"),
        (
            "Linear.conv.weight",
            torch.zeros(512, 1, 5, 5),
            r"got shape \[512, 1, 5, 5\], expected \[512, 1, 7, 7\]",
        ),
        ("features.0.bn.bias", torch.zeros(64, dtype=torch.int64), r"features\.0\.bn\.bias: got numbers of type"),
        ("features.0.bn.bias", torch.full((64,), torch.nan), r"features\.0\.bn\.bias: holds NaN or infinity"),
        ("features.0.bn.bias", torch.full((64,), 1e300, dtype=torch.float64), "NaN or infinity"),
        ("fc.bias", torch.zeros(5), r"5 classes, expected one of \(7, 8, 10\)"),
        ("fc.bias", None, r"missing: fc\.bias"),
    ],
)
def test_a_difference_is_named(
    published_state: State, write: Any, key: str, value: Tensor | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        import_published(write(broken(published_state, key, value)))


def test_many_differences_are_counted(write: Any) -> None:
    with pytest.raises(DataError, match=r"\.\.\. and \d+ more"):
        import_published(write({"weight": torch.zeros(1)}))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_file_that_carries_code_is_refused_and_the_code_is_not_run(
    published_state: State, write: Any, tmp_path: Path
) -> None:
    path = write({"model_state_dict": published_state, "more": Bomb(tmp_path / "ran")})
    with pytest.raises(DataError, match="refused: it holds more than tensors"):
        import_published(path)
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists(), "the test's own file must be able to do harm"


def test_a_whole_network_as_an_object_is_refused(write: Any) -> None:
    with pytest.raises(DataError, match=r"a 'torch\.nn\.modules\.linear\.Linear'"):
        import_published(write(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>not found</html>", b"PK\x03\x04", pickle.dumps(Path("x")), b"\x80\x02."],
    ids=["empty", "html", "zip magic", "plain pickle", "empty pickle"],
)
def test_what_torch_did_not_write_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(DataError, match=r"weights\.pth"):
        import_published(tmp_path / "weights.pth")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_truncated_file_is_refused(published_state: State, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save(published_state, path, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"truncated, damaged"):
        import_published(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.pth: no such file"):
        import_published(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [[1, 2], {}, {"model_state_dict": 3}], ids=["list", "empty", "number"])
def test_content_that_is_no_state_dict_is_refused(write: Any, content: object) -> None:
    with pytest.raises(DataError, match="holds no state dict"):
        import_published(write(content))


def test_an_entry_that_is_no_tensor_is_named(published_state: State, write: Any) -> None:
    with pytest.raises(DataError, match="'epoch' is a int, expected a dense tensor"):
        import_published(write(published_state | {"epoch": 3}))


def test_saved_weights_are_those_that_were_imported(published_file: Path, tmp_path: Path) -> None:
    imported = import_published(published_file)
    save_imported(imported, tmp_path / "ddamfn.safetensors")
    loaded = load_weights(tmp_path / "ddamfn.safetensors", heads_optional=True)
    assert loaded.config == NETWORKS["ddamfn"]
    assert loaded.metadata == {"source": f"sha256:{imported.digest}", "source_classes": "8"}
    assert loaded.state.keys() == imported.state.keys()
    assert all(loaded.state[key].equal(value) for key, value in imported.state.items())

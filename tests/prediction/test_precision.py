"""``--precision``: what networks predicted with is in the manifest, and members that differ in it are named."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import abawkit
from abawkit.errors import ConfigError, DataWarning, OpWarning
from abawkit.formats.editions import ABAW7
from abawkit.models import devices
from abawkit.prediction.predict import Predicted, predict
from abawkit.prediction.sources import ListedFrames
from abawkit.probabilities.members import read_member, read_members
from abawkit.tuning.ensemble import write_ensemble

PLUGIN = ABAW7()


@pytest.fixture(scope="module")
def predicted(
    members: list[Path], listed: ListedFrames, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Predicted]:
    """Network 0 in both kinds of precision, and network 1 in float32."""
    folder = tmp_path_factory.mktemp("out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpWarning)
        return {
            "exact": predict(members[:1], listed, folder / "exact.txt", PLUGIN, device="cpu"),
            "rounded": predict(members[:1], listed, folder / "rounded.txt", PLUGIN, device="cpu", precision="bfloat16"),
            "other": predict(members[1:2], listed, folder / "other.txt", PLUGIN, device="cpu"),
        }


def test_bfloat16_answers_are_those_of_float32_but_for_rounding(predicted: dict[str, Predicted]) -> None:
    exact, rounded = (read_member(predicted[name].probabilities).predictions for name in ("exact", "rounded"))
    for task in ("va", "expression", "au"):
        found, expected = getattr(rounded, task), getattr(exact, task)
        assert not np.array_equal(found, expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.1)


def test_manifest_and_member_have_the_precision(predicted: dict[str, Predicted]) -> None:
    for name, precision in (("exact", "float32"), ("rounded", "bfloat16")):
        manifest = json.loads(predicted[name].manifest.read_text())
        assert manifest["environment"]["precision"] == {"evaluation": precision, "tf32": "off"}
        assert read_member(predicted[name].probabilities).precision == precision


def test_members_of_different_precision_are_named_and_taken(predicted: dict[str, Predicted], tmp_path: Path) -> None:
    paths = [predicted[name].probabilities for name in ("rounded", "other")]
    with pytest.warns(DataWarning, match=r"different precision \(bfloat16: .*rounded.npz; float32: .*other.npz\)"):
        members = read_members(paths)
    written = write_ensemble(tmp_path / "both.txt", members, None, PLUGIN)
    entries = json.loads(written.manifest.read_text())["members"]
    assert [entry["precision"] for entry in entries] == ["bfloat16", "float32"]
    assert read_member(written.probabilities).precision is None


def test_members_of_one_precision_or_none_are_not_warned_of(predicted: dict[str, Predicted], tmp_path: Path) -> None:
    unknown = tmp_path / "unknown.npz"
    unknown.write_bytes(predicted["rounded"].probabilities.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_members([predicted[name].probabilities for name in ("exact", "other")])
        members = read_members([unknown, predicted["other"].probabilities])
    assert [member.precision for member in members] == [None, "float32"]


@pytest.mark.parametrize(("precision", "has", "warned"), [("bfloat16", False, 1), ("bfloat16", True, 0)])
def test_a_processor_without_the_instructions_is_warned_of_once(
    members: list[Path],
    listed: ListedFrames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    has: bool,
    warned: int,
) -> None:
    monkeypatch.setattr(devices, "has_bfloat16", lambda _: has)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        predict(members[:2], listed, tmp_path / "p.txt", PLUGIN, device="cpu", precision=precision)  # type: ignore[arg-type]
    texts = [str(w.message) for w in seen if issubclass(w.category, OpWarning)]
    assert len(texts) == warned
    assert all("has no instructions for it" in text for text in texts)


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="precision 'float16': expected float32 or bfloat16"):
        abawkit.predict("absent", tmp_path / "p.txt", precision="float16")  # type: ignore[arg-type]

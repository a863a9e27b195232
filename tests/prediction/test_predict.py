"""Prediction from end to end: the rows of the list, each with the answer for its own frame."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abawkit.curation.curate import curate
from abawkit.curation.curated_set import open_curated
from abawkit.curation.release import find_sources
from abawkit.errors import DataError
from abawkit.formats.editions import ABAW7
from abawkit.frames.reader import read_frames
from abawkit.models.inference import infer, place_network
from abawkit.models.network import DDAMFN
from abawkit.models.weights import digest_state, load_weights
from abawkit.prediction.predict import Predicted, predict
from abawkit.prediction.sources import CuratedFrames, ListedFrames
from abawkit.probabilities.members import read_probabilities
from abawkit.system.files import sha256_of
from abawkit.tables import Array, Predictions
from abawkit.training.data import read_evaluation_rows
from abawkit.training.validation import predict_rows

CPU = torch.device("cpu")
PLUGIN = ABAW7()

Frames = Callable[[Path, Path], ListedFrames]


def network_of(path: Path) -> DDAMFN:
    weights = load_weights(path)
    network = DDAMFN(weights.config)
    network.load_state_dict(weights.state)
    place_network(network, CPU)
    return network


def columns(predictions: Predictions) -> list[Array]:
    return [predictions.va, predictions.expression, predictions.au]


@pytest.fixture(scope="module")
def predicted(members: list[Path], listed: ListedFrames, tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    return predict(members, listed, tmp_path_factory.mktemp("out") / "predictions.txt", PLUGIN, device="cpu")


@pytest.fixture(scope="module")
def manifest(predicted: Predicted) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(predicted.manifest.read_text())
    return content


@pytest.mark.parametrize("chunk", [16, 37, 256])
def test_each_row_of_a_shuffled_list_with_repeats_has_the_answer_for_its_own_frame(
    members: list[Path],
    listed: ListedFrames,
    frames: Frames,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
) -> None:
    monkeypatch.setattr("abawkit.prediction.sources.CHUNK", chunk)
    unique = sorted(set(listed.images))[:41]
    names = np.random.default_rng(0).choice(unique, 75).tolist()  # 75 is no multiple of a chunk
    assert len(set(names)) < len(names)
    path = tmp_path / "MTL.txt"
    path.write_text("image\n" + "".join(f"{name},\n" for name in names))
    result = predict(members[:1], frames(path, root), tmp_path / "p.txt", PLUGIN, device="cpu")

    pixels = next(read_frames(unique, root, workers=1)).pixels
    answers = infer(network_of(members[0]), pixels, CPU)
    rows = [unique.index(name) for name in names]
    found = read_probabilities(result.probabilities)
    assert found.images.to_pylist() == names
    for column, answer in zip(columns(found), answers, strict=True):
        np.testing.assert_allclose(column, answer[rows], rtol=0, atol=1e-5)
    assert PLUGIN.read(result.submission).images.to_pylist() == names
    assert PLUGIN.check(result.submission, PLUGIN.read_list(path)) == []
    assert result.rows == 75


def test_the_official_file_holds_the_decisions_of_the_probabilities(predicted: Predicted, listed: ListedFrames) -> None:
    probabilities = read_probabilities(predicted.probabilities)
    assert predicted.submission.read_bytes() == PLUGIN.encode(probabilities.decide())
    assert probabilities.images.to_pylist() == listed.images
    assert listed.path
    assert PLUGIN.check(predicted.submission, PLUGIN.read_list(listed.path)) == []


def test_the_manifests_digests_are_true(
    predicted: Predicted, manifest: dict[str, Any], members: list[Path], listed: ListedFrames
) -> None:
    assert manifest["submission_sha256"] == sha256_of(predicted.submission)
    assert listed.path
    assert manifest["source"]["list_sha256"] == sha256_of(listed.path)
    assert manifest["source"]["list_digest"] == read_probabilities(predicted.probabilities).digest
    assert [m["digest"] for m in manifest["members"]] == [digest_state(load_weights(path).state) for path in members]
    assert (manifest["rows"], manifest["filled"], manifest["format"]) == (70, [], "abaw7")


def test_the_digest_of_the_list_lies_beside_the_probabilities(predicted: Predicted, listed: ListedFrames) -> None:
    assert listed.path
    with np.load(predicted.probabilities) as file:
        assert str(file["list_digest"]) == PLUGIN.read_list(listed.path).digest


def test_the_order_of_the_members_changes_no_byte(
    members: list[Path], listed: ListedFrames, predicted: Predicted, tmp_path: Path
) -> None:
    other = predict(members[::-1], listed, tmp_path / "predictions.txt", PLUGIN, device="cpu")
    assert other.submission.read_bytes() == predicted.submission.read_bytes()
    assert other.probabilities.read_bytes() == predicted.probabilities.read_bytes()


def test_a_split_is_predicted_as_evaluation_sees_it(members: list[Path], curated: Path, tmp_path: Path) -> None:
    opened = open_curated(curated)
    source = CuratedFrames(opened, "validation")
    result = predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")
    expected = predict_rows(network_of(members[0]), read_evaluation_rows(opened, "validation"), CPU)
    found = read_probabilities(result.probabilities)
    assert found.digest == expected.digest
    for column, wanted in zip(columns(found), columns(expected), strict=True):
        np.testing.assert_allclose(column, wanted, rtol=0, atol=1e-5)
    assert json.loads(result.manifest.read_text())["source"]["table_sha256"] == opened.digest


def test_a_split_of_labels_alone_is_refused(members: list[Path], release: Path, tmp_path: Path) -> None:
    curate(find_sources(release, labels_only=True), tmp_path, policy="per-task")
    source = CuratedFrames(open_curated(tmp_path), "validation")
    with pytest.raises(DataError, match="holds labels only"):
        predict(members[:1], source, tmp_path / "p.txt", PLUGIN, device="cpu")


def test_nothing_is_written_where_a_frame_is_missing(
    members: list[Path], frames: Frames, root: Path, tmp_path: Path
) -> None:
    path = tmp_path / "MTL.txt"
    path.write_text("image\nvideo/00001.jpg\n")
    with pytest.raises(DataError):
        predict(members[:1], frames(path, root), tmp_path / "p.txt", PLUGIN, device="cpu")
    assert [p.name for p in tmp_path.iterdir()] == ["MTL.txt"]

"""Prediction by sequence networks: from features alone, beside networks that see frames, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from abawkit.errors import ConfigError, DataError
from abawkit.features.store import FeatureStore
from abawkit.formats.editions import ABAW7
from abawkit.models.sequence import SequenceNetwork
from abawkit.models.sequence_config import SequenceConfig, SequenceKind
from abawkit.models.sequence_windows import infer_sequence
from abawkit.models.weights import load_any_weights, save_weights
from abawkit.prediction.networks import load_members
from abawkit.prediction.predict import predict
from abawkit.prediction.sequences import choose_stores
from abawkit.prediction.sources import ListedFrames, ListedNames, find_frames
from abawkit.probabilities.members import read_probabilities
from abawkit.tables import Array, Predictions
from abawkit.training.sequence_data import FrameFeatures, describe_input
from tests.sequence_features import write_random_store

PLUGIN = ABAW7()
CPU = torch.device("cpu")
SOURCE = {"kind": "network", "digest": "b" * 64}


class Listed(NamedTuple):
    """A list, the features of its frames, and a sequence network trained on such."""

    path: Path
    store: FeatureStore
    network: Path

    def open(self) -> ListedNames:
        found = find_frames(self.path, None, None, None, PLUGIN, features=True)
        assert isinstance(found, ListedNames)
        return found


def write_network(path: Path, stores: list[FeatureStore], kind: SequenceKind = "bigru", tasks: str = "va") -> Path:
    inputs = tuple(describe_input(store.manifest) for store in stores)
    config = SequenceConfig(
        kind=kind, inputs=inputs, width=8, layers=1, kernel=3, heads=2, reach=3, context=4, dropout=0.5
    )
    with torch.random.fork_rng():
        torch.manual_seed(len(stores))
        network = SequenceNetwork(config)
        for head in network.heads.values():
            torch.nn.init.normal_(head.weight, std=0.5)  # type: ignore[arg-type]
    save_weights(path, config, network.state_dict(), {"tasks": tasks})
    return path


def list_names(path: Path) -> list[str]:
    return [line.rstrip(",") for line in path.read_text().splitlines()[1:]]


@pytest.fixture
def given(release: Path, tmp_path: Path) -> Listed:
    path = release / "test_set_examples" / "MTL.txt"
    store = write_random_store(tmp_path / "store", list_names(path), source=SOURCE)
    return Listed(path, store, write_network(tmp_path / "sequence.safetensors", [store], tasks="va,expression,au"))


def columns(predictions: Predictions) -> list[Array]:
    return [predictions.va, predictions.expression, predictions.au]


def test_a_shuffled_list_with_repeats_is_answered_frame_by_frame(given: Listed, tmp_path: Path) -> None:
    names = list_names(given.path)
    shuffled = np.random.default_rng(0).permutation([*names, *names[:9]]).tolist()
    path = tmp_path / "MTL.txt"
    path.write_text("image\n" + "".join(f"{name},\n" for name in shuffled))
    listed = given._replace(path=path).open()
    written = predict([given.network], listed, tmp_path / "p.txt", PLUGIN, features=[given.store.folder], device="cpu")
    found = read_probabilities(written.probabilities)
    assert found.images.to_pylist() == shuffled
    weights = load_any_weights(given.network)
    assert isinstance(weights.config, SequenceConfig)
    network = SequenceNetwork(weights.config)
    network.load_state_dict(weights.state)
    features, frames = FrameFeatures.find([given.store], found.images)
    for column, wanted in zip(columns(found), infer_sequence(network, features, CPU), strict=True):
        np.testing.assert_array_equal(column, wanted[frames])
    assert PLUGIN.check(written.submission, PLUGIN.read_list(path)) == []
    manifest = json.loads(written.manifest.read_text())
    assert manifest["source"]["features"] == [
        {"folder": str(given.store.folder.resolve()), "digest": given.store.digest}
    ]


def test_networks_that_see_frames_and_features_are_averaged(
    given: Listed, listed: ListedFrames, members: list[Path], tmp_path: Path
) -> None:
    each = []
    for name, networks, source in (
        ("frames", members[:1], listed),
        ("features", [given.network], given.open()),
        ("both", [members[0], given.network], listed),
    ):
        stores = [given.store.folder] if name != "frames" else []
        written = predict(networks, source, tmp_path / f"{name}.txt", PLUGIN, features=stores, device="cpu")
        each.append(columns(read_probabilities(written.probabilities)))
    for frames, features, both in zip(*each, strict=True):
        np.testing.assert_allclose(both, (frames.astype(np.float64) + features) / 2, atol=1e-6)
        assert np.abs(frames - features).max() > 0.05


def test_a_frame_without_features_is_refused_or_answered_as_its_neighbour(given: Listed, tmp_path: Path) -> None:
    names = list_names(given.path)
    short = write_random_store(tmp_path / "short", names[1:], source=SOURCE)
    options: dict[str, Any] = {"features": [short.folder], "device": "cpu"}
    with pytest.raises(DataError, match=f"has no features for 1 of .*{names[0]}"):
        predict([given.network], given.open(), tmp_path / "p.txt", PLUGIN, **options)
    written = predict([given.network], given.open(), tmp_path / "p.txt", PLUGIN, missing="neighbour", **options)
    assert written.filled.keys() == {0}
    found = read_probabilities(written.probabilities)
    np.testing.assert_array_equal(found.va[0], found.va[written.filled[0]])


def test_stores_are_found_by_what_they_are_of(given: Listed, tmp_path: Path) -> None:
    names = list_names(given.path)
    other = write_random_store(tmp_path / "other", names, dimension=5, source={**SOURCE, "digest": "c" * 64})
    unknown = [write_random_store(tmp_path / f"unknown{d}", names, dimension=d) for d in (3, 4)]
    inputs = [describe_input(store.manifest) for store in (other, unknown[0], given.store)]
    chosen = choose_stores(inputs, [given.store, *unknown, other], given.network)
    assert chosen == [other, unknown[0], given.store]
    moved = {**SOURCE, "path": "elsewhere"}
    again = write_random_store(tmp_path / "again", names[:9], source=moved)
    assert describe_input(again.manifest) == describe_input(given.store.manifest)
    with pytest.raises(DataError, match=r"input 1 of this network is 5 numbers of the source \w{12}, and"):
        choose_stores(inputs[2:], [other, *unknown], given.network)
    with pytest.raises(DataError, match="it was trained on 2 stores: give --features for each of them"):
        choose_stores(inputs[2:] * 2, [given.store], given.network)


def test_what_does_not_fit_together_is_refused(
    given: Listed, listed: ListedFrames, members: list[Path], tmp_path: Path
) -> None:
    store, out = given.store.folder, tmp_path / "p.txt"
    with pytest.raises(ConfigError, match=r"is a sequence network: give the features of the frames with --features"):
        predict([given.network], listed, out, PLUGIN, device="cpu")
    with pytest.raises(ConfigError, match="none of these networks reads features"):
        predict(members[:1], listed, out, PLUGIN, features=[store], device="cpu")
    with pytest.raises(ConfigError, match="not all of these networks are sequence networks: give the frames"):
        predict([members[0], given.network], given.open(), out, PLUGIN, features=[store], device="cpu")
    with pytest.raises(ConfigError, match="give --list and --frames"):
        find_frames(given.path, None, None, None, PLUGIN)
    assert not out.exists()


def test_a_network_for_one_task_answers_it_alone(given: Listed, member: Callable[..., Path], tmp_path: Path) -> None:
    single = write_network(tmp_path / "va.safetensors", [given.store], kind="tcn")
    assert [m.tasks for m in load_members([single, member(tmp_path / "m.safetensors", 0)], CPU)] == [
        ("va",),
        ("va", "expression", "au"),
    ]

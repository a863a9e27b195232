"""Sequence networks: what an output depends on, and predictions that show no seam between windows."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from abawkit.errors import ConfigError, DataError
from abawkit.models.inference import Probabilities
from abawkit.models.sequence import Dropout, SequenceNetwork, Windows
from abawkit.models.sequence_config import FeatureInput, SequenceConfig, parse_config
from abawkit.models.sequence_windows import Spans, cut_videos, infer_sequence, measure_gaps, widen
from abawkit.models.weights import load_any_weights, load_weights, save_weights
from abawkit.tables import Array

CPU = torch.device("cpu")
KINDS = ("frame", "tcn", "lstm", "bigru", "transformer")
INPUT = FeatureInput(6, "a" * 64)


class Frames(NamedTuple):
    """Random features of videos, as `FrameSequence`."""

    values: Array
    numbers: Array
    starts: Array

    def take(self, frames: Array) -> Array:
        return self.values[frames]


def make_frames(*lengths: int, seed: int = 0) -> Frames:
    random = np.random.default_rng(seed)
    numbers = np.concatenate([np.cumsum(random.integers(1, 9, length)) for length in lengths])
    values = random.standard_normal((sum(lengths), 6)).astype(np.float32)
    return Frames(values, numbers, np.cumsum([0, *lengths]))


def make_config(kind: Any, **changes: Any) -> SequenceConfig:
    settings = {"width": 8, "layers": 2, "kernel": 3, "heads": 2, "reach": 3, "context": 5, "dropout": 0.5, **changes}
    return SequenceConfig(kind=kind, inputs=(INPUT,), **settings)


def make_network(kind: Any, **changes: Any) -> SequenceNetwork:
    """A network whose random weights make large differences between frames."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = SequenceNetwork(make_config(kind, **changes))
        for name, parameter in network.named_parameters():
            if name.startswith("heads.") or "bias.weight" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def encode(network: SequenceNetwork, values: Array, gaps: Array, mask: Array) -> Array:
    rows = torch.arange(mask.size)
    windows = Windows(torch.from_numpy(values), torch.from_numpy(gaps), torch.from_numpy(mask), rows)
    with torch.inference_mode():
        return network.encode(windows).numpy()


def assert_close(found: Probabilities, expected: Probabilities, atol: float = 1e-6) -> None:
    for column, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(column, wanted, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_behind_the_end_of_a_window_and_other_windows_change_nothing(kind: str) -> None:
    network, random = make_network(kind), np.random.default_rng(1)
    values = random.standard_normal((2, 7, 6)).astype(np.float32)
    gaps = np.ones((2, 7), np.float32)
    mask = np.arange(7) < np.array([[4], [7]])
    found = encode(network, values, gaps, mask)
    alone = encode(network, values[:1, :4], gaps[:1, :4], mask[:1, :4])
    np.testing.assert_allclose(found[:1, :4], alone, rtol=0, atol=1e-6)
    values[0, 4:], gaps[0, 4:] = 1e3, 77
    np.testing.assert_array_equal(encode(network, values, gaps, mask)[mask], found[mask])


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [("frame", 0, 0), ("tcn", 3, 3), ("transformer", 6, 6), ("lstm", 15, 0), ("bigru", 15, 15)],
)
def test_an_output_depends_on_the_frames_that_its_kind_promises_and_on_no_others(
    kind: str, before: int, after: int
) -> None:
    network, random = make_network(kind), np.random.default_rng(2)
    values = random.standard_normal((1, 31, 6)).astype(np.float32)
    gaps, mask = np.ones((1, 31), np.float32), np.ones((1, 31), bool)
    first = encode(network, values, gaps, mask)
    values[0, 15] += 1
    changed = np.flatnonzero((encode(network, values, gaps, mask) != first).any(axis=2)[0])
    assert (changed.min(), changed.max()) == (15 - after, 15 + before)
    if kind in ("frame", "tcn", "transformer"):
        assert network.config.margins == (before, after)


@pytest.mark.parametrize("kind", ["tcn", "lstm", "bigru", "transformer"])
def test_the_distance_between_frames_is_an_input(kind: str) -> None:
    network, frames = make_network(kind), make_frames(12)
    near = infer_sequence(network, frames, CPU)
    far = infer_sequence(network, frames._replace(numbers=frames.numbers * 9), CPU)
    assert np.abs(near.va - far.va).max() > 1e-3
    network = make_network("frame")
    assert_close(infer_sequence(network, frames._replace(numbers=frames.numbers * 9), CPU),
                 infer_sequence(network, frames, CPU))  # fmt: skip


@pytest.mark.parametrize("kept", [1, 2, 7, 30, 200])
@pytest.mark.parametrize("kind", ["frame", "tcn", "transformer"])
def test_the_length_of_the_windows_changes_nothing_where_the_receptive_field_is_bounded(kind: str, kept: int) -> None:
    network, frames = make_network(kind), make_frames(1, 41, 2, 13, 100)
    whole = infer_sequence(network, frames, CPU, kept=10_000)
    assert_close(infer_sequence(network, frames, CPU, kept=kept), whole)
    assert np.ptp(whole.expression, axis=0).max() > 0.1


@pytest.mark.parametrize("kind", ["lstm", "bigru"])
def test_recurrent_networks_read_their_context_and_forget_what_is_before_it(kind: str) -> None:
    frames = make_frames(1, 41, 13, 100)
    whole = infer_sequence(make_network(kind), frames, CPU, kept=10_000)
    errors = []
    for context in (0, 5, 40, 100):
        cut = infer_sequence(make_network(kind, context=context), frames, CPU, kept=10)
        errors.append(max(np.abs(a - b).max() for a, b in zip(cut, whole, strict=True)))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.02
    assert errors[2] < 1e-3
    assert errors[3] < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    layer, values = Dropout(share), torch.ones(300, 1001)
    assert layer.eval()(values) is values
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = layer.train()(values)
        torch.manual_seed(0)
        assert torch.equal(layer(values), found)
    assert float((found == 0).float().mean()) == pytest.approx(share, abs=4e-3)
    assert float(found.mean()) == pytest.approx(1, abs=1e-2)
    assert len(found.unique()) == (2 if share else 1)
    columns = (found == 0).float().mean(dim=0)
    assert float(columns.std()) == pytest.approx(np.sqrt(share * (1 - share) / 300), rel=0.1)


def test_windows_of_a_few_passes_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network, frames = make_network("bigru"), make_frames(3, 41, 13, 9)
    whole = infer_sequence(network, frames, CPU, kept=8)
    monkeypatch.setattr("abawkit.models.sequence_windows._BATCH", 20)
    done: list[int] = []
    assert_close(infer_sequence(network, frames, CPU, kept=8, between=done.append), whole)
    assert done == sorted(done)
    assert done[-1] == 66


def test_videos_are_cut_so_that_each_frame_is_in_one_window() -> None:
    random = np.random.default_rng(0)
    for window in (1, 2, 5, 64):
        starts = np.cumsum([0, *random.integers(1, 30, 20)])
        spans = cut_videos(starts, window, random.integers(0, window, 20))
        assert (spans.ends - spans.begins).min() > 0
        assert (spans.ends - spans.begins).max() <= window
        np.testing.assert_array_equal(spans.begins, [0, *spans.ends[:-1]])
        assert set(starts.tolist()) <= {*spans.begins.tolist(), int(spans.ends[-1])}


def test_the_cut_begins_with_a_part_of_a_window() -> None:
    spans = cut_videos(np.array([0, 7, 9]), 4, np.array([3, 0]))
    assert list(zip(spans.begins, spans.ends, strict=True)) == [(0, 3), (3, 7), (7, 9)]


def test_windows_are_widened_within_their_video() -> None:
    found = widen(Spans(np.array([0, 3, 7]), np.array([3, 7, 9])), np.array([0, 7, 9]), (2, 1))
    assert list(zip(*found, strict=True)) == [(0, 4), (1, 7), (7, 9)]


def test_gaps_are_distances_within_a_video() -> None:
    frames = Frames(np.zeros((5, 6), np.float32), np.array([3, 4, 9, 2, 500_002]), np.array([0, 3, 5]))
    assert measure_gaps(frames).tolist() == [0, 1, 5, 0, 10_000]


def test_a_file_of_weights_builds_its_network_again(tmp_path: Path) -> None:
    network, frames = make_network("bigru"), make_frames(9)
    network.normalise.mean.fill_(0.5)
    path = tmp_path / "weights.safetensors"
    save_weights(path, network.config, network.state_dict(), {"tasks": "va"})
    kept = load_any_weights(path)
    assert kept.config == network.config
    again = SequenceNetwork(kept.config)
    again.load_state_dict(kept.state)
    assert_close(infer_sequence(again, frames, CPU), infer_sequence(network, frames, CPU), 0)
    with pytest.raises(DataError, match="is a sequence network, whose input is features and not frames"):
        load_weights(path)


def test_a_configuration_with_wrong_values_names_them() -> None:
    good = make_config("tcn").to_dict()
    assert parse_config(good) == make_config("tcn")
    for changes, expected in (
        ({"kernel": 4}, "kernel: Value error, a kernel size must be odd, got 4"),
        ({"kind": "cnn"}, "kind: Input should be 'frame'"),
        ({"inputs": []}, "inputs: "),
        ({"depth": 1}, "depth: "),
        ({"kind": "bigru", "width": 7}, "expected an even number"),
        ({"kind": "transformer", "width": 7}, "expected a multiple of heads"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_config({**good, **changes})
        assert expected in str(caught.value)

"""``abawkit explain``: a picture of the gates, of the frames that were asked for."""

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from abawkit.curation.curated_set import open_curated
from abawkit.frames.augmentation import normalise
from abawkit.inspection.output_kinds import EXPLANATION
from abawkit.models.config import NETWORKS
from abawkit.models.inference import infer_gates
from abawkit.models.network import DDAMFN
from abawkit.models.sequence import SequenceNetwork
from abawkit.models.sequence_config import FeatureInput, SequenceConfig
from abawkit.models.weights import save_weights
from abawkit.reports.explain import draw_gates
from tests.cli.conftest import answer

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_maps_are_the_gates_averaged_over_channels_and_their_maximum() -> None:
    torch.manual_seed(0)
    network = DDAMFN(NETWORKS["ddamfn-nano"])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    maps, probabilities = infer_gates(network, pixels)
    assert maps.shape == (3, 3, 7, 7)
    assert [column.shape for column in probabilities] == [(3, 2), (3, 8), (3, 12)]
    assert 0 < maps.min() < maps.max() < 1
    assert np.all(maps[:, 2] >= maps[:, :2].max(axis=1) - 1e-6)  # the mean of the maximum is no smaller
    seen = pixels[1:2]
    with torch.inference_mode():
        gates = network.eval()(normalise(torch.from_numpy(seen))).gates
    expected = (gates.rows[0, 1, :, :, None] * gates.columns[0, 1, :, None, :]).mean(0).numpy()
    np.testing.assert_allclose(maps[1, 1], expected, atol=1e-5)


def test_a_picture_has_the_same_bytes_and_a_line_for_each_frame() -> None:
    rng = np.random.default_rng(0)
    pixels, maps = rng.integers(0, 256, (2, 112, 112, 3), dtype=np.uint8), rng.random((2, 1, 7, 7), dtype=np.float32)
    answers = ["V +0.10, A -0.20", "no AU"]
    found = [draw_gates(pixels, maps, ["v/1.jpg", "v/\x1b2.jpg"], answers, title="a") for _ in range(2)]
    assert found[0] == found[1]
    one = draw_gates(pixels[:1], maps[:1], ["v/1.jpg"], answers[:1], title="a")
    heights = [Image.open(io.BytesIO(content)).height for content in (one, found[0])]
    assert 180 < heights[1] - heights[0] < 220


@pytest.mark.e2e
def test_frames_of_a_curated_set_and_of_a_folder(
    run: Run, runs: list[Path], curated: Path, release: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gates.png"
    shown = run("explain", runs[0], "--data", curated, "--count", 3, "--out", out).stdout
    assert shown == f"{out}: gates of 2 heads over 3 frames\n"
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "exists already" in run("explain", runs[0], "--data", curated, "--out", out, code=2).stderr
    names = open_curated(curated).splits["validation"].annotations.images.to_pylist()
    found = answer(run("explain", runs[0], "--data", curated, "--images", names[5], "--out", out, "--force", "--json"))
    assert [frame["image"] for frame in found["frames"]] == [names[5]]
    assert np.array(found["frames"][0]["gates"]).shape == (3, 7, 7)
    frames = release / "test_data/cropped_aligned"
    found = answer(run("explain", runs[0], "--frames", frames, "--out", tmp_path / "b.png", "--json"))
    assert len(found["frames"]) == 8
    wrong = run("explain", runs[0], "--frames", frames, "--images", "x/1.jpg", "--out", tmp_path / "c.png", code=3)
    assert f"--images x/1.jpg: no such frame in {frames}" in wrong.stderr
    assert "names are like" in wrong.stderr
    assert not (tmp_path / "c.png").exists()


def test_what_can_not_be_explained_is_refused(run: Run, tmp_path: Path) -> None:
    path, out = tmp_path / "heads.safetensors", tmp_path / "a.png"
    config = SequenceConfig(
        kind="frame",
        inputs=(FeatureInput(6, "a" * 64),),
        width=8,
        layers=2,
        kernel=3,
        heads=2,
        reach=3,
        context=5,
        dropout=0.5,
    )
    save_weights(path, config, SequenceNetwork(config).state_dict(), {"tasks": "va"})
    frames = tmp_path / "frames" / "v"
    frames.mkdir(parents=True)
    Image.new("RGB", (112, 112)).save(frames / "00001.jpg")
    assert "is a sequence network" in run("explain", path, "--frames", frames.parent, "--out", out, code=2).stderr
    assert "--frames for a folder" in run("explain", path, "--out", out, code=2).stderr
    assert "ends in .png" in run("explain", path, "--frames", frames, "--out", tmp_path / "a.jpg", code=2).stderr


def test_only_a_picture_of_this_kind_is_replaced(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    assert EXPLANATION.difference(tmp_path / "mine.png") == "is no such picture"
    drawn = draw_gates(
        np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 1, 2, 2), np.float32), ["v/1.jpg"], [""], title=""
    )
    (tmp_path / "gates.png").write_bytes(drawn)
    assert EXPLANATION.difference(tmp_path / "gates.png") == ""

"""Training on a device: losses fall, a stopped run goes on to the same weights, and what is kept runs on any device."""

import json
import math
import shutil
from pathlib import Path

import pytest

from abawkit.curation.curated_set import open_curated
from abawkit.errors import StoppedError
from abawkit.formats.editions import ABAW7
from abawkit.frames.augmentation_config import Augmentation
from abawkit.prediction.predict import predict
from abawkit.prediction.sources import CuratedFrames
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.run import Trained, train
from abawkit.training.start import Inputs, Resume
from tests.training.test_resuming import digests, stop_at

EPOCHS = 2


def make_recipe(device: str, precision: str) -> Recipe:
    """Short epochs of the small network with a moving average and every kind of augmentation."""
    varied = Augmentation(flip=0.5, affine=0.5, angle=8.0, brightness=0.2, saturation=0.2, erase=0.3)
    return Recipe.model_validate(
        {
            "network": "ddamfn-nano",
            "batch_size": 48,
            "device": device,
            "precision": precision,
            "ema": 0.9,
            "heads": Stage(epochs=0),
            "all": Stage(epochs=EPOCHS, learning_rate=4e-3),
            "augmentation": varied,
        }
    )


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("cpu", "float32"), id="cpu-float32"),
        pytest.param(("cuda", "float32"), id="cuda-float32", marks=pytest.mark.gpu),
        pytest.param(("cuda", "bfloat16"), id="cuda-bfloat16", marks=pytest.mark.gpu),
    ],
)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    """In bfloat16 on a GPU alone: eager PyTorch takes a CPU minutes for it."""
    return make_recipe(*request.param)


@pytest.fixture(scope="module")
def whole(recipe: Recipe, curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The run that was not stopped: two epochs of four steps."""
    return train(recipe, Inputs(curated), tmp_path_factory.mktemp("whole"))


def test_losses_fall_and_the_manifest_says_where_and_how(recipe: Recipe, whole: Trained) -> None:
    lines = [json.loads(line) for line in (whole.out / "metrics.jsonl").read_text().splitlines()]
    first, last = (line["losses"] for line in (lines[0], lines[-1]))
    assert len(lines) == EPOCHS
    assert all(math.isfinite(value) for line in lines for value in line["losses"].values())
    assert last["total"] < first["total"]
    manifest = json.loads((whole.out / "manifest.json").read_text())
    assert manifest["environment"]["precision"] == {
        "training": recipe.precision,
        "evaluation": "float32",
        "tf32": "off",
    }
    assert manifest["environment"]["ops"]["dual_direction_attention"] == "native"


def test_a_stopped_run_goes_on_to_the_same_weights(
    recipe: Recipe, whole: Trained, curated: Path, tmp_path: Path
) -> None:
    stopping, callbacks = stop_at(6)
    with pytest.raises(StoppedError, match="after step 6"):
        train(recipe, Inputs(curated), tmp_path, stopping=stopping, callbacks=callbacks)
    again = train(recipe, Inputs(curated), tmp_path, resume=Resume())
    assert digests(tmp_path) == digests(whole.out)
    assert (again.best_epoch, again.best_score, again.scores) == (whole.best_epoch, whole.best_score, whole.scores)


def test_what_was_trained_there_is_predicted_with_anywhere(whole: Trained, curated: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(whole.out / "best.safetensors", tmp_path))
    frames = CuratedFrames(open_curated(curated), "validation")
    result = predict([weights], frames, tmp_path / "out.txt", ABAW7(), device="cpu")
    assert result.rows == len(frames.images)

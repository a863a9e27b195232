"""Does the forecast of `abawkit tune` hold the score on the test split? Twenty releases are drawn, each trained on.

    python -m benchmarks.drawn_releases OUT [--seeds 20]

Frames are not rendered. What a network would see is imitated: the intensities that a frame would be rendered from, an
offset for each video (the person), noise that lasts and noise that does not. These numbers are imported as features;
all else is what users run: `import_features`, `train` (heads on single frames), `predict`, `tune` on the validation
split, and the score of the tuned rule on the held-out truth of the test split, which nothing was fitted on.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

import abawkit
from abawkit.curation.curated_set import SPLITS, open_curated
from abawkit.formats.base import get_format
from abawkit.frame_columns import rank_videos
from abawkit.scoring.matching import read_truth
from abawkit.scoring.score import score
from abawkit.synth.labels import SplitLabels
from abawkit.synth.release import plan_release
from abawkit.tables import Array
from abawkit.training.run_folder import read_processor_name
from benchmarks.temporal import Place, make_once, predict, train_heads, tune

SIZE: Final = "demo"
PERSON: Final = 0.25
"""Standard deviation of the offset of a video's numbers; intensities are in 0..1."""
LASTING: Final = 0.25
FLICKER: Final = 0.35
MEMORY: Final = 10.0
"""Rows over which the lasting noise is forgotten."""


def imitate_features(labels: SplitLabels, rows: Array, images: pa.StringArray, seed: int) -> Array:
    """What a network would see, float32, shape (n, 17).

    Args:
        labels: What the frames of the split would be rendered from.
        rows: The number in `labels` of each row.
        images: The image of each row.
        seed: Of the noise; a row that repeats an image has noise of its own.
    """
    rng = np.random.default_rng(seed)
    shown = labels.intensity[rows]
    videos = rank_videos(images)
    offsets = rng.normal(scale=PERSON, size=(videos.max() + 1, shown.shape[1]))[videos]
    lasting = np.zeros_like(shown)
    keep = np.exp(-1 / MEMORY)
    drawn = rng.normal(size=shown.shape)
    for row in range(len(shown)):
        begins = row == 0 or videos[row] != videos[row - 1]
        lasting[row] = drawn[row] if begins else keep * lasting[row - 1] + np.sqrt(1 - keep**2) * drawn[row]
    flicker = rng.normal(scale=FLICKER, size=shown.shape)
    return np.asarray(shown + offsets + LASTING * lasting + flicker, dtype=np.float32)


def prepare(place: Place, folder: Path) -> None:
    """Draws a release without frames, curates it, and imports the imitated features of both lists."""
    folder.mkdir(parents=True, exist_ok=True)
    release = folder / "release"
    abawkit.write_release(release, size=SIZE, seed=place.seed, labels_only=True, force=release.exists())
    abawkit.curate(release, place.curated, policy="per-task", labels_only=True, force=place.curated.exists())
    plan = plan_release(SIZE, place.seed)
    parts, names = [], []
    for number, split in enumerate(SPLITS):
        annotations = open_curated(place.curated).splits[split].annotations
        parts.append(
            imitate_features(plan[split][1], annotations.lines - 2, annotations.images, 10 * place.seed + number)
        )
        names += annotations.images.to_pylist()
    np.savez(place.folder / "trained.npz", images=np.array(names), features=np.concatenate(parts))
    listed = get_format("abaw7").read_list(place.test["frame_list"])
    seen = imitate_features(plan["test"][1], np.arange(len(listed.images)), listed.images, 10 * place.seed + 2)
    np.savez(place.folder / "tested.npz", images=np.array(listed.images.to_pylist()), features=seen)
    abawkit.import_features(place.folder / "trained.npz", place.folder / "features", data=place.curated)
    listed_frames = place.test["frame_list"]
    abawkit.import_features(place.folder / "tested.npz", place.folder / "features-test", frame_list=listed_frames)


def main() -> None:
    """Reads the arguments, and prints a line for each release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    given = parser.parse_args()
    held, forecasts, scores = 0, [], []
    for seed in range(1, given.seeds + 1):
        place = Place(seed, given.out / f"seed{seed}")
        make_once(place.folder, partial(prepare, place))
        make_once(place.folder / "frame", partial(train_heads, place, "frame", None))
        validation, test = predict(place, "frame", over_time=True)
        tuned = tune(place, "frame", [validation], [test], "validation")
        truth = read_truth(place.folder / "release" / "held_out" / "test_set_annotations.txt", None)
        found, forecast = score(truth, tuned.predictions.decide()).score, tuned.forecast
        assert forecast is not None
        held += forecast["low"] <= found <= forecast["high"]
        forecasts.append(forecast["value"])
        scores.append(found)
        ends = f"{forecast['low']:.3f} to {forecast['high']:.3f}"
        print(f"seed {seed}: forecast {forecast['value']:.3f} ({ends}), test {found:.3f}", flush=True)
    differences = np.subtract(scores, forecasts)
    print(read_processor_name())
    print(f"the forecast of P holds the score of the test split in {held} of {given.seeds} releases")
    print(
        f"mean forecast {np.mean(forecasts):.3f}, mean score {np.mean(scores):.3f}, "
        f"deviation of the difference {differences.std(ddof=1):.3f}"
    )


if __name__ == "__main__":
    main()

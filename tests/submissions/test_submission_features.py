"""Submissions with heads over time: features are steps between the networks that compute them and the heads."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abawkit.errors import AbawkitError, ConfigError, DataError
from abawkit.features.store import FeatureStore
from abawkit.submissions.manifest import read_manifest
from abawkit.submissions.plan import SubmissionPlan, plan_submission
from abawkit.submissions.recipe import read_submission_recipe
from abawkit.submissions.submit import describe_due_steps
from tests.sequence_features import list_rows, write_random_store
from tests.submissions.conftest import Bench, option, options_of

HEADS = """
[[networks]]
name = "va"
recipe = "sequence-bigru"
features = ["frames"]
tasks = ["va"]

[[networks]]
name = "rest"
recipe = "sequence-tcn"
features = ["frames"]
tasks = ["expression", "au"]
"""

FRAMES = """
[[networks]]
name = "frames"
recipe = "demo"
"""

RECIPE = f"""
summary = "heads over time, one network per task"
seeds = [1]
{HEADS}{FRAMES}
[decisions]
calibration = ["au"]
folds = 2
"""

EVERYTHING = [
    "train runs/frames-seed1",
    "features frames-seed1/curated",
    "features frames-seed1/test",
    "train runs/va-seed1",
    "train runs/rest-seed1",
    "predict validation/frames-seed1.txt",
    "predict validation/va+rest-seed1.txt",
    "predict test/frames-seed1.txt",
    "predict test/va+rest-seed1.txt",
]


def plan(folder: Path, text: str) -> SubmissionPlan:
    (folder / "recipe.toml").write_text(text)
    return plan_submission(folder, read_submission_recipe(folder)[0])


@pytest.fixture
def heads(bench: Bench) -> Bench:
    bench.write(RECIPE)
    return bench


@pytest.fixture
def made(heads: Bench) -> Bench:
    heads.submit()
    return heads


def test_features_are_extracted_between_the_network_and_the_heads_that_read_them(made: Bench) -> None:
    assert made.commands.outs == EVERYTHING
    train, curated, test, head, _, *predictions = made.commands.calls
    outputs = made.folder / "outputs"
    assert "--features" not in train
    assert curated[1] == test[1] == str(outputs / "runs/frames-seed1/last.safetensors")
    assert options_of(head, "--features") == [outputs / "features/frames-seed1/curated"]
    assert [options_of(call, "--features") for call in predictions] == [
        [],
        [outputs / "features/frames-seed1/curated"],
        [],
        [outputs / "features/frames-seed1/test"],
    ]
    assert "--frames" in predictions[2]
    assert "--frames" not in predictions[3]


def test_the_manifest_has_the_digests_of_the_features(made: Bench) -> None:
    manifest = read_manifest(made.folder)
    assert manifest is not None
    assert [network.name for network in manifest.networks] == ["frames-seed1", "va-seed1", "rest-seed1"]
    (features,) = manifest.features
    stores = [FeatureStore.open(made.folder / f"outputs/features/frames-seed1/{part}") for part in ("curated", "test")]
    assert (features.name, features.flip) == ("frames-seed1", False)
    assert [features.curated, features.test] == [store.digest for store in stores]


def test_a_second_submit_of_heads_does_nothing(made: Bench) -> None:
    assert made.submit().done == []
    assert made.commands.calls == []


def test_the_outlook_names_features_and_what_comes_before_them(heads: Bench) -> None:
    steps = describe_due_steps(heads.folder, heads.inputs)
    assert steps == [
        ("train frames-seed1", "not made yet"),
        ("features curated frames-seed1", "its network comes first"),
        ("features test frames-seed1", "its network comes first"),
        ("train va-seed1", "its features come first"),
        ("train rest-seed1", "its features come first"),
        ("predict validation frames-seed1", "its networks come first"),
        ("predict validation va+rest-seed1", "its networks come first"),
        ("predict test frames-seed1", "its networks come first"),
        ("predict test va+rest-seed1", "its networks come first"),
    ]
    heads.submit()
    steps = describe_due_steps(heads.folder, heads.inputs)
    assert [reason for _, reason in steps] == [""] * len(EVERYTHING)


def test_another_head_leaves_network_and_features_as_they_are(made: Bench) -> None:
    made.write(RECIPE.replace('tasks = ["va"]', 'tasks = ["va"]\nset = ["sequence.width=8"]'))
    made.submit()
    assert made.commands.outs == [
        "train runs/va-seed1",
        "predict validation/va+rest-seed1.txt",
        "predict test/va+rest-seed1.txt",
    ]


def test_another_frame_network_repeats_everything_behind_it(made: Bench) -> None:
    made.write(RECIPE.replace('recipe = "demo"', 'recipe = "demo"\nset = ["ema=0.5"]'))
    made.submit()
    assert made.commands.outs == EVERYTHING
    assert "train va-seed1: features changed" in made.said
    assert all("--force" in call for call in made.commands.calls)


def test_features_that_are_extracted_again_with_the_same_numbers_train_nothing(made: Bench) -> None:
    shutil.rmtree(made.folder / "outputs/features/frames-seed1/curated")
    assert made.submit().done == ["features curated frames-seed1"]


def test_a_change_of_code_extracts_and_predicts_again_and_trains_nothing(
    made: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abawkit.submissions.steps.digest_code", lambda: "0123")
    made.submit()
    assert made.commands.outs == [out for out in EVERYTHING if not out.startswith("train")]


def test_damaged_features_are_extracted_again(made: Bench) -> None:
    path = made.folder / "outputs/features/frames-seed1/test/features.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    made.submit()
    assert made.commands.outs == ["features frames-seed1/test"]
    assert path.read_bytes() == whole


def test_an_interrupted_extraction_goes_on(heads: Bench) -> None:
    heads.commands.interrupt = ("features",)
    with pytest.raises(KeyboardInterrupt):
        heads.submit()
    heads.commands.interrupt = ()
    heads.submit()
    assert heads.commands.outs == EVERYTHING[1:]
    assert "features curated frames-seed1: was interrupted" in heads.said


def test_each_seed_reads_the_features_of_its_own_network(heads: Bench) -> None:
    heads.write(RECIPE.replace("seeds = [1]", "seeds = [1, 2]"))
    heads.submit()
    head = next(call for call in heads.commands.calls if option(call, "--out").endswith("va-seed2"))
    assert [path.parent.name for path in options_of(head, "--features")] == ["frames-seed2"]


def test_mirrored_frames_are_extracted_where_a_head_takes_them(heads: Bench) -> None:
    heads.write(RECIPE.replace('tasks = ["va"]', 'tasks = ["va"]\nset = ["augmentation.flip=0.5"]'))
    heads.submit()
    curated, test = (call for call in heads.commands.calls if call[0] == "features")
    assert "--flip" in curated
    assert "--flip" not in test


def test_heads_do_not_start_from_the_weights_of_the_submission(heads: Bench, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"weights")
    heads.inputs = replace(heads.inputs, weights=weights)
    heads.write(RECIPE.replace("seeds =", 'weights = "published"\nseeds ='))
    heads.submit()
    assert ["--weights" in call for call in heads.commands.calls if call[0] == "train"] == [True, False, False]


def test_a_network_that_only_computes_features_is_no_member(heads: Bench) -> None:
    heads.write(RECIPE.replace('recipe = "demo"', 'recipe = "demo"\nmember = false'))
    result = heads.submit()
    assert heads.commands.outs == [out for out in EVERYTHING if not out.endswith("/frames-seed1.txt")]
    assert [member.name for member in result.manifest.validation.members] == ["va+rest-seed1"]
    assert [network.name for network in result.manifest.networks] == ["frames-seed1", "va-seed1", "rest-seed1"]


def test_heads_and_a_network_of_frames_can_be_one_member(heads: Bench) -> None:
    heads.write(RECIPE.replace('["expression", "au"]', '["expression"]') + FRAMES.replace("frames", "au"))
    text = (heads.folder / "recipe.toml").read_text()
    heads.write(text + 'tasks = ["au"]\n')
    heads.submit()
    test = heads.commands.calls[-1]
    assert option(test, "--out").endswith("test/au+va+rest-seed1.txt")
    assert "--frames" in test
    assert "--features" in test


# features from outside of the submission


ONNX = 'size = 112\nmean = [0.5, 0.5, 0.5]\ndeviation = [0.2, 0.2, 0.2]\nlayout = "NCHW"\noutput = "features"\n'


def test_an_onnx_file_is_extracted_once_for_all_seeds(heads: Bench) -> None:
    pytest.importorskip("onnxruntime")
    (heads.folder / "backbone.onnx").write_bytes(b"onnx")
    (heads.folder / "backbone.toml").write_text(ONNX)
    heads.write(RECIPE.replace('["frames"]', '["backbone.onnx"]').replace("seeds = [1]", "seeds = [1, 2]"))
    heads.submit()
    features = [call for call in heads.commands.calls if call[0] == "features"]
    assert [call[1] for call in features] == [str(heads.folder / "backbone.onnx")] * 2
    (heads.folder / "backbone.toml").write_text(ONNX.replace("112", "224"))
    heads.submit()
    assert [out for out in heads.commands.outs if out.startswith("features")] == [
        "features backbone.onnx/curated",
        "features backbone.onnx/test",
    ]


def given_features(bench: Bench, **options: Any) -> Path:
    """Features of both tables in a folder of the submission, and a recipe whose heads read them."""
    bench.write(RECIPE.replace('["frames"]', '["frames", "theirs"]'))
    folder = bench.folder / "theirs"
    write_random_store(folder / "curated", list_rows(bench.inputs.data), **options)
    listed = [line.partition(",")[0] for line in bench.inputs.listed.read_text().splitlines()[1:]]
    write_random_store(folder / "test", listed)
    return folder


def test_features_that_are_given_are_read_beside_others_and_not_extracted(heads: Bench) -> None:
    folder = given_features(heads)
    heads.submit()
    assert heads.commands.outs == EVERYTHING
    head = heads.commands.calls[3]
    assert options_of(head, "--features")[1] == folder / "curated"
    assert options_of(heads.commands.calls[-1], "--features")[1] == folder / "test"
    shutil.rmtree(folder / "curated")
    write_random_store(folder / "curated", list_rows(heads.inputs.data), dimension=7)
    heads.submit()
    assert heads.commands.outs == [EVERYTHING[3], EVERYTHING[4], EVERYTHING[6], EVERYTHING[8]]


def test_given_features_of_other_rows_are_refused_before_training(heads: Bench) -> None:
    folder = given_features(heads)
    shutil.rmtree(folder / "test")
    write_random_store(folder / "test", ["video/00001.jpg"])
    with pytest.raises(DataError, match="theirs/test: has no features for"):
        heads.submit()
    shutil.rmtree(folder / "curated")
    write_random_store(folder / "curated", ["video/00001.jpg"])
    with pytest.raises(DataError, match="theirs/curated: has no features for"):
        heads.submit()
    assert heads.commands.calls == []


# what is refused


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["frames"]', '["frame"]', "network va: features: 'frame' is no network of this submission, no path from"),
        ('["frames"]', '["frame"]', "its networks that see frames: frames"),
        ('["frames"]', '["va"]', "network va: features: 'va' reads features itself; name a network that sees frames"),
        ('["frames"]', '["rest"]', "network va: features: 'rest' reads features itself"),
        ('features = ["frames"]\n', "", "network va: its recipe trains heads over time, which read features; name the"),
        ('recipe = "demo"', 'recipe = "demo"\nfeatures = ["frames"]', "network frames: has features, and its recipe"),
        (
            'tasks = ["va"]',
            'tasks = ["va"]\nmember = false',
            "network va: has member = false, and no other network reads",
        ),
        ('["frames"]', "[]", "network va: its recipe trains heads over time, which read features"),
        ('["frames"]', '["frames", "frames"]', "features: 'frames' is given twice"),
        ('["va"]', '["va"]\nset = ["weights=published"]', "heads over time start from random numbers"),
        ('["expression", "au"]', '["expression"]', "networks va, rest: are predicted together"),
    ],
)
def test_features_that_nothing_computes_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan(tmp_path, RECIPE.replace(old, new))
    assert message in str(error.value)


def test_two_sources_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.onnx").write_bytes(b"")
    text = RECIPE.replace('["frames"]', '["a/net.onnx", "b/net.onnx"]')
    with pytest.raises(ConfigError, match=r"would both be called net\.onnx; rename one of the two"):
        plan(tmp_path, text)


def test_a_folder_without_features_or_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: this folder holds no best\.safetensors"):
        plan(tmp_path, RECIPE.replace('["frames"]', '["empty"]'))


def test_a_file_that_computes_no_features_is_refused_before_training(heads: Bench) -> None:
    heads.write(RECIPE.replace('["frames"]', '["theirs"]'))
    (heads.folder / "theirs").write_text("<html>")
    with pytest.raises(DataError, match="theirs: "):
        heads.submit()
    assert heads.commands.calls == []


def test_an_onnx_file_without_a_description_is_refused_before_training(heads: Bench) -> None:
    pytest.importorskip("onnxruntime")
    heads.write(RECIPE.replace('["frames"]', '["backbone.onnx"]'))
    (heads.folder / "backbone.onnx").write_bytes(b"onnx")
    with pytest.raises(DataError, match=r"backbone\.toml: can't be read"):
        heads.submit()
    assert heads.commands.calls == []


def test_absent_test_frames_are_refused_before_training(heads: Bench, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    shutil.copytree(str(heads.inputs.frames), frames)
    gone = sorted(frames.glob("*/*.jpg"))[:5]
    for path in gone:
        path.unlink()
    for missing in ("refuse", "neighbour"):
        heads.inputs = replace(heads.inputs, frames=frames, missing=missing)
        with pytest.raises(DataError, match=r"of the list are absent: .*, \.\.\. and .* more; heads over time need"):
            heads.submit()
    assert heads.commands.calls == []


def test_names_without_frame_numbers_are_refused_before_training(heads: Bench, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    header, first, *rows = heads.inputs.listed.read_text().splitlines()
    name, _, rest = first.partition(",")
    listed.write_text("\n".join([header, f"{Path(name).parent}/face.jpg,{rest}", *rows, ""]))
    heads.inputs = replace(heads.inputs, listed=listed)
    with pytest.raises(AbawkitError, match=r"face\.jpg"):
        heads.submit()
    assert heads.commands.calls == []


def test_given_features_without_mirrored_frames_are_refused_where_a_head_takes_them(heads: Bench) -> None:
    folder = given_features(heads)
    text = (heads.folder / "recipe.toml").read_text()
    heads.write(text.replace('tasks = ["va"]', 'tasks = ["va"]\nset = ["augmentation.flip=0.5"]'))
    heads.submit()
    store = FeatureStore.open(folder / "curated")
    assert store.mirrored is not None
    names, values = list(store.names), np.array(store.values)
    shutil.rmtree(folder / "curated")
    from tests.sequence_features import write_store

    write_store(folder / "curated", names, values)
    with pytest.raises(DataError, match="holds no features of mirrored frames"):
        heads.submit()

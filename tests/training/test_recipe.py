"""Recipes: every wrong key and value is named, and what is resolved reads back."""

from pathlib import Path

import pytest

from abawkit.errors import ConfigError
from abawkit.models.config import NETWORKS
from abawkit.models.sequence_config import SEQUENCE
from abawkit.training.recipe import Recipe, list_recipes, parse_recipe, read_recipe


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_are_read_and_name_a_network(name: str) -> None:
    assert read_recipe(name).network in {*NETWORKS, SEQUENCE}


def test_the_shipped_recipes() -> None:
    over_time = ["sequence-bigru", "sequence-frame", "sequence-tcn"]
    assert list_recipes() == ["baseline", "demo", "paper", *over_time]
    assert [name for name in list_recipes() if read_recipe(name).is_sequence] == over_time


@pytest.mark.parametrize("name", list_recipes())
def test_a_resolved_recipe_reads_back_the_same(name: str, tmp_path: Path) -> None:
    recipe = read_recipe(name, ["tasks=['va','au']", "losses.au=0.25"])
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml())
    assert read_recipe(str(path)) == recipe


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("bacth_size=32", "bacth_size"),
        ("losses.aux=1", "losses.aux"),
        ("augmentation.flips=0.5", "augmentation.flips"),
        ("optimiser.name='adam'", "optimiser"),
        ("losses.au='0.5'", "losses.au"),
        ("losses.au=true", "losses.au"),
        ("augmentation.flip='0.5'", "augmentation.flip"),
        ("augmentation.flip=true", "augmentation.flip"),
        ("batch_size=32.0", "batch_size"),
        ("batch_size=true", "batch_size"),
        ("batch_size=1", "batch_size"),
        ("batch_size=65537", "batch_size: Input should be less than or equal to 65536, got 65537"),
        ("batch_size=1000000000", "batch_size"),
        ("patience=100001", "patience"),
        ("optimizer.weight_decay=1e9", "optimizer.weight_decay"),
        ("optimizer.sam_rho=1e9", "optimizer.sam_rho"),
        ("losses.attention=1e9", "losses.attention"),
        ("schedule.decay=1e-9", "schedule.decay"),
        ("checkpoints.keep=1000000000", "checkpoints.keep"),
        ("augmentation.scale=[1e-9, 1]", "augmentation: scale"),
        ("augmentation.erase_aspect=[1, 1e9]", "augmentation: erase_aspect"),
        ("weights=affectnet8.pth", "weights: Input should be 'published', 'optional' or 'none'"),
        ("seed=-1", "seed"),
        ("seed=18446744073709551616", "seed"),
        ("ema=1.0", "ema"),
        ("all.learning_rate=0", "all.learning_rate"),
        ("all.learning_rate=inf", "all.learning_rate"),
        ("all.epochs=-1", "all.epochs"),
        ("losses.au=nan", "losses.au"),
        ("losses.balance=1.5", "losses.balance"),
        ("schedule.decay=0", "schedule.decay"),
        ("augmentation.flip=nan", "augmentation.flip"),
        ("augmentation.flip=2.0", "augmentation: flip"),
        ("augmentation.scale=[1.2, 0.8]", "augmentation: scale"),
        ("select=offical", "select"),
        ("optimizer.name=sgd", "optimizer.name"),
        ("tasks=[]", "tasks"),
        ("tasks=['va','va']", "tasks"),
        ("tasks=['valence']", "tasks"),
        ("losses=3", "losses"),
        ("network=3", "network"),
        ("all.epochs=0", "heads.epochs and all.epochs"),
        ("all.epochs=100001", "all.epochs"),
        ("batch_size=9223372036854775808", "batch_size: got a whole number of more than 64 bits"),
        ("losses.au=0x" + "f" * 5000, "losses.au"),
        ("augmentation.scale=[1, 99999999999999999999]", "augmentation.scale.1"),
        ("device=1979-05-27", "device: got a date (1979-05-27)"),
        ("network=07:30:00", "network: got a time"),
        ("a" + ".a" * 3000 + "=1", "a.a.a.a.a: is nested too deeply"),
        ("device=[[[[[[]]]]]]", "device.0.0.0.0: is nested too deeply"),
        ("seed=1\nbatch_size=2", "seed"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(change: str, key: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_recipe("demo", [change])
    assert key in str(refusal.value)


def test_every_wrong_key_is_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)losses\.au.*nonsense|nonsense.*losses\.au"):
        read_recipe("demo", ["losses.au=-1", "nonsense=1"])


@pytest.mark.parametrize(
    "change", ["seed", "=1", " =1", ".=1", "losses.=1", "a..b=1", "batch_size.x=1", "device=\udcff", "\udcff=1"]
)
def test_a_change_that_is_no_key_and_value_is_refused(change: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        read_recipe("demo", [change])


def test_changes_reach_nested_keys_with_toml_types() -> None:
    changes = [
        "losses.au=0.5",
        "optimizer.name=sam",
        "heads.epochs=2",
        "tasks=['au']",
        "augmentation.scale=[0.5, 1]",
        "precision='float32'",
        "losses.va=2",
    ]
    recipe = read_recipe("demo", changes)
    assert (recipe.losses.au, recipe.losses.va, recipe.optimizer.name, recipe.heads.epochs) == (0.5, 2.0, "sam", 2)
    assert (recipe.tasks, recipe.augmentation.scale, recipe.precision) == (("au",), (0.5, 1.0), "float32")
    assert recipe.all.epochs == read_recipe("demo").all.epochs


def test_what_the_shipped_recipes_start_from() -> None:
    assert {name: read_recipe(name).weights for name in list_recipes()} == {
        "baseline": "optional", "demo": "optional", "paper": "published",
        "sequence-bigru": "optional", "sequence-frame": "optional", "sequence-tcn": "optional",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("weights", "given", "said"),
    [
        ("published", None, r"starts from published weights .* give the file with --weights"),
        ("none", Path("w.pth"), r"starts from no weights .* leave --weights out"),
        ("published", Path("w.pth"), ""),
        ("none", None, ""),
        ("optional", None, ""),
        ("optional", Path("w.pth"), ""),
    ],
)
def test_a_run_starts_from_what_its_recipe_says(weights: str, given: Path | None, said: str) -> None:
    recipe = read_recipe("demo", [f"weights={weights}"])
    if not said:
        recipe.check_start(given)
        return
    with pytest.raises(ConfigError, match=said):
        recipe.check_start(given)


def test_losses_that_all_weigh_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="weigh 0: nothing to train"):
        read_recipe("demo", ["losses.va=0", "tasks=['va']"])
    assert read_recipe("demo", ["losses.va=0", "tasks=['va', 'au']"]).losses.va == 0


@pytest.mark.parametrize("name", ["cosine", "exponential", "constant"])
@pytest.mark.parametrize(
    ("stages", "warmup", "stage"),
    [
        (["all.epochs=2"], 2.0, "all.epochs, which is 2"),
        (["all.epochs=2"], 5.0, "all.epochs, which is 2"),
        (["heads.epochs=1", "all.epochs=9"], 1.5, "heads.epochs, which is 1"),
    ],
)
def test_a_warm_up_as_long_as_a_stage_is_refused(name: str, stages: list[str], warmup: float, stage: str) -> None:
    with pytest.raises(ConfigError, match=rf"schedule\.warmup_epochs: got {warmup:g}, expected less than {stage}"):
        read_recipe("demo", [*stages, f"schedule.name={name}", f"schedule.warmup_epochs={warmup}"])


def test_a_stage_that_is_left_out_does_not_bound_the_warm_up() -> None:
    assert read_recipe("demo", ["heads.epochs=0", "schedule.warmup_epochs=3.5"]).schedule.warmup_epochs == 3.5


def test_the_last_change_of_a_key_counts() -> None:
    assert read_recipe("demo", ["seed=1", "seed=7"]).seed == 7


@pytest.mark.parametrize("content", [b"network = ", b"\xff\xfe", b"[all]\nepochs = 1\n[all]\n"])
def test_a_file_that_is_no_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        read_recipe(str(path))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_byte_order_mark_as_windows_editors_write_it_makes_no_difference(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "recipe.toml"
    text = read_recipe("demo").to_toml()
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", line_end).encode())
    assert read_recipe(str(path)) == read_recipe("demo")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(("\ufeff" * (encoding != "utf-16") + "seed = 1").encode(encoding))
    with pytest.raises(ConfigError, match="it is UTF-16 text; save it as UTF-8"):
        read_recipe(str(path))


def test_a_recipe_is_utf_8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes("# où\ndevice = 'é'".encode())
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "latin-1")
    monkeypatch.setattr("locale.getencoding", lambda: "latin-1")
    assert read_recipe(str(path)).device == "é"


@pytest.mark.parametrize("text", ["a" + ".a" * 3000 + " = 1", "a = " + "[" * 3000, "device = '\udcff'"])
def test_a_text_that_no_recipe_can_have_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^recipe\.toml: "):
        parse_recipe(text, "recipe.toml")


@pytest.mark.parametrize("source", ["no-such-recipe", "/no/such/recipe.toml", ".", "a\0b"])
def test_an_absent_recipe_is_refused_with_the_names_of_those_that_there_are(source: str) -> None:
    with pytest.raises(ConfigError, match="baseline, demo, paper"):
        read_recipe(source)


def test_a_shipped_name_is_that_recipe_whatever_lies_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_recipe("demo").network == "ddamfn-nano"


def test_a_recipe_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().seed = 3

"""Recipes: each is taken, and then reads back the same, or each wrong key of it is named."""

import datetime
import tomllib
from collections.abc import Callable
from importlib.resources import files
from typing import Any, NamedTuple

import pytest
import tomli_w
from hypothesis import strategies as st

from abawkit.errors import ConfigError
from abawkit.frames.augmentation_config import Augmentation
from abawkit.labels import TASKS
from abawkit.training.recipe import Recipe, list_recipes, parse_recipe

Tree = dict[str, Any]

FRACTIONS = st.floats(0, 1)
WEIGHTS = st.floats(0, 1e300) | st.integers(0, 9)
RANGES = st.sampled_from([[0.5, 1.0], [1, 1], [0.02, 0.33], [1e-9, 1.0]])
STAGES = {"epochs": st.integers(1, 9), "learning_rate": st.floats(1e-300, 1e300)}
CHOICES: dict[str, Any] = {
    "network": st.sampled_from(["ddamfn", "ddamfn-nano", "sequence"]) | st.text(max_size=4),
    "tasks": st.permutations(TASKS).map(list) | st.sampled_from([["va"], ["au", "va"]]),
    "seed": st.integers(0, 2**63 - 1),
    "weights": st.sampled_from(["published", "optional", "none"]),
    "batch_size": st.integers(2, 2**16),
    "select": st.sampled_from(["official", "strict"]),
    "patience": st.integers(0, 9),
    "ema": st.floats(0, 1, exclude_max=True),
    "precision": st.sampled_from(["auto", "float32", "bfloat16", "float64"]),
    "sync_batchnorm": st.booleans(),
    "capture": st.sampled_from(["auto", "off"]),
    "device": st.sampled_from(["auto", "cuda:1"]) | st.text(max_size=4),
    "heads": STAGES,
    "all": STAGES,
    "optimizer": {"name": st.sampled_from(["adam", "sam"]), "weight_decay": WEIGHTS, "clip": WEIGHTS},
    "schedule": {"name": st.sampled_from(["cosine", "constant"]), "decay": st.floats(1e-300, 1)},
    "losses": {"va": WEIGHTS, "au_weights": st.just("balanced"), "balance": FRACTIONS},
    "augmentation": {"flip": FRACTIONS, "angle": st.floats(0, 180), "scale": RANGES, "erase_area": RANGES},
    "sequence": {"kind": st.sampled_from(["frame", "bigru"]), "window": st.integers(1, 2), "dropout": st.just(0.5)},
    "checkpoints": {"every": st.integers(1, 2**63 - 1), "keep": st.integers(2, 9)},
}
KEYS = [*CHOICES, *(f"{s}.{key}" for s, inner in CHOICES.items() if isinstance(inner, dict) for key in inner)]
KEYS += [
    "losses.aux",
    "heads",
    "a",
    "a.b.c",
    "heads.epochs.x",
    "augmentation.scale.0",
    "",
    " ",
    ".",
    "a..b",
    "=",
    "a" * 300,
]
KEYS += ["\x1b[2J", "é", "optimizer.sam_rho ", "a.b.c.d.e.f"]
DEEP = ".".join("a" * 2000)

UNUSUAL = [2**63, -(2**63) - 1, 10**400, float("nan"), float("-inf"), {}, {"a": {"b": 1}}, [[]], [{}], "", "\x1b[2J"]
UNUSUAL += [datetime.date(2024, 7, 4), datetime.time(1), datetime.datetime(2024, 7, 4, tzinfo=datetime.UTC)]
TEXTS = [
    "",
    "inf",
    "-1",
    "'",
    '"',
    "'a'\nseed=3",
    "1 # one",
    "[",
    "[" * 3000,
    "{a=1}",
    "\udcff",
    "0x" + "f" * 5000,
    "1_0",
]
TEXTS += ["9" * 5000, "1e999", "2024-07-04", "true", "None", f"\n{DEEP} = 1\n"]

values = st.sampled_from(UNUSUAL) | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
known = st.sampled_from(KEYS)


class Case(NamedTuple):
    text: str
    changes: list[str]


@st.composite
def good(draw: st.DrawFn) -> Tree:
    """A recipe that can be run, of some of the choices."""
    chosen = draw(st.lists(st.sampled_from(list(CHOICES)), max_size=5, unique=True))
    return {
        name: draw(st.fixed_dictionaries({}, optional=c) if isinstance(c := CHOICES[name], dict) else c)
        for name in chosen
    }


def planted(tree: Tree, key: str, value: Any) -> Tree:
    """The tree with a value at a key, whatever stood there or above it."""
    name, dot, rest = key.partition(".")
    inner = tree.get(name)
    return {**tree, name: planted(inner if isinstance(inner, dict) else {}, rest, value) if dot else value}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Recipes of good and unusual values, now and then with a slip of the pen, and changes to them."""
    tree = draw(good())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        tree = planted(tree, draw(known | st.text(max_size=4)), draw(values))
    text = tomli_w.dumps(tree)
    if draw(st.integers(0, 4)) == 0:
        text = draw(
            st.sampled_from([(files("abawkit.training") / f"recipes/{n}.toml").read_text() for n in list_recipes()])
        )
    if draw(st.integers(0, 3)) == 0:
        i, j = sorted(draw(st.integers(0, len(text))) for _ in range(2))
        text = text[:i] + draw(st.sampled_from(TEXTS) | st.text(max_size=5) | st.just(text[i:j] * 2)) + text[j:]
    changes = st.tuples(
        st.sampled_from([*KEYS, DEEP]),
        st.sampled_from(["=", "=", "=", " = ", ""]),
        st.sampled_from(TEXTS) | values.map(str),
    )
    return Case(text, draw(st.just([]) | st.lists(changes.map("".join), max_size=2)))


def test_a_recipe_is_taken_and_reads_back_the_same_or_is_refused(fuzz: Callable[..., None]) -> None:
    def check(case: Case) -> str:
        try:
            recipe = parse_recipe(case.text, "recipe.toml", case.changes)
        except ConfigError as error:
            said = str(error)
        else:
            assert parse_recipe(recipe.to_toml(), "again") == recipe
            return "taken"
        assert said.startswith(("recipe.toml: ", "--set "))
        return "refused"

    fuzz(check, cases(), outcomes=("taken", "refused"), examples=400)


NEVER = ["9223372036854775808", "2024-07-04", "07:30:00", "{a = 1}", "[{}]", "[[[[[[1]]]]]]"]
"""Values that no choice takes; `tasks` and the sections have problems of their own with some of them."""
PLAIN = [key for key in KEYS[: KEYS.index("losses.aux")] if key != "tasks" and not isinstance(CHOICES.get(key), dict)]
UNKNOWN = {
    "nonsense": "nonsense",
    "losses.aux": "losses.aux",
    "heads.x.y": "heads.x",
    "augmentation.z": "augmentation.z",
}


def test_a_wrong_key_is_named_in_a_file_and_in_a_change(fuzz: Callable[..., None]) -> None:
    def check(given: tuple[Tree, tuple[str, str], str, bool]) -> str:
        tree, (key, named), value, as_change = given
        changes = [f"{key}={value}"] if as_change else []
        tree = tree if as_change else planted(tree, key, tomllib.loads(f"value = {value}")["value"])
        with pytest.raises(ConfigError) as caught:
            parse_recipe(tomli_w.dumps(tree), "recipe.toml", changes)
        assert named in str(caught.value)
        return "in a change" if as_change else "in a file"

    wrong = st.sampled_from([*UNKNOWN.items(), *((key, key) for key in PLAIN)])
    inputs = st.tuples(good(), wrong, st.sampled_from(NEVER), st.booleans())
    fuzz(check, inputs, outcomes=("in a change", "in a file"), examples=200)


def test_every_choice_is_tried() -> None:
    named = set(Augmentation.__dataclass_fields__)
    assert set(CHOICES) == set(Recipe.model_fields)
    assert set(CHOICES["augmentation"]) <= named

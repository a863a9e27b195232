"""A recipe: every choice of a training run, read from TOML, checked, and written back resolved."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from abawkit.errors import ConfigError, printable
from abawkit.frames.augmentation_config import Augmentation
from abawkit.labels import TASKS, Task
from abawkit.models.sequence_config import SEQUENCE
from abawkit.system.files import decode_text
from abawkit.training.sequence_section import SequenceSection

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
LossWeight = Annotated[float, Field(ge=0, le=1e6)]
StartingWeights = Literal["published", "optional", "none"]

MAX_BATCH: Final = 65_536
"""Rows of the largest batch; as float32 images they take 9.9 GB."""

_DEEPEST = 4
"""Levels of nested tables and arrays that are read; the recipe has two."""


class _Section(BaseModel):
    """Unknown keys, wrong types and values out of range are errors; nothing is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Stage(_Section):
    """One stage of training.

    Attributes:
        epochs: Passes over the training rows; 0 leaves the stage out.
        learning_rate: The highest of its schedule.
        augment: Whether frames are varied as in the section `augmentation`. A first stage without that, of two epochs
            or more, passes each frame through the frozen network once and trains the heads on stored embeddings.
    """

    epochs: Annotated[int, Field(ge=0, le=100_000)]
    learning_rate: Positive = 1e-3
    augment: bool = True


class Optimizer(_Section):
    """How gradients become steps.

    Attributes:
        name: ``adam``, ``adamw`` (decoupled weight decay) or ``sam`` (sharpness-aware minimisation around AdamW: two
            passes a step).
        weight_decay: Of matrices and kernels, 0 to 100; norms, biases, PReLU slopes are never decayed.
        sam_rho: Radius of SAM's neighbourhood, Foret et al., https://arxiv.org/abs/2010.01412.
        clip: Highest norm of the gradient; 0 for no limit.
    """

    name: Literal["adam", "adamw", "sam"] = "adamw"
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.01
    sam_rho: Annotated[float, Field(gt=0, le=100)] = 0.05
    clip: NonNegative = 0.0


class Schedule(_Section):
    """The learning rate within a stage.

    Attributes:
        name: ``cosine`` to zero, ``exponential`` (a factor an epoch) or ``constant``; all begin where the warm-up ends.
        warmup_epochs: Epochs of linear rise from zero at the start of each stage; less than each stage has.
        decay: The factor of ``exponential``, 0.001 to 1.
    """

    name: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup_epochs: NonNegative = 0.0
    decay: Annotated[float, Field(ge=0.001, le=1)] = 0.6


class Losses(_Section):
    """Weights of the losses, 0 to 1,000,000 each, and of classes within them.

    Attributes:
        va: Weight of 1 - (CCC_V + CCC_A) / 2.
        expression: Weight of the cross-entropy.
        au: Weight of the binary cross-entropy.
        attention: Weight of the attention loss, in the second stage.
        attention_kind: ``diversity``, as in the published code: 1 / (MSE of the heads' maps + eps), which drives the
            heads apart; or ``consistency``, as the paper describes it: the MSE itself, which draws them together.
        expression_weights: ``none``, or ``balanced``: inverse to the class's share, times `balance`.
        au_weights: ``none``, or ``balanced``: the positives weigh (negatives / positives) ** `balance`.
        balance: Exponent of both, 0 (no effect) to 1 (full).
        label_smoothing: Of the cross-entropy.
    """

    va: LossWeight = 1.0
    expression: LossWeight = 1.0
    au: LossWeight = 1.0
    attention: LossWeight = 0.1
    attention_kind: Literal["diversity", "consistency"] = "diversity"
    expression_weights: Literal["none", "balanced"] = "none"
    au_weights: Literal["none", "balanced"] = "none"
    balance: Fraction = 1.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Checkpoints(_Section):
    """How often a run is saved; this does not change its result.

    Attributes:
        every: Steps between two checkpoints; there is one after each epoch too.
        keep: Checkpoints that are kept, 2 to 1000; with two, a damaged one loses no more than `every` steps.
    """

    every: Annotated[int, Field(ge=1)] = 500
    keep: Annotated[int, Field(ge=2, le=1000)] = 2


class Recipe(_Section):
    """Every choice of a run.

    Attributes:
        network: Name of a network, see `abawkit.models.config.NETWORKS`; or ``sequence``, heads over time, whose input
            is the features of frames.
        weights: What training starts from: ``published``, a file of weights, which must be given; ``none``, random
            weights, and no file may be given; ``optional``, random weights unless a file is given.
        tasks: Tasks to train; the heads of others are not changed.
        seed: Seed of weights, order and augmentation.
        batch_size: Rows of a step, over all processes, 2 to 65,536; an epoch's last batches are evened out, so that
            none is tiny.
        heads: First stage: only the heads are trained.
        all: Second stage: every parameter, with the attention loss.
        select: The protocol whose score chooses the best epoch.
        patience: Epochs of the second stage without a better score after which the run ends; 0 for never.
        ema: Decay of the moving average of weights that is validated and kept; 0 for none.
        precision: Of training steps. ``float32`` is float32 on any device, never TF32; ``auto`` is bfloat16 autocast on
            GPUs that compute in it, else float32; ``bfloat16`` on a CPU rounds the factors of the mixed blocks' large
            products, and gains where there are instructions for it; ``float64`` is for comparisons. Validation and
            predictions are in float32. Manifests record it.
        sync_batchnorm: Whether batch norms take the statistics of all processes' rows. On CPUs native operators
            exchange them between their passes; on GPUs the attention is the reference then.
        device: ``auto`` takes a GPU where there is one.
        capture: ``auto`` records steps of the second stage as CUDA graphs, where one process trains on a GPU; ``off``
            does not. The result is the same.
        optimizer: How gradients become steps.
        schedule: The learning rate within a stage.
        losses: Weights of the losses.
        sequence: The sequence network.
        augmentation: How training frames are varied.
        checkpoints: How often a run is saved.
    """

    network: str = "ddamfn"
    weights: StartingWeights = "optional"
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)] = TASKS
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    batch_size: Annotated[int, Field(ge=2, le=MAX_BATCH)] = 64
    heads: Stage = Stage(epochs=0)
    all: Stage = Stage(epochs=10)
    select: Literal["official", "strict"] = "official"
    patience: Annotated[int, Field(ge=0, le=100_000)] = 0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    sync_batchnorm: bool = False
    device: str = "auto"
    capture: Literal["auto", "off"] = "auto"
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    losses: Losses = Losses()
    sequence: SequenceSection = SequenceSection()
    augmentation: Augmentation = Augmentation()
    checkpoints: Checkpoints = Checkpoints()

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        if self.heads.epochs + self.all.epochs == 0:
            raise ValueError("heads.epochs and all.epochs are both 0: nothing to train")
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("tasks: a task is named twice")
        if not any(getattr(self.losses, task) for task in self.tasks):
            raise ValueError("losses: those of all tasks that are trained weigh 0: nothing to train")
        warmup = self.schedule.warmup_epochs
        for name, stage in (("heads", self.heads), ("all", self.all)):
            if stage.epochs and warmup >= stage.epochs:
                raise ValueError(
                    f"schedule.warmup_epochs: got {warmup:g}, expected less than {name}.epochs, which is "
                    f"{stage.epochs}: that stage would end before it reaches its learning rate"
                )
        if self.is_sequence and self.batch_size < self.sequence.training_window:
            raise ValueError(
                f"sequence.window: got {self.sequence.window}, expected at most batch_size, which is {self.batch_size}"
            )
        return self

    @property
    def is_sequence(self) -> bool:
        """Whether it trains a sequence network, on features."""
        return self.network == SEQUENCE

    def find_augmentation(self, stage: Stage) -> Augmentation:
        """How frames are varied in a stage."""
        return self.augmentation if stage.augment else Augmentation()

    def check_start(self, weights: Path | None) -> None:
        """Checks that a file of weights is given if, and only if, the recipe takes one.

        Raises:
            ConfigError: If `weights` is None where the recipe needs a file, or given where it takes none.
        """
        if self.weights == "published" and weights is None:
            raise ConfigError(
                'this recipe starts from published weights (weights = "published"): give the file with --weights, a '
                ".pth as published, what `abawkit import-weights` made of it, or a run of your own; to start from "
                "random numbers all the same, --set weights=none"
            )
        if self.weights == "none" and weights is not None:
            raise ConfigError(
                'this recipe starts from no weights (weights = "none"); leave --weights out, or --set weights=optional'
            )

    def to_toml(self) -> str:
        """The recipe with every default, but no section of another network; `read_recipe` takes it back."""
        unused = not self.is_sequence and self.sequence == SequenceSection()
        return tomli_w.dumps(self.model_dump(mode="json", exclude={"sequence"} if unused else set()))


def list_recipes() -> list[str]:
    """Names of the recipes that come with abawkit."""
    return sorted(
        entry.name.removesuffix(".toml") for entry in _find_recipes().iterdir() if entry.name.endswith(".toml")
    )


def read_shipped(name: str) -> str:
    """The text of a recipe that comes with abawkit, by its name."""
    return decode_text((_find_recipes() / f"{name}.toml").read_bytes())


def read_recipe(source: str, changes: Sequence[str] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        source: The name of a recipe that comes with abawkit, or else the path of a TOML file.
        changes: ``KEY=VALUE`` each, as ``losses.au=0.5``; values as in TOML, quotes around text may be left out.

    Raises:
        ConfigError: If there is no such recipe, it is not TOML, or keys or values are invalid; all are named.
    """
    return parse_recipe(_read_text(source), source, changes)


def parse_recipe(text: str, source: str, changes: Sequence[str] = ()) -> Recipe:
    """Reads a recipe from TOML; `source` names it in messages, the rest is as in `read_recipe`."""
    if not _is_unicode(text):
        raise ConfigError(f"{source}: is not TOML: it is not UTF-8 text")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: is not TOML: {error}") from error
    for change in changes:
        _apply(content, change)
    problems = list(_find_unusable_values(content))
    try:
        if not problems:
            return Recipe.model_validate_json(json.dumps(content))  # strict, but a list is a tuple
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {_describe_error(e)}" for e in error.errors()]
    except ConfigError as error:  # a value that augmentation can't have
        problems = [str(error)]
    lines = [printable(f"{source}: {problem}") for problem in problems]
    raise ConfigError(
        "\n".join([*lines, "correct these keys; recipe.toml in any run folder lists all with their values"])
    )


def refuse_repeated_keys(changes: Sequence[str]) -> None:
    """Refuses changes of which one would undo another: of the same key, or of a section and a key in it.

    Raises:
        ConfigError: If a key is changed twice; both changes are named.
    """
    seen: dict[tuple[str, ...], str] = {}
    for change in changes:
        key = _split_key(change)
        for other, earlier in seen.items():
            if key[: len(other)] == other[: len(key)]:
                name = ".".join(key if len(key) < len(other) else other)
                raise ConfigError(printable(f"{earlier} and {change}: both set '{name}'; give one of them"))
        seen[key] = change


def drop_overridden(changes: Sequence[str]) -> list[str]:
    """The last change of each key."""
    last = {_split_key(change): change for change in changes}
    return [change for change in changes if last[_split_key(change)] is change]


def _split_key(change: str) -> tuple[str, ...]:
    return tuple(change.partition("=")[0].strip().split("."))


def _find_unusable_values(value: Any, *keys: str) -> Iterator[str]:
    """A message for each value that no key can have, as it can't be written as JSON."""
    where = ".".join(keys)
    if isinstance(value, dict | list) and len(keys) > _DEEPEST:
        yield f"{where}: is nested too deeply"
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _find_unusable_values(inner, *keys, key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _find_unusable_values(inner, *keys, str(i))
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield f"{where}: got a whole number of more than 64 bits"
    elif not isinstance(value, str | int | float):
        yield f"{where}: got a {type(value).__name__} ({value}), expected text, a number, true, false or an array"


def _describe_error(error: ErrorDetails) -> str:
    """The problem with one key; for an unknown key, the known ones."""
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if error["type"] != "extra_forbidden" and error["type"] != "unexpected_keyword_argument":
        return f"{error['msg']}, got {error['input']!r:.80}"
    section: Any = Recipe
    for name in error["loc"][:-1]:
        section = section.model_fields[name].annotation
    known = section.model_fields if issubclass(section, BaseModel) else section.__dataclass_fields__
    return f"unknown key; known here: {', '.join(known)}"


def _find_recipes() -> Any:
    return files("abawkit.training") / "recipes"


def _read_text(source: str) -> str:
    if source in list_recipes():  # also where a file or folder of this name lies about; ./demo is a path
        return read_shipped(source)
    try:
        return decode_text(Path(source).read_bytes())
    except (OSError, ValueError) as error:  # not UTF-8, or a path with a NUL byte
        names = ", ".join(list_recipes())
        raise ConfigError(f"{source}: can't read this recipe ({error}); give a TOML file, or one of {names}") from error


def flatten_recipe(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by their keys as in ``--set``: ``all.epochs``."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        flat |= flatten_recipe(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _is_unicode(text: str) -> bool:
    """Whether it was valid UTF-8: Python keeps other bytes as surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _apply(content: dict[str, Any], change: str) -> None:
    """Sets one key of nested tables."""
    key, equals, text = change.partition("=")
    *tables, last = key.strip().split(".")
    if not equals or not all([*tables, last]):
        raise ConfigError(f"--set {change}: expected KEY=VALUE, as in --set losses.au=0.5")
    if not _is_unicode(change):
        raise ConfigError(f"--set {printable(change)}: is not UTF-8 text")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    value = parsed["value"] if len(parsed) == 1 else text  # text without quotes
    for name in tables:
        content = content.setdefault(name, {})
        if not isinstance(content, dict):
            raise ConfigError(f"--set {change}: '{name}' is a value, not a section")
    content[last] = value

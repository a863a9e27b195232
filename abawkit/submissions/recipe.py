"""The recipe of a submission: the networks to train, and how decisions are made from their probabilities."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from abawkit.choices import Policy, Protocol
from abawkit.errors import ConfigError, printable
from abawkit.labels import Task
from abawkit.system.files import decode_text, sha256
from abawkit.system.shipped import SUBMISSIONS, find_shipped

RECIPE: Final = "recipe.toml"

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Epoch = Literal["best", "last"]

_OWN_KEYS: Final = {"seed": "seeds of the submission", "tasks": "tasks of the network"}
"""Keys that a network's `set` may not change, and the keys to use instead."""


class _Section(BaseModel):
    """Refuses unknown keys, wrong types and values out of range; converts nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Network(_Section):
    """One network, which is trained with every seed.

    Attributes:
        name: Its run folders are called NAME-seed1 and so on.
        recipe: Name of a training recipe that comes with abawkit, or a TOML file in the submission's folder.
        changes: ``KEY=VALUE`` each, as of ``abawkit train --set``; the file calls it ``set``.
        tasks: Tasks that it is trained for; None for those of its recipe.
        features: Networks of this submission whose features it reads, or other sources of features; only for heads over
            time.
        member: Whether it predicts; if not, it only computes features.
    """

    name: Name
    recipe: Annotated[str, Field(min_length=1)]
    changes: list[str] = Field(default=[], alias="set")
    tasks: Annotated[list[Task], Field(min_length=1)] | None = None
    features: list[str] = []
    member: bool = True

    @model_validator(mode="after")
    def _check(self) -> "Network":
        for change in self.changes:
            key = change.partition("=")[0].strip()
            if key in _OWN_KEYS:
                raise ValueError(f"set: '{change}': give the {_OWN_KEYS[key]} instead")
        _refuse_repeats("set", [change.partition("=")[0].strip() for change in self.changes])
        _refuse_repeats("tasks", self.tasks or [])
        _refuse_repeats("features", self.features)
        return self


class Decisions(_Section):
    """How decisions are made from the stored probabilities.

    Attributes:
        weights: ``mean`` of the members, or ``fitted`` on validation.
        smoothing: ``none``, or ``tuned`` on validation.
        pool: ``linear``, the mean of the members' probabilities, or ``tuned``: that of their logits, where it is better
            on validation.
        calibration: Tasks that are calibrated on validation.
        folds: Folds of videos that everything fitted is cross-fitted with.
        protocol: The protocol of all scores.
    """

    weights: Literal["mean", "fitted"] = "mean"
    smoothing: Literal["none", "tuned"] = "none"
    pool: Literal["linear", "tuned"] = "linear"
    calibration: list[Task] = []
    folds: Annotated[int, Field(ge=2, le=50)] = 10
    protocol: Protocol = "official"

    @property
    def searched(self) -> bool:
        """Whether the rule is fitted by `abawkit tune`, not only calibrated."""
        return self.weights == "fitted" or self.smoothing == "tuned" or self.pool == "tuned"


class SubmissionRecipe(_Section):
    """Every choice of a submission.

    Attributes:
        summary: What it is, in one line.
        format: Format of the official file.
        policy: The policy that the curated set must have been made with.
        weights: ``published``: training starts from a file of weights, which is given on the command line; ``none``.
        seeds: Each network is trained with each of them.
        epoch: Weights of each run that are used: ``last``, or ``best`` on validation.
        networks: The networks.
        decisions: How decisions are made from their probabilities.
    """

    summary: Annotated[str, Field(min_length=1, max_length=200)]
    format: str = "abaw7"
    policy: Policy = "per-task"
    weights: Literal["none", "published"] = "none"
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=100)]
    epoch: Epoch = "last"
    networks: Annotated[list[Network], Field(min_length=1, max_length=100)]
    decisions: Decisions = Decisions()

    @model_validator(mode="after")
    def _check(self) -> "SubmissionRecipe":
        if not self.summary.isprintable():
            raise ValueError("summary: expected one line of printable text")
        _refuse_repeats("seeds", self.seeds)
        _refuse_repeats("networks", [network.name for network in self.networks])
        _refuse_repeats("decisions.calibration", self.decisions.calibration)
        return self


def read_submission_recipe(folder: Path) -> tuple[SubmissionRecipe, str]:
    """Reads the recipe in a submission's folder.

    Returns:
        The recipe; SHA-256 of its file.

    Raises:
        ConfigError: If there is none, it is not TOML, or a key or value is not what it must be; each is named.
    """
    path = folder / RECIPE
    try:
        content = path.read_bytes()
        recipe = _parse_submission_recipe(decode_text(content), path)
    except (OSError, ValueError) as error:  # not UTF-8, or a path with a NUL byte
        raise ConfigError(
            f"{path}: can't read this recipe ({error}); give the folder of a submission, which `abawkit "
            "submissions new NAME` creates"
        ) from error
    return recipe, sha256(content)


def _parse_submission_recipe(text: str, path: Path) -> SubmissionRecipe:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    try:
        return SubmissionRecipe.model_validate(content)
    except ValidationError as error:
        problems = [_describe_problem(dict(found)) for found in error.errors()]
    lines = [printable(f"{path}: {problem}") for problem in problems]
    notes = find_shipped(SUBMISSIONS) / "README.md"
    raise ConfigError("\n".join([*lines, f"correct these keys; {notes} describes each"]))


def _describe_problem(error: dict[str, Any]) -> str:
    """The problem of one key; for an unknown key also the known ones."""
    place = list(error["loc"])
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if error["type"] == "value_error":
        return ": ".join(filter(None, [key, error["msg"].removeprefix("Value error, ")]))
    if error["type"] == "missing":
        return f"{key}: is absent"
    if error["type"] != "extra_forbidden":
        return f"{key}: {error['msg']}, got {error['input']!r:.80}"
    sections: dict[str, type[_Section]] = {"networks": Network, "decisions": Decisions}
    section = sections.get(str(place[0]), SubmissionRecipe) if len(place) > 1 else SubmissionRecipe
    known = [field.alias or name for name, field in section.model_fields.items()]
    return f"{key}: unknown key; known here: {', '.join(known)}"


def _refuse_repeats(key: str, values: list[Any]) -> None:
    repeated = next((value for i, value in enumerate(values) if value in values[:i]), None)
    if repeated is not None:
        raise ValueError(f"{key}: '{repeated}' is given twice")

"""What a run's checkpoint must hold: a digest says that a file is as it was written, not that a run wrote it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, ValidationError
from torch import Tensor

from abawkit.choices import FoldsOver, Protocol
from abawkit.errors import ConfigError, DataError, printable
from abawkit.labels import Task
from abawkit.models.devices import to_host
from abawkit.run_names import BEST, STATE
from abawkit.training.checkpoint import Checkpoint
from abawkit.training.recipe import parse_recipe


def _encodable(text: str) -> str:
    text.encode()  # a lone surrogate can't be written to a file
    return text


def _path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is no path")
    return text  # surrogates are what Python makes of a path's bytes that are not UTF-8


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_encodable)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PathText = Annotated[str, AfterValidator(_path)]

_SHOWN: Final = 10


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True)


class _Score(_Part):
    """As of `abawkit.scoring.score.Score`."""

    protocol: Protocol
    rows: Count
    ccc_valence: FiniteFloat
    ccc_arousal: FiniteFloat
    ccc_va: FiniteFloat
    expression_f1: FiniteFloat
    au_f1: FiniteFloat
    score: FiniteFloat
    expression_f1_per_class: list[FiniteFloat]
    au_f1_per_unit: list[FiniteFloat]
    tasks: tuple[Task, ...]


class _Resumed(_Part):
    checkpoint: Text = Field(alias="from")
    drift: list[Text]


class _Progress(_Part):
    """As of `abawkit.training.progress.Progress`."""

    place: Annotated[list[Count], Field(min_length=2, max_length=2)]
    steps: Count
    done: Count
    sums: dict[Text, FiniteFloat]
    counted: Count
    bad: Count
    epoch_seconds: Seconds
    seconds: Seconds
    spent: dict[Text, Seconds] = {}  # runs from before the time was divided do not have it
    lost_steps: Count = 0
    trained: list[Task]
    best_epoch: Count
    figure: Annotated[float, Field(lt=float("inf"))]
    scores: dict[Protocol, _Score]
    stale: Count
    history: list[Text]
    digests: dict[Text, Text]
    resumed: list[_Resumed]


class _Fold(_Part):
    number: Count
    of: Annotated[int, Field(ge=2, le=1000)]
    over: FoldsOver
    seed: Count
    best_epochs: list[Count] = []


class _Data(_Part):
    folder: PathText
    table_digest: Text
    frames: Annotated[list[PathText] | None, BeforeValidator(_as_list)]  # one folder is its path alone
    follow_links: bool = False  # runs from before links were followed do not say it
    features: list[PathText] = []  # of a sequence network
    fold: _Fold | None = None  # of a run in a folder of folds
    rows: Text


class _Start(_Part):
    path: PathText
    sha256: Text


class _Environment(_Part):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Text, Text | int | dict[Text, Text] | None]

    threads: Annotated[int, Field(ge=1, le=4096)]


class _Optimizer(_Part):
    model_config = ConfigDict(extra="ignore")  # its groups are those of the recipe

    state: dict[Count, dict[Text, Tensor]]


class _Generators(_Part):
    python: tuple[int, tuple[int, ...], float | None]
    numpy: Annotated[list[Any], Field(min_length=5, max_length=5)]
    torch: Tensor
    cuda: list[Tensor]


class _State(_Part):
    model_config = ConfigDict(extra="ignore")

    recipe: Text
    data: _Data
    weights: _Start | None
    asked_ops: Text | None
    launcher: Text
    environment: _Environment
    progress: _Progress
    optimizer: _Optimizer | None
    average_steps: Count
    generators: _Generators


def read_run_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the ``state.pt`` of a run's checkpoint holds, each part of it such as a run writes.

    Whether the weights beside it and the optimiser's numbers are those of the network is seen where they are taken up.

    Raises:
        DataError: If it can't be loaded, or holds anything else; each key is named.
    """
    state = checkpoint.state()
    try:
        _State.model_validate(state)
        problems = list(_contradictions(checkpoint, state))
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, e['loc'])):.200}: {e['msg']}"
            + ("" if e["type"] == "missing" else f", got a value of type {type(e['input']).__name__}")
            for e in error.errors(include_url=False, include_context=False)
        ]
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise DataError(
            "\n".join(
                [
                    f"{checkpoint.folder / STATE}: is not the state of a run:",
                    *(printable(problem) for problem in problems[:_SHOWN]),
                    *more,
                    "nothing of it was used; continue from another checkpoint",
                ]
            )
        )
    return state


def read_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What a checkpoint keeps of an optimiser: a copy of its ``state_dict``, with everything on the host."""
    kept = optimizer.state_dict()
    groups: list[dict[str, Any]] = kept["param_groups"]
    tensors = {(number, key): value for number, values in kept["state"].items() for key, value in values.items()}
    rates = {("lr", k): group["lr"] for k, group in enumerate(groups) if isinstance(group["lr"], Tensor)}
    on_host = to_host({**tensors, **rates}, copy=True)
    return {
        "state": {number: {key: on_host[number, key] for key in values} for number, values in kept["state"].items()},
        "param_groups": [{**group, "lr": float(on_host.get(("lr", k), group["lr"]))} for k, group in enumerate(groups)],
    }


def load_optimizer(optimizer: torch.optim.Optimizer, kept: Mapping[str, Any] | None, source: str) -> None:
    """Takes up the numbers that an optimiser keeps for each parameter; its settings stay those of the recipe.

    Args:
        optimizer: Adam or AdamW; changed in place.
        kept: What its ``state_dict`` gave.
        source: Where it comes from, for the message.

    Raises:
        DataError: If they are not those of this optimiser's parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if kept is None:
        raise DataError(f"{source}: optimizer: nothing is kept of it; continue from another checkpoint")
    state: dict[int, dict[str, Tensor]] = {}  # stays empty before the first step that counts
    for number, values in kept["state"].items():
        if number >= len(parameters) or not _moments(values, parameters[number]):
            raise DataError(
                f"{source}: optimizer: what it keeps for parameter {number} is not of this network; "
                "continue from another checkpoint"
            )
        state[number] = {key: _laid_out(value, parameters[number]) for key, value in values.items()}
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """A copy in memory of its own, that lies in it as the parameter does: a checkpoint may come from another device."""
    if value.shape != parameter.shape:
        return value.clone()
    return torch.empty_like(parameter, dtype=value.dtype, device="cpu").copy_(value)


def _contradictions(checkpoint: Checkpoint, state: Mapping[str, Any]) -> Iterator[str]:
    """What no run writes, though each key has a value of the right kind."""
    try:
        parse_recipe(state["recipe"], "recipe")
    except ConfigError as error:
        yield str(error).split("\n", 1)[0]
    progress = state["progress"]
    if tuple(progress["place"]) != checkpoint.position:
        yield f"progress.place: is {progress['place']}, in the checkpoint {checkpoint.position.name}"
    if progress["sums"] and not progress["counted"]:
        yield "progress.counted: is 0, and there are sums of losses"
    if (progress["best_epoch"] > 0) != (BEST in checkpoint.digests):
        yield f"progress.best_epoch: is {progress['best_epoch']}, and {BEST} says otherwise"
    if progress["best_epoch"] > 0 and not np.isfinite(progress["figure"]):
        yield f"progress.figure: is {progress['figure']}, of a best epoch"
    try:
        _try_generators(state["generators"])
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        yield f"generators: {error}"


def _try_generators(state: Mapping[str, Any]) -> None:
    """Gives each state to a generator of its own, which says whether it is one."""
    random.Random().setstate(state["python"])
    name, words, position, has_gauss, cached = state["numpy"]
    whole = isinstance(name, str) and _plain(words, [624], torch.int64) and type(position) is int
    if not whole or not 0 <= position <= 624:  # NumPy would read beyond its words
        raise ValueError("numpy: expected a name, 624 words and a position among them")
    np.random.RandomState().set_state((name, words.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.Generator().set_state(state["torch"])
    if torch.cuda.is_available():
        for part in state["cuda"]:
            torch.Generator("cuda").set_state(part)


def _moments(values: Mapping[str, Tensor], parameter: Tensor) -> bool:
    """Whether these are what Adam keeps for a parameter."""
    if values.keys() != {"step", "exp_avg", "exp_avg_sq"}:
        return False
    alike = all(_plain(values[key], parameter.shape, parameter.dtype) for key in ("exp_avg", "exp_avg_sq"))
    return alike and _plain(values["step"], [], torch.float32) and 0 <= values["step"].item() < 2**63


def _plain(value: Any, shape: Sequence[int], dtype: torch.dtype) -> bool:
    """Whether a value is a tensor of this shape and type, and lies in memory as it is."""
    whole = type(value) is Tensor and value.layout == torch.strided and value.is_cpu and not value.requires_grad
    return whole and value.dtype == dtype and value.shape == tuple(shape)

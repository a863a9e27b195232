"""The file of a rule, read strictly: of abawkit or written by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from abawkit.choices import Pooling
from abawkit.errors import ConfigError
from abawkit.labels import ACTION_UNITS, EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.calibration import LOWEST, Calibration
from abawkit.postprocessing.rule import MAX_WEIGHT, VERSION, Rule
from abawkit.postprocessing.smoothing import RADIUS_MAX, SCALE_MAX, Smoothing, SmoothingKind
from abawkit.system.json_records import describe_unknown_key, read_json, read_object

MAX_VA_SCALE: Final = 100.0
"""Largest scale of valence and arousal, and largest shift."""

MAX_BIAS: Final = 50.0
"""Largest bias of an expression, in nats: beyond it a class would never, or always, be chosen."""

MAX_RULE_BYTES: Final = 1 << 24
"""Of a rule with its evidence."""

_EXPECTED_RULE: Final = "a rule, as `abawkit tune` writes it"


def _require_key(names: Sequence[str]) -> BeforeValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(describe_unknown_key(names))
        return name

    return BeforeValidator(check)


def _require_weight(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise ValueError("got no weight above 0, expected at least one")
    return weights


TaskWeights = Annotated[dict[str, Annotated[float, Field(ge=0, le=MAX_WEIGHT)]], AfterValidator(_require_weight)]
Scale = Annotated[float, Field(ge=0, le=MAX_VA_SCALE)]
Shift = Annotated[float, Field(ge=-MAX_VA_SCALE, le=MAX_VA_SCALE)]
Bias = Annotated[float, Field(ge=-MAX_BIAS, le=MAX_BIAS)]
Threshold = Annotated[float, Field(ge=LOWEST, le=1 - LOWEST)]


TaskName = Annotated[Task, _require_key(TASKS)]
ExpressionName = Annotated[str, _require_key(EXPRESSIONS)]
UnitName = Annotated[str, _require_key(ACTION_UNITS)]


class _RulePart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Pool(_RulePart):
    va: Annotated[Literal["linear"], Field(description="linear, as values are averaged")] = "linear"
    expression: Pooling = "linear"
    au: Pooling = "linear"


class _Smoothing(_RulePart):
    kind: SmoothingKind
    radius: Annotated[float, Field(ge=0, le=RADIUS_MAX, multiple_of=1)] = 0
    scale: Annotated[float, Field(ge=0, le=SCALE_MAX)] = 0

    @model_validator(mode="after")
    def _check(self) -> "_Smoothing":
        if self.kind != "none" and "radius" not in self.model_fields_set:
            raise ValueError(f"got no radius, expected a whole number, 0..{RADIUS_MAX}")
        try:
            self.make()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def make(self) -> Smoothing:
        return Smoothing(self.kind, int(self.radius), self.scale)


class _Scaling(_RulePart):
    scale: Scale = 1.0
    shift: Shift = 0.0


class _Calibration(_RulePart):
    valence: _Scaling = _Scaling()
    arousal: _Scaling = _Scaling()
    bias: dict[ExpressionName, Bias] = {}
    thresholds: dict[UnitName, Threshold] = {}

    def make(self) -> Calibration:
        return Calibration(
            scale=np.array([self.valence.scale, self.arousal.scale]),
            shift=np.array([self.valence.shift, self.arousal.shift]),
            bias=np.array([self.bias.get(name, 0.0) for name in EXPRESSIONS]),
            threshold=np.array([self.thresholds.get(name, 0.5) for name in ACTION_UNITS]),
        )


class _RuleFile(_RulePart):
    rule: Annotated[float, Field(ge=1, le=VERSION, multiple_of=1, description=f"1 or {VERSION}: is it a rule?")]
    abawkit: Any = None
    evidence: Any = None
    weights: dict[TaskName, TaskWeights] = {}
    pool: _Pool = _Pool()
    smoothing: dict[TaskName, _Smoothing] = {}
    calibration: _Calibration = _Calibration()

    @model_validator(mode="after")
    def _refuse_later_keys(self) -> "_RuleFile":
        if self.rule == 1 and "pool" in self.model_fields_set:
            raise ValueError(f"pool: {describe_unknown_key(type(self).model_fields.keys() - {'pool'})}")
        return self


def read_rule(path: Path) -> Rule:
    """Reads a rule, of abawkit or written by hand; keys that it does not have change nothing.

    Raises:
        DataError: If the file is not a rule; the message names the key.
    """
    given = read_json(path, _RuleFile, _EXPECTED_RULE, limit=MAX_RULE_BYTES)
    return Rule(
        weights={task: given.weights[task] for task in TASKS if task in given.weights},
        smoothing={task: given.smoothing[task].make() for task in TASKS if task in given.smoothing},
        calibration=given.calibration.make(),
        pool={task: getattr(given.pool, task) for task in TASKS if task in given.pool.model_fields_set},
    )


def read_evidence(path: Path) -> dict[str, Any]:
    """What a rule was fitted on, as its file records it; empty where it records nothing.

    Raises:
        DataError: If the file is not a JSON object.
    """
    evidence = read_object(path, _EXPECTED_RULE, limit=MAX_RULE_BYTES).get("evidence")
    return evidence if isinstance(evidence, dict) else {}

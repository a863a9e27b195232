"""Training from end to end: two stages, validation after each epoch, the best epoch kept."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from abawkit.choices import Protocol
from abawkit.curation.table import CuratedSet, open_curated
from abawkit.errors import ConfigError, DataError, printable
from abawkit.files import sha256_of, write_bytes
from abawkit.frames.augment import augment
from abawkit.models.config import NETWORKS, NetworkConfig
from abawkit.models.inference import pick_device, place
from abawkit.models.network import DDAMFN
from abawkit.models.operators import attention_call, operators
from abawkit.models.published import import_published
from abawkit.models.weights import apply_weights, load_weights, save_weights, state_digest
from abawkit.scoring.score import Score
from abawkit.training.balance import au_weights, expression_weights
from abawkit.training.data import FramedRows, epoch_batches, evaluation_rows, prefetched, training_rows
from abawkit.training.evaluation import brief, check_protocol, evaluate, figure
from abawkit.training.optimizers import MovingAverage, learning_rate_factor, make_optimizer
from abawkit.training.recipe import Recipe, Stage
from abawkit.training.record import BEST, LAST, MANIFEST, METRICS, RECIPE, append_metrics, environment, write_manifest
from abawkit.training.step import Objective, training_step

BAD_STEPS = 5
"""Steps in a row without a finite loss after which a run ends: one can be a bad batch, five are a bad run."""


@dataclass(frozen=True)
class Moment:
    """Where a run is, after a step.

    Attributes:
        stage: ``heads`` or ``all``.
        epoch: Epoch of the run, from 0.
        epochs: Epochs of the run.
        done: Images seen by the run.
        total: Images that it will see.
        images_per_second: Over the present epoch.
        losses: Of the last step.
    """

    stage: str
    epoch: int
    epochs: int
    done: int
    total: int
    images_per_second: float
    losses: Mapping[str, float]


@dataclass
class Trained:
    """What a run ended with.

    Attributes:
        out: Its folder.
        best_epoch: Epoch of ``best.safetensors``, from 0.
        figure: Its figure: the sum of the trained tasks' parts of the score under the recipe's protocol.
        scores: Its scores by protocol.
        seconds: How long the run took.
    """

    out: Path
    best_epoch: int = -1
    figure: float = -math.inf
    scores: dict[Protocol, Score] = field(default_factory=dict)
    seconds: float = 0.0


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    weights: Path | None = None,
    on_step: Callable[[Moment], None] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> Trained:
    """Trains a network and leaves a run folder.

    The folder holds ``recipe.toml`` (resolved), ``manifest.json``, ``metrics.jsonl`` (a line an epoch),
    ``best.safetensors`` and ``last.safetensors``. The same recipe, data, versions and thread count give the same
    weights on the same machine.

    Args:
        recipe: Every choice.
        data: Folder of the curated set.
        out: A folder that exists and is empty.
        weights: Weights to start from: a file that abawkit wrote, or a published ``.pth``.
        on_step: Called after each step.
        on_epoch: Called with each line of ``metrics.jsonl``.

    Raises:
        ConfigError: If the network or the device is not to be had here.
        DataError: If the curated set or the weights are not what they must be, or losses stop being finite.
        OpUnavailableError: If the implementation of an operator that was asked for by name can't run here.
    """
    started = time.monotonic()
    used = operators_of(recipe)
    curated = open_curated(data)
    rows, validation = training_rows(curated, recipe.tasks), evaluation_rows(curated, "validation")
    check_protocol(validation, recipe.select)
    device = pick_device(recipe.device)
    network = _network(recipe, weights, device)
    start = {"path": str(weights), "sha256": sha256_of(weights)} if weights else None
    run = _Run(recipe, network, rows, validation, device, Trained(out), on_step, on_epoch)
    run.stage("heads", recipe.heads)
    run.stage("all", recipe.all)
    run.trained.seconds = time.monotonic() - started
    _finish(run, curated, start, environment(device, used))
    return run.trained


def operators_of(recipe: Recipe) -> dict[str, str]:
    """The implementations that a run will use, by operator; takes no time, so that it can come before all else.

    Raises:
        ConfigError: If the network or the device is not to be had here.
        OpUnavailableError: If the implementation of an operator that was asked for by name can't run here.
    """
    device, config = pick_device(recipe.device), _config(recipe)
    dtype = torch.bfloat16 if _bfloat16(recipe, device) else torch.float32
    calls = [attention_call(config, device, torch.float32, training=False)]  # validation
    if recipe.heads.epochs:
        calls.append(attention_call(config, device, dtype, training=False))  # its backbone is frozen
    if recipe.all.epochs:
        calls.append(attention_call(config, device, dtype, training=True))
    return operators(calls)


class _Run:
    """The state that both stages share."""

    def __init__(
        self,
        recipe: Recipe,
        network: DDAMFN,
        rows: FramedRows,
        validation: FramedRows,
        device: torch.device,
        trained: Trained,
        on_step: Callable[[Moment], None] | None,
        on_epoch: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.recipe, self.network, self.rows, self.validation = recipe, network, rows, validation
        self.device, self.trained, self.on_step, self.on_epoch = device, trained, on_step, on_epoch
        self.average = MovingAverage(network, recipe.ema) if recipe.ema else None
        self.shadow = copy.deepcopy(network) if recipe.ema else network  # what is validated and saved
        self.epoch = 0
        self.done = 0
        self.bad = 0  # steps in a row without a finite loss, over epochs too: an epoch can be shorter than BAD_STEPS
        self.digests: dict[str, str] = {}
        self.bfloat16 = _bfloat16(recipe, device)

    def stage(self, name: str, stage: Stage) -> None:
        """Trains one stage; the optimiser and the schedule start anew in each."""
        if not stage.epochs:
            return
        heads_only = name == "heads"
        for parameter in self.network.backbone_parameters():
            parameter.requires_grad_(not heads_only)
        parameters = self.network.head_parameters() if heads_only else self.network.parameters()
        optimizer = make_optimizer(parameters, self.recipe.optimizer, stage.learning_rate)
        objective = self.objective(attention=not heads_only and self.recipe.losses.attention > 0)
        for epoch in range(stage.epochs):
            self.network.train()
            if heads_only:  # a frozen backbone keeps its batch statistics too
                self.network.eval()
                self.network.heads.train()
            began = time.monotonic()
            losses = self.pass_over_rows(name, stage, epoch, optimizer, objective)
            self.validate(name, losses, optimizer.param_groups[0]["lr"], time.monotonic() - began)
            self.epoch += 1

    def objective(self, *, attention: bool) -> Objective:
        losses, annotations = self.recipe.losses, self.rows.annotations

        def tensor(values: Any) -> torch.Tensor:
            return torch.from_numpy(values).to(device=self.device, dtype=torch.float32)

        balanced = losses.expression_weights == "balanced", losses.au_weights == "balanced"
        return Objective(
            losses,
            self.recipe.tasks,
            attention,
            tensor(expression_weights(annotations, losses.balance)) if balanced[0] else None,
            tensor(au_weights(annotations, losses.balance)) if balanced[1] else None,
        )

    def pass_over_rows(
        self, name: str, stage: Stage, epoch: int, optimizer: torch.optim.Optimizer, objective: Objective
    ) -> dict[str, float]:
        """One pass over the training rows; returns the mean of each loss over all rows."""
        recipe = self.recipe
        epochs = recipe.heads.epochs + recipe.all.epochs
        batches = epoch_batches(len(self.rows), recipe.batch_size, seed=recipe.seed, epoch=self.epoch)
        sums: dict[str, float] = {}
        counted = seen = 0
        began = time.monotonic()
        for i, (batch, pixels) in enumerate(prefetched(self.rows, batches)):
            factor = learning_rate_factor(recipe.schedule, epoch + (i + 0.5) / len(batches), stage.epochs)
            for group in optimizer.param_groups:
                group["lr"] = stage.learning_rate * factor
            frames = torch.from_numpy(pixels).to(self.device, non_blocking=True)
            numbers = self.rows.rows[batch]
            images = augment(frames, numbers, seed=recipe.seed, epoch=self.epoch, config=recipe.augmentation)
            targets = self.rows.targets(batch, self.device)
            losses = training_step(self.network, objective, optimizer, images, targets, recipe, bfloat16=self.bfloat16)
            self.done, seen = self.done + len(batch), seen + len(batch)
            if math.isnan(losses["total"]):
                self.bad += 1
                self.refuse_bad(batch)
                continue
            self.bad, counted = 0, counted + len(batch)
            for key, value in losses.items():
                sums[key] = sums.get(key, 0.0) + value * len(batch)
            if self.average:
                self.average.update(self.network)
            rate = seen / max(time.monotonic() - began, 1e-9)
            if self.on_step:
                self.on_step(Moment(name, self.epoch, epochs, self.done, epochs * len(self.rows), rate, losses))
        return {key: value / counted for key, value in sums.items()}

    def refuse_bad(self, batch: Any) -> None:
        """Ends a run whose losses are not finite, naming the frames that it saw last."""
        if self.bad < min(BAD_STEPS, -(-len(self.rows) // self.recipe.batch_size)):
            return
        names = ", ".join(printable(name) for name in self.rows.annotations.images.take(batch[:10]).to_pylist())
        raise DataError(
            f"the loss or its gradient was not finite in {self.bad} steps in a row, the last with {names}, ...\n"
            "lower the learning rate, or set optimizer.clip; an epoch that was finished before is kept"
        )

    def begin(self) -> None:
        """Clears the folder of an earlier run, which --force allowed, once this one has something to put there."""
        for name in (MANIFEST, METRICS, BEST, LAST):
            (self.trained.out / name).unlink(missing_ok=True)
        write_bytes(self.trained.out / RECIPE, self.recipe.to_toml().encode())

    def validate(self, name: str, losses: dict[str, float], learning_rate: float, seconds: float) -> None:
        """Scores what this epoch has led to, writes it down, and keeps the weights."""
        if self.average:
            self.shadow.load_state_dict(self.average.state)
        scores = evaluate(self.shadow, self.validation, self.device)
        trained, tasks = self.trained, self.recipe.tasks
        line: dict[str, Any] = {
            "epoch": self.epoch,
            "stage": name,
            "losses": losses,
            "learning_rate": learning_rate,
            "seconds": round(seconds, 3),
            "images_per_second": round(len(self.rows) / max(seconds, 1e-9), 1),
            "figure": figure(scores[self.recipe.select], tasks),
            **{str(protocol): brief(result) for protocol, result in scores.items()},
        }
        if not self.digests:
            self.begin()
        append_metrics(trained.out, line)
        state = self.shadow.state_dict()
        notes = {
            "tasks": ",".join(tasks),
            "epoch": str(self.epoch),
            "figure": f"{line['figure']:.6f}",
            "protocol": self.recipe.select,
        }
        names = [LAST]
        if line["figure"] > trained.figure:
            names.append(BEST)
            trained.best_epoch, trained.figure, trained.scores = self.epoch, line["figure"], scores
        for file in names:
            save_weights(trained.out / file, self.network.config, state, notes)
            self.digests[file] = state_digest(state)
        if self.on_epoch:
            self.on_epoch(line)


def _config(recipe: Recipe) -> NetworkConfig:
    if recipe.network not in NETWORKS:
        raise ConfigError(f"network: got '{recipe.network}', expected one of {', '.join(NETWORKS)}")
    return NETWORKS[recipe.network]


def _bfloat16(recipe: Recipe, device: torch.device) -> bool:
    supported = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return recipe.precision == "bfloat16" or (recipe.precision == "auto" and supported)


def _network(recipe: Recipe, weights: Path | None, device: torch.device) -> DDAMFN:
    config = _config(recipe)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        network = DDAMFN(config)
    if weights:
        published = weights.suffix in (".pth", ".pt")
        state = import_published(weights).state if published else load_weights(weights, heads_optional=True).state
        apply_weights(network, state, str(weights), heads_optional=True)
    place(network, device)
    return network


def _finish(run: _Run, curated: CuratedSet, start: dict[str, str] | None, made_by: dict[str, Any]) -> None:
    trained = run.trained
    if trained.best_epoch < 0:
        raise DataError("no epoch ended with a finite score; nothing was kept as the best")
    content: dict[str, Any] = {
        "rows": {"train": len(run.rows), "validation": len(run.validation)},
        "weights": start,
        "bfloat16": run.bfloat16,
        "best": {
            "epoch": trained.best_epoch,
            "figure": trained.figure,
            "selected_by": run.recipe.select,
            **{str(protocol): result.as_dict() for protocol, result in trained.scores.items()},
        },
        "checkpoints": run.digests,
        "seconds": round(trained.seconds, 1),
    }
    write_manifest(trained.out, curated, made_by, content)

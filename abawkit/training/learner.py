"""The learner: network, moving average and optimiser, with their steps and their part of a checkpoint."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from abawkit.choices import InferencePrecision
from abawkit.errors import ConfigError
from abawkit.features.store import FeatureStore
from abawkit.frames.augmentation import apply_variation
from abawkit.labels import Task
from abawkit.models.devices import Download, pin_memory, to_host, upload
from abawkit.models.network import DDAMFN
from abawkit.models.sequence import AnyNetwork, Windows
from abawkit.models.weights import apply_weights, check_state, load_any_weights
from abawkit.run_names import AVERAGE, NETWORK, STATE
from abawkit.tables import Array
from abawkit.training.batches import (
    AugmentedFrames,
    HostBatch,
    augment_frames,
    collect_batch,
    pack_targets,
    unpack_batch,
    unpack_targets,
)
from abawkit.training.checkpoint import Checkpoint
from abawkit.training.checkpoint_state import load_optimizer, read_optimizer_state
from abawkit.training.data import FramedRows, ResidentFrames, TrainingRows, make_resident, order_epoch
from abawkit.training.distributed import Distributed
from abawkit.training.embeddings import EmbeddedRows, HeadsAlone, embed_rows, find_embedded_rows, stores_embeddings
from abawkit.training.graphs import GraphedStep
from abawkit.training.losses import Targets, weigh_action_units, weigh_expressions
from abawkit.training.optimizers import MovingAverage, compute_learning_rate_factor, make_optimizer, set_learning_rate
from abawkit.training.recipe import Recipe, Schedule, Stage
from abawkit.training.step import Objective, StepLosses, TrainingStep
from abawkit.training.synchronised_norms import synchronise_batch_norms

R = TypeVar("R", bound=TrainingRows)


class Scheduled(NamedTuple):
    """An epoch of a run's plan.

    Attributes:
        name: ``heads`` or ``all``.
        stage: The stage that it belongs to.
        within: Epoch of the stage, from 0.
    """

    name: str
    stage: Stage
    within: int

    def learning_rate(self, schedule: Schedule, batch: int, batches: int) -> float:
        """The learning rate of a step: that of the middle of its batch."""
        moment = self.within + (batch + 0.5) / batches
        return self.stage.learning_rate * compute_learning_rate_factor(schedule, moment, self.stage.epochs)


class StageState(NamedTuple):
    """The optimiser and the step of a stage."""

    optimizer: torch.optim.Optimizer
    step: TrainingStep
    graphed: GraphedStep | None


class BaseLearner(ABC, Generic[R]):
    """A network and its training state.

    Attributes:
        network: Trained in place.
        average: Moving average of its weights, or None.
        validated: The network to validate and save: one with the averaged weights, or the network itself.
        unread: Steps that may start before the losses of an earlier one are read: one on a GPU, which would otherwise
            wait for the host after each step.
        resident: The training frames on the GPU, from the first epoch on that reads them, where they fit.
        augmentation: How frames are varied in the present stage.
        embeds: Whether the heads of the first stage are trained on stored embeddings.
        store: Features that these embeddings are; None where they are computed.
    """

    captures: ClassVar[bool] = True
    """Whether steps of a size can be recorded as a CUDA graph."""

    def __init__(
        self,
        recipe: Recipe,
        network: AnyNetwork,
        rows: R,
        device: torch.device,
        *,
        bfloat16: bool,
        processes: Distributed,
    ) -> None:
        self.recipe, self.network, self.rows, self.device = recipe, network, rows, device
        self.bfloat16, self.processes = bfloat16, processes
        self.unread = 0 if device.type == "cpu" else 1
        self.average = MovingAverage(network, recipe.ema) if recipe.ema else None
        self.validated = copy.deepcopy(network) if recipe.ema else network
        self.stage: StageState | None = None
        self.resident: ResidentFrames | None = None
        self.augmentation, self.embeds = recipe.augmentation, stores_embeddings(recipe)
        self.store: FeatureStore | None = None
        self.restored: dict[str, Any] | None = None  # the optimiser's state, until there is an optimiser
        self.source = ""  # where that comes from

    def begin_epoch(self, scheduled: Scheduled, *, fresh: bool, between: Callable[[], None] | None = None) -> None:
        """Prepares for an epoch; each stage has a new optimiser and schedule.

        Args:
            scheduled: The epoch.
            fresh: Whether its stage begins here.
            between: Called between two parts of what takes long; may raise an error to stop.

        Raises:
            DataError: If the optimiser state of a checkpoint is not of this network.
        """
        if self.stage is None or fresh:
            self.augmentation = self.recipe.find_augmentation(scheduled.stage)
            with explain_out_of_memory("the training frames"):
                self.prepare(scheduled, between)
            with explain_out_of_memory("an optimiser"):
                self.stage = self._begin_stage(scheduled, fresh)
        # a frozen backbone keeps its batch statistics too
        self.network.train(scheduled.name == "all")
        self.network.heads.train()

    def _begin_stage(self, scheduled: Scheduled, fresh: bool) -> StageState:
        recipe, heads_only = self.recipe, scheduled.name == "heads"
        for parameter in self.network.backbone_parameters():
            parameter.requires_grad_(not heads_only)
        for task, head in self.network.heads.items():  # a head that isn't trained has no gradient to wait for
            head.requires_grad_(task in recipe.tasks)
        chosen = self.network.head_parameters() if heads_only else self.network.parameters()
        parameters = [p for p in chosen if p.requires_grad]
        optimizer = make_optimizer(parameters, recipe.optimizer, scheduled.stage.learning_rate)
        if not fresh:
            load_optimizer(optimizer, self.restored, self.source)
        self.restored = None
        objective = self._make_objective(
            attention=not (heads_only or recipe.is_sequence) and recipe.losses.attention > 0
        )
        network = self._make_trained_module()
        network = self._wrap_distributed(network) if self.processes.world_size > 1 else network
        step = TrainingStep(network, objective, optimizer, recipe, bfloat16=self.bfloat16, average=self.average)
        graphed = None
        alone = self.device.type == "cuda" and self.processes.world_size == 1
        if alone and self.captures and not heads_only and recipe.capture == "auto":
            graphed = GraphedStep(lambda *given: step.compute(*self._make_inputs(*given)), optimizer, self.device)
        return StageState(optimizer, step, graphed)

    def _make_trained_module(self) -> nn.Module:
        """What a step of this stage calls."""
        return self.network

    def _wrap_distributed(self, network: nn.Module) -> nn.Module:
        gpu = [self.device] if self.device.type == "cuda" else None
        # Looking for unused parameters, of which there are none, keeps the first step's buckets. Without it they are
        # laid out anew after that step, in a resumed run at another moment, and three processes or more would then
        # add the same gradients in another order.
        wrapped = DistributedDataParallel(network, device_ids=gpu, find_unused_parameters=True)
        own = self.processes.own_time  # what is between the two is waiting: the first process's buffers are copied
        wrapped.register_forward_pre_hook(lambda *_: own.begin_wait())
        network.register_forward_pre_hook(lambda *_: own.end_wait())
        return wrapped

    def _make_objective(self, *, attention: bool) -> Objective:
        losses, annotations = self.recipe.losses, self.rows.annotations

        def tensor(values: Array) -> torch.Tensor:
            return torch.from_numpy(values).to(device=self.device, dtype=torch.float32)

        balanced = losses.expression_weights == "balanced", losses.au_weights == "balanced"
        return Objective(
            losses,
            self.recipe.tasks,
            attention,
            tensor(weigh_expressions(annotations, losses.balance)) if balanced[0] else None,
            tensor(weigh_action_units(annotations, losses.balance)) if balanced[1] else None,
            self.processes,
        )

    def prepare(self, scheduled: Scheduled, between: Callable[[], None] | None) -> None:
        """Prepares for the first epoch, and for the first one of each stage; `between` as of `begin_epoch`."""

    @abstractmethod
    def plan_epoch(self, epoch: int) -> Sequence[Array]:
        """The batches of an epoch, from 0, each for all processes."""

    @abstractmethod
    def collect(self, epoch: int, batch: Array, part: Array) -> HostBatch:
        """Reads and packs a batch of `plan_epoch`, of which this process takes `part`."""

    @abstractmethod
    def _make_inputs(
        self, frames: torch.Tensor, numbers: torch.Tensor, rows: int, own: int
    ) -> tuple[torch.Tensor | Windows, Targets]:
        """The network's input and targets, from a batch on the device."""

    def step(self, learning_rate: float, batch: HostBatch) -> StepLosses:
        """Takes one step on a batch of `collect`; see `TrainingStep`.

        Raises:
            ConfigError: If there is not enough memory.
            RuntimeError: Before `begin_epoch`.
        """
        if self.stage is None:
            raise RuntimeError("begin_epoch comes first")
        optimizer, step, graphed = self.stage
        set_learning_rate(optimizer, learning_rate)
        with explain_out_of_memory(f"a step of {len(batch.rows)} frames"), self._synchronise_statistics():
            if graphed:
                names, values = graphed(batch)
                return StepLosses(names, Download(values))
            frames, numbers = upload(batch.frames, self.device), upload(batch.numbers, self.device)
            inputs = self._make_inputs(frames, numbers, len(batch.rows), len(batch.part))
            return step(*inputs, sizes=batch.sizes)

    def augment_some(self, batch: HostBatch) -> AugmentedFrames | None:  # noqa: ARG002 - for learners of frames
        """The first frames of a batch as the network sees them; None where it does not see frames."""
        return None

    def _synchronise_statistics(self) -> AbstractContextManager[Any]:
        wanted = self.recipe.sync_batchnorm and self.processes.world_size > 1
        return synchronise_batch_norms(self.processes.add) if wanted else nullcontext()

    def trained_tasks(self) -> list[Task]:
        """The tasks whose heads had a gradient in a finite step of this stage; waits for the device.

        Adam's moments of a parameter are zero until then, except where weight decay is part of the gradient: there only
        biases, which never decay, are looked at.
        """
        if self.stage is None or not self.stage.optimizer.state:
            return list(self.recipe.tasks)  # no finite step yet: the run is about to end, or was resumed
        optimizer, coupled = self.stage.optimizer, self.recipe.optimizer.name == "adam"
        observed = {p for g in optimizer.param_groups if not (coupled and g["weight_decay"]) for p in g["params"]}
        heads = {task: observed.intersection(self.network.heads[task].parameters()) for task in self.recipe.tasks}
        return [
            task
            for task, parameters in heads.items()
            if any(p in optimizer.state and bool(optimizer.state[p]["exp_avg_sq"].any()) for p in parameters)
        ]

    def prepare_validation(self) -> AnyNetwork:
        """The network to validate, the same in all processes."""
        if self.average:
            self.validated.load_state_dict(self.average.state)
        self.processes.broadcast(self.validated.buffers())  # each has the running statistics of its own rows
        return self.validated

    def select_validation(
        self,
        rows: TrainingRows,
        between: Callable[[], None] | None = None,  # noqa: ARG002 - for learners of frames
    ) -> TrainingRows:
        """The rows of validation as `prepare_validation`'s network takes them; `between` as of `begin_epoch`."""
        return rows

    def state(self) -> dict[str, Any]:
        """A copy of the learner's part of a checkpoint's ``state.pt``; the weights are files beside it."""
        return {
            "optimizer": read_optimizer_state(self.stage.optimizer) if self.stage else self.restored,
            "average_steps": self.average.steps if self.average else 0,
        }

    def copy_weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """Copies of a checkpoint's state dicts on the CPU, by the names of their files."""
        average = {AVERAGE: to_host(self.average.state, copy=True)} if self.average else {}
        return {NETWORK: to_host(self.network.state_dict(), copy=True), **average}

    def restore(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        """Restores a checkpoint, before the first epoch.

        Raises:
            DataError: If its weights are damaged, or not of this network.
        """
        apply_weights(
            self.network, load_any_weights(checkpoint.folder / NETWORK).state, str(checkpoint.folder / NETWORK)
        )
        if self.average:
            kept = load_any_weights(checkpoint.folder / AVERAGE).state
            check_state(self.network.config, kept, str(checkpoint.folder / AVERAGE), heads_optional=False)
            self.average.load(kept, state["average_steps"])
        self.restored, self.source = state["optimizer"], str(checkpoint.folder / STATE)


class Learner(BaseLearner[FramedRows | EmbeddedRows]):
    """Trains a network on frames, or its heads on embeddings."""

    _embedded: EmbeddedRows | None = None
    _embedded_validation: EmbeddedRows | None = None

    def read_embeddings(self, store: FeatureStore) -> None:
        """Has a first stage read its embeddings from a store of features."""
        self.store, self.embeds = store, True

    def prepare(self, scheduled: Scheduled, between: Callable[[], None] | None) -> None:
        """Stores the embeddings of a frozen network, or copies the frames to a GPU, where they fit."""
        self._embedded = self._embedded_validation = None
        if self.embeds and scheduled.name == "heads":
            self._embedded = self._embed(self.rows, between, bfloat16=self.bfloat16)
        elif self.resident is None:
            self.resident = make_resident(self._framed, self.device)

    def _embed(
        self, rows: FramedRows | EmbeddedRows, between: Callable[[], None] | None, *, bfloat16: bool = False
    ) -> EmbeddedRows:
        if isinstance(rows, EmbeddedRows):
            return rows
        if self.store:
            return find_embedded_rows(rows.annotations, rows.rows, self.store)
        precision: InferencePrecision = "bfloat16" if bfloat16 else "float32"
        return embed_rows(self._frozen, rows, self.device, precision, processes=self.processes, between=between)

    @property
    def _framed(self) -> FramedRows:
        assert not isinstance(self.rows, EmbeddedRows)  # noqa: S101 - these are trained in the first stage alone
        return self.rows

    def select_validation(self, rows: TrainingRows, between: Callable[[], None] | None = None) -> TrainingRows:
        """The rows of validation, with stored embeddings where the heads are trained on such; all else is frozen."""
        if self._embedded is None or not isinstance(rows, FramedRows):
            return rows
        self._embedded_validation = self._embedded_validation or self._embed(rows, between)
        return self._embedded_validation

    def _make_trained_module(self) -> nn.Module:
        return HeadsAlone(self._frozen) if self._embedded else self.network

    @property
    def _frozen(self) -> DDAMFN:
        assert isinstance(self.network, DDAMFN)  # noqa: S101 - the only network that takes frames
        return self.network

    def plan_epoch(self, epoch: int) -> Sequence[Array]:
        """The batches of an epoch, int64 (rows,) each; see `order_epoch`."""
        return order_epoch(len(self.rows), self.recipe.batch_size, seed=self.recipe.seed, epoch=epoch)

    def collect(self, epoch: int, batch: Array, part: Array) -> HostBatch:
        """Reads and packs a batch, of which this process takes `part`; see `collect_batch`."""
        if self._embedded:
            values, numbers = torch.from_numpy(self._embedded.take(part)), pack_targets(self.rows.targets(batch), [])
            return HostBatch(batch, part, pin_memory(values, self.device), pin_memory(numbers, self.device))
        return self._collect_frames(epoch, batch, part)

    def _collect_frames(self, epoch: int, batch: Array, part: Array) -> HostBatch:
        config, seed = self.augmentation, self.recipe.seed
        return collect_batch(self._framed, batch, part, epoch, seed, config, self.device, self.resident)

    def augment_some(self, batch: HostBatch) -> AugmentedFrames | None:
        """The first frames of a batch as the network sees them; see `augment_frames`."""
        if isinstance(self.rows, EmbeddedRows):
            return None
        batch = self._collect_frames(0, batch.rows, batch.part) if self._embedded else batch
        return augment_frames(batch, self.augmentation, self.device, self.resident)

    def _make_inputs(
        self, frames: torch.Tensor, numbers: torch.Tensor, rows: int, own: int
    ) -> tuple[torch.Tensor, Targets]:
        """Images, or stored embeddings, and targets, from a batch on the device."""
        if self._embedded:
            return frames, unpack_targets(numbers, rows, [])[0]
        targets, variation = unpack_batch(numbers, rows, own)
        pixels = self.resident.take(frames) if self.resident else frames
        images = apply_variation(pixels, variation, self.augmentation)
        return images.to(next(self.network.parameters()).dtype), targets


@contextmanager
def explain_out_of_memory(work: str) -> Iterator[None]:
    """Within the block, turns running out of memory for `work` into a `ConfigError` with a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        words = ("out of memory", "alloc_failed", "can't allocate memory")
        if not (isinstance(error, MemoryError) or any(word in text.lower() for word in words)):
            raise
        on_gpu = "CUDA" in text or "CUBLAS" in text or "CUDNN" in text
        raise ConfigError(
            f"out of {'GPU memory' if on_gpu else 'memory'} for {work} "
            f"({text.splitlines()[0] if text else 'allocation failed'})\n"
            "set a smaller batch_size, or a smaller network; earlier checkpoints are kept"
        ) from error

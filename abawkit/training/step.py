"""One training step: forward, losses, backward, optimiser; a step whose loss is not finite changes nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from abawkit.labels import Task
from abawkit.models.devices import Download, use_bfloat16
from abawkit.models.inference import make_model_input
from abawkit.models.network import OUTPUTS, Outputs
from abawkit.models.sequence import Windows
from abawkit.ops import attention_mse
from abawkit.training.distributed import ALONE, Distributed
from abawkit.training.losses import ATTENTION_LOSSES, Targets, au_loss, expression_loss, va_loss
from abawkit.training.optimizers import MovingAverage, maximise
from abawkit.training.recipe import Losses, Recipe


class RunningStatistics:
    """A network's buffers, and one copy of them in memory that is allocated once.

    Buffers of one type share one block of memory, so that a GPU copies or chooses all of them in a few launches.
    """

    def __init__(self, network: nn.Module) -> None:
        """Finds the buffers, which must stay the same tensors."""
        by_type = sorted(network.buffers(), key=lambda buffer: str(buffer.dtype))
        self._groups = [_BufferGroup(list(buffers)) for _, buffers in groupby(by_type, key=lambda buffer: buffer.dtype)]

    @torch.no_grad()
    def keep(self) -> None:
        """Copies the buffers."""
        for group in self._groups:
            torch._foreach_copy_(group.copies, group.buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """Restores the values of the last `keep`."""
        for group in self._groups:
            torch._foreach_copy_(group.buffers, group.copies)

    @torch.no_grad()
    def put_back_unless(self, counts: Tensor) -> None:
        """As `put_back` if `counts`, a bool () on the buffers' device, is false; the host does not wait for it."""
        for group in self._groups:
            now = torch.cat([buffer.flatten() for buffer in group.buffers])
            chosen = torch.where(counts, now, group.block)
            torch._foreach_copy_(group.buffers, group.views_of(chosen))


class _BufferGroup:
    """Buffers of one type."""

    def __init__(self, buffers: list[Tensor]) -> None:
        self.buffers = buffers
        self.block = buffers[0].new_empty(sum(buffer.numel() for buffer in buffers))
        self.copies = self.views_of(self.block)

    def views_of(self, block: Tensor) -> list[Tensor]:
        """Parts of a block in the shapes of the buffers."""
        parts = torch.split(block, [buffer.numel() for buffer in self.buffers])
        return [part.view(buffer.shape) for part, buffer in zip(parts, self.buffers, strict=True)]


@contextmanager
def keep_statistics(network: nn.Module) -> Iterator[None]:
    """Within the block, batch norms don't update running statistics: SAM's second pass must not count twice."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track


@dataclass(frozen=True)
class Objective:
    """The weighted sum of losses that a stage minimises.

    Attributes:
        losses: Weights and kinds.
        tasks: Tasks that count.
        attention: Whether the attention loss counts; it has no effect where only heads are trained.
        expression_weights: Weights of the classes, (8,), or None.
        au_weights: Weights of positives, (12,), or None.
        processes: Among which the rows of a batch are divided.
    """

    losses: Losses
    tasks: tuple[Task, ...]
    attention: bool
    expression_weights: Tensor | None = None
    au_weights: Tensor | None = None
    processes: Distributed = ALONE

    def __call__(
        self, network: nn.Module, images: Tensor | Windows, targets: Targets, sizes: Sequence[int] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each loss without its weight.

        Args:
            network: A `DDAMFN`, its wrapper for several processes, or a `SequenceNetwork`.
            images: This process's part of the batch, (n, 3, S, S); of a sequence network, windows.
            targets: Annotations of the whole batch: each loss is that of all its rows, as CCC is no mean over rows.
            sizes: Rows of each process; by default as even as they can be.
        """
        sizes = sizes or self.processes.sizes(len(targets.va))
        outputs = self._gather_outputs(network(images, gates=self.attention), sizes)
        config = self.losses
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=targets.va.device)
        if "va" in self.tasks:
            parts["va"] = va_loss(outputs.va, targets.va, targets.va_valid)
            total = total + config.va * parts["va"]
        if "expression" in self.tasks:
            parts["expression"] = expression_loss(
                outputs.expression,
                targets.expression,
                targets.expression_valid,
                self.expression_weights,
                config.label_smoothing,
            )
            total = total + config.expression * parts["expression"]
        if "au" in self.tasks:
            parts["au"] = au_loss(outputs.au, targets.au, targets.au_valid, self.au_weights)
            total = total + config.au * parts["au"]
        if outputs.gates is not None:
            shares = self.processes.all_gather(attention_mse(outputs.gates).view(1) * len(images), [1] * len(sizes))
            distance = shares.sum() / sum(sizes)
            parts["attention"] = ATTENTION_LOSSES[config.attention_kind](distance)
            total = total + config.attention * parts["attention"]
        return total, {name: value.detach() for name, value in parts.items()}

    def _gather_outputs(self, own: Outputs, sizes: Sequence[int]) -> Outputs:
        if len(sizes) == 1:
            return own
        columns = [c if c.dtype == torch.float64 else c.float() for c in own[:3]]
        found = self.processes.all_gather(torch.cat(columns, dim=1), sizes)
        va, expression, au = torch.split(found, list(OUTPUTS.values()), dim=1)
        return Outputs(va, expression, au, own.gates)


@dataclass(frozen=True)
class StepLosses:
    """The losses of a step.

    Attributes:
        names: ``total``, and each loss that was computed.
        values: Their values, (len(names),) float32 or float64, being copied to the host.
    """

    names: tuple[str, ...]
    values: Download

    def read(self) -> dict[str, float]:
        """The losses by name; ``total`` is NaN where loss or gradient was not finite, and the step changed nothing.

        On a GPU this waits for the step, but not for later work of the device.
        """
        return dict(zip(self.names, self.values.wait().tolist(), strict=True))


class TrainingStep:
    """The training step of a stage.

    On a GPU the host waits for no value: the device itself skips the update where loss or gradient is not finite.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        recipe: Recipe,
        *,
        bfloat16: bool,
        average: MovingAverage | None = None,
    ) -> None:
        """Finds the tensors that a step changes, which must stay the same.

        Args:
            network: A `DDAMFN`, its wrapper for several processes, or a `SequenceNetwork`, in training mode when a
                step is taken. Frozen parameters have `requires_grad` false.
            objective: The loss to minimise.
            optimizer: Over the parameters that change.
            recipe: For SAM and gradient clipping.
            bfloat16: Whether the forward pass runs within `use_bfloat16`.
            average: Averages the weights of each finite step.
        """
        self.network, self.objective, self.optimizer, self.recipe = network, objective, optimizer, recipe
        self.bfloat16, self.average = bfloat16, average
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.statistics = RunningStatistics(network)
        self.on_device = not self.parameters[0].is_cpu

    def __call__(self, images: Tensor | Windows, targets: Targets, sizes: Sequence[int] = ()) -> StepLosses:
        """Takes one step; where loss or gradient is not finite, neither weights nor running statistics change.

        Args:
            images: Normalised (n, 3, S, S), on the network's device: this process's part of the batch; of a sequence
                network, windows; of heads on a frozen network, embeddings (n, D).
            targets: Annotations of the whole batch.
            sizes: As of `Objective`.
        """
        names, values = self.compute(images, targets, sizes)
        return StepLosses(names, Download(values))

    def compute(
        self, images: Tensor | Windows, targets: Targets, sizes: Sequence[int] = ()
    ) -> tuple[tuple[str, ...], Tensor]:
        """As a call, but the values of the losses stay on the device."""
        images = make_model_input(images) if isinstance(images, Tensor) and images.ndim == 4 else images
        self.statistics.keep()
        total, parts = self._backward(images, targets, sizes)
        if self.recipe.optimizer.name == "sam":
            back = maximise(self.parameters, self.recipe.optimizer.sam_rho)
            with keep_statistics(self.network):
                self._backward(images, targets, sizes)
            back()
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        finite = torch.isfinite(norm) & torch.isfinite(total)
        values = torch.stack([torch.where(finite, total, torch.nan), *parts.values()])
        (self._update_on_device if self.on_device else self._update)(norm, finite)
        return ("total", *parts), values

    def _backward(
        self, images: Tensor | Windows, targets: Targets, sizes: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.optimizer.zero_grad(set_to_none=True)
        with use_bfloat16(targets.va.device) if self.bfloat16 else nullcontext():
            total, parts = self.objective(self.network, images, targets, sizes)
        # DistributedDataParallel takes the mean over processes; the gradient of the whole batch is the sum
        (total * self.objective.processes.world_size).backward()  # type: ignore[no-untyped-call]
        return total.detach(), parts

    def _update(self, norm: Tensor, finite: Tensor) -> None:
        if not finite:
            self.statistics.put_back()
            return
        self._clip(norm)
        self.optimizer.step()
        if self.average:
            self.average.update()

    def _update_on_device(self, norm: Tensor, finite: Tensor) -> None:
        self._clip(norm)
        optimizer: Any = self.optimizer
        optimizer.found_inf = (~finite).float()
        optimizer.step()
        self.statistics.put_back_unless(finite)
        if self.average:
            self.average.update_if(finite)

    def _clip(self, norm: Tensor) -> None:
        if self.recipe.optimizer.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.recipe.optimizer.clip, norm)

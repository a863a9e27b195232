"""One step: forward, losses, backward, and the optimiser's move."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from abawkit.labels import Task
from abawkit.models.inference import model_input
from abawkit.models.network import OUTPUTS, Outputs
from abawkit.ops import attention_mse
from abawkit.training.losses import ATTENTION_LOSSES, Targets, au_loss, expression_loss, va_loss
from abawkit.training.optimizers import ascend
from abawkit.training.processes import ALONE, Processes
from abawkit.training.recipe import Losses, Recipe


@dataclass(frozen=True)
class Objective:
    """The weighted sum of losses that a stage minimises.

    Attributes:
        losses: Weights and kinds.
        tasks: Tasks that count.
        attention: Whether the attention loss counts; it can't change anything where only heads are trained.
        expression_weights: Weights of the classes, (8,), or None.
        au_weights: Weights of positives, (12,), or None.
        processes: Among which the rows of a batch are divided.
    """

    losses: Losses
    tasks: tuple[Task, ...]
    attention: bool
    expression_weights: Tensor | None = None
    au_weights: Tensor | None = None
    processes: Processes = ALONE

    def __call__(self, network: nn.Module, images: Tensor, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each loss before its weight.

        Args:
            network: A `DDAMFN`, or what stands for it among several processes.
            images: This process's part of the batch, (n, 3, S, S).
            targets: Annotations of the whole batch: each loss is that of all its rows, as CCC is no mean over rows.
        """
        sizes = self.processes.sizes(len(targets.va))
        outputs = self._of_all_rows(network(images, gates=self.attention), sizes)
        config = self.losses
        parts: dict[str, Tensor] = {}
        total = torch.zeros((), device=images.device)
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
            shares = self.processes.gathered(attention_mse(outputs.gates).view(1) * len(images), [1] * len(sizes))
            distance = shares.sum() / sum(sizes)
            parts["attention"] = ATTENTION_LOSSES[config.attention_kind](distance)
            total = total + config.attention * parts["attention"]
        return total, {name: value.detach() for name, value in parts.items()}

    def _of_all_rows(self, own: Outputs, sizes: Sequence[int]) -> Outputs:
        if len(sizes) == 1:
            return own
        columns = [c if c.dtype == torch.float64 else c.float() for c in own[:3]]
        found = self.processes.gathered(torch.cat(columns, dim=1), sizes)
        va, expression, au = torch.split(found, list(OUTPUTS.values()), dim=1)
        return Outputs(va, expression, au, own.gates)


def training_step(
    network: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    targets: Targets,
    recipe: Recipe,
    *,
    bfloat16: bool,
) -> dict[str, float]:
    """Takes one step.

    Args:
        network: A `DDAMFN`, or what stands for it among several processes; in training mode. Parameters that are not
            to change have `requires_grad` false.
        objective: What is minimised.
        optimizer: Over the parameters that change.
        images: Normalised (n, 3, S, S), on the network's device: this process's part of the batch.
        targets: Annotations of the whole batch.
        recipe: For SAM and gradient clipping.
        bfloat16: Whether the forward pass runs under bfloat16 autocast.

    Returns:
        Every loss by name, and their weighted sum as ``total``. Where loss or gradient is not finite, the parameters
        and the running statistics are what they were and ``total`` is NaN.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    images = model_input(images)
    statistics = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def backward() -> tuple[Tensor, dict[str, Tensor]]:
        optimizer.zero_grad(set_to_none=True)
        cast = torch.autocast(images.device.type, dtype=torch.bfloat16) if bfloat16 else nullcontext()
        with cast:
            total, parts = objective(network, images, targets)
        # DistributedDataParallel takes the mean over processes; the gradient of the whole batch is the sum
        (total * objective.processes.count).backward()  # type: ignore[no-untyped-call]
        return total.detach(), parts

    total, parts = backward()
    if recipe.optimizer.name == "sam":
        back = ascend(parameters, recipe.optimizer.sam_rho)
        with kept_statistics(network):
            backward()
        back()
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    finite = torch.isfinite(norm) & torch.isfinite(total)
    losses = torch.stack([torch.where(finite, total, torch.nan), *parts.values()]).tolist()
    if losses[0] == losses[0]:
        if recipe.optimizer.clip:
            nn.utils.clip_grads_with_norm_(parameters, recipe.optimizer.clip, norm)
        optimizer.step()
    else:
        for buffer, before in statistics:
            buffer.copy_(before)
    return dict(zip(("total", *parts), losses, strict=True))


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Running statistics of batch norms stay as they are within the block: SAM's second pass must not count twice."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, track in zip(norms, tracked, strict=True):
            norm.track_running_stats = track

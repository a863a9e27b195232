"""One step: forward, losses, backward, and the optimiser's move."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from abawkit.labels import Task
from abawkit.models.inference import model_input
from abawkit.models.network import DDAMFN
from abawkit.training.losses import ATTENTION_LOSSES, Targets, au_loss, expression_loss, va_loss
from abawkit.training.optimizers import ascend
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
    """

    losses: Losses
    tasks: tuple[Task, ...]
    attention: bool
    expression_weights: Tensor | None = None
    au_weights: Tensor | None = None

    def __call__(self, network: DDAMFN, images: Tensor, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and each loss before its weight, for images (N, 3, S, S)."""
        outputs = network(images, gates=self.attention)
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
            parts["attention"] = ATTENTION_LOSSES[config.attention_kind](outputs.gates)
            total = total + config.attention * parts["attention"]
        return total, {name: value.detach() for name, value in parts.items()}


def training_step(
    network: DDAMFN,
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
        network: In training mode; parameters that are not to change have `requires_grad` false.
        objective: What is minimised.
        optimizer: Over the parameters that change.
        images: Normalised (N, 3, S, S), on the network's device.
        targets: Their annotations.
        recipe: For SAM and gradient clipping.
        bfloat16: Whether the forward pass runs under bfloat16 autocast.

    Returns:
        Every loss by name, and their weighted sum as ``total``. Where loss or gradient is not finite, the parameters
        have not moved and ``total`` is NaN.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    images = model_input(images)

    def backward() -> tuple[Tensor, dict[str, Tensor]]:
        optimizer.zero_grad(set_to_none=True)
        cast = torch.autocast(images.device.type, dtype=torch.bfloat16) if bfloat16 else nullcontext()
        with cast:
            total, parts = objective(network, images, targets)
        total.backward()  # type: ignore[no-untyped-call]
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

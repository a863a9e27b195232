"""Optimisers, the learning rate's schedule, and the moving average of weights."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from abawkit.training.recipe import Optimizer, Schedule


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: Optimizer, learning_rate: float
) -> torch.optim.Optimizer:
    """An optimiser over parameters; those of one dimension (norms, biases, PReLU) are never decayed.

    `sam` steps with AdamW, with the gradient at the weights of `maximise`. The optimiser is fused: one operator a step.
    On GPUs its learning rate is a tensor there, and its attribute ``found_inf``, if not zero, makes a step do nothing.
    """
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = _unwrap_methods(torch.optim.Adam if config.name == "adam" else torch.optim.AdamW)
    chosen = [group for group in groups if group["params"]]
    optimizer = kind(chosen, lr=learning_rate, fused=True)
    if not parameters[0].is_cpu:  # not above: to check a tensor there, torch would wait for it
        for group in optimizer.param_groups:
            group["lr"] = torch.full((), learning_rate, device=parameters[0].device)
    return optimizer


def _unwrap_methods(kind: type[torch.optim.Adam]) -> type[torch.optim.Adam]:
    """As `kind`, with methods that torch has not wrapped for ``torch.compile``.

    Those wrappers import the compiler when they are called first, into every process that trains: two seconds.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), methods | {"step": torch.no_grad()(methods["step"])})


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of the next step, without a copy where it is a tensor on a device."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def compute_learning_rate_factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """The factor of the learning rate at a time within a stage.

    After a linear warm-up from 0 to 1 the schedule begins at 1, as in torch's ``SequentialLR``: ``cosine`` falls to 0
    over the rest of the stage (``CosineAnnealingLR``), ``exponential`` falls by `decay` at the end of each full epoch
    after the warm-up (``ExponentialLR``, stepped once an epoch).

    Args:
        schedule: The schedule.
        epoch: The time in epochs, 0 to `epochs`; a whole number is the end of an epoch.
        epochs: Length of the stage.

    Source: Loshchilov and Hutter, https://arxiv.org/abs/1608.03983, for the cosine; Goyal et al.,
    https://arxiv.org/abs/1706.02677, section 2.2, for the warm-up.
    """
    if epoch < schedule.warmup_epochs:
        return epoch / schedule.warmup_epochs
    since = epoch - schedule.warmup_epochs
    if schedule.name == "cosine":
        rest = epochs - schedule.warmup_epochs
        return 0.5 * (1 + math.cos(math.pi * min(1.0, since / rest))) if rest > 0 else 1.0
    if schedule.name == "exponential":
        return schedule.decay ** max(0, math.ceil(since) - 1)  # the last step of an epoch belongs to that epoch
    return 1.0


@torch.no_grad()
def maximise(parameters: Iterable[nn.Parameter], rho: float) -> Callable[[], None]:
    """Moves parameters by `rho` along their gradient: the first half of a step of sharpness-aware minimisation.

    Args:
        parameters: Parameters; those without a gradient stay.
        rho: Norm of the move, over all parameters together.

    Returns:
        A function that moves them back, bit for bit.

    Source: Foret et al., https://arxiv.org/abs/2010.01412, algorithm 1 with p = 2.
    """
    moved: list[Tensor] = [p for p in parameters if p.grad is not None]
    before = [torch.empty_like(p) for p in moved]
    torch._foreach_copy_(before, moved)
    gradients = [p.grad for p in moved if p.grad is not None]
    scale = rho / (torch.nn.utils.get_total_norm(gradients) + 1e-12)
    torch._foreach_add_(moved, list(torch._foreach_mul(gradients, scale)))

    @torch.no_grad()
    def back() -> None:
        torch._foreach_copy_(moved, before)

    return back


class MovingAverage:
    """Exponential moving average of a network's weights and batch statistics.

    The decay of the first steps is smaller, min(decay, (1 + t) / (10 + t)), so that the start has little weight.

    Source: the schedule is that of TensorFlow's ExponentialMovingAverage (num_updates).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts from the network's present weights.

        Args:
            network: The network, whose tensors must stay the same objects.
            decay: Share of the average that a step keeps, below 1.
        """
        self.decay = decay
        self._network = network.state_dict()
        averaged = {name: value for name, value in self._network.items() if value.is_floating_point()}
        self._values = list(averaged.values())
        self._averages = {name: value.clone() for name, value in averaged.items()}
        self._steps = torch.zeros((), dtype=torch.float64, device=self._values[0].device)

    @property
    def steps(self) -> int:
        """Number of averaged steps."""
        return int(self._steps)

    @property
    def state(self) -> dict[str, Tensor]:
        """The averages, and the network's own counts of batches, by name; the next step changes these tensors."""
        return {name: self._averages.get(name, value) for name, value in self._network.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Adds the network's present weights to the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self._steps += 1
        torch._foreach_lerp_(list(self._averages.values()), self._values, 1 - decay)

    @torch.no_grad()
    def update_if(self, counts: Tensor) -> None:
        """As `update` if `counts`, a bool () on the network's device, is true; the host does not wait for it."""
        decay = torch.clamp((1 + self._steps) / (10 + self._steps), max=self.decay)
        share = torch.where(counts, 1 - decay, 0.0).to(self._values[0].dtype)
        self._steps.add_(counts)
        averages = list(self._averages.values())
        differences = torch._foreach_sub(self._values, averages)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(averages, differences)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Restores averages from a `state`, without its counts of batches, and their number of steps."""
        for name, average in self._averages.items():
            average.copy_(state[name])
        self._steps.fill_(steps)

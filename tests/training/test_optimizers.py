"""Optimisers' groups, sharpness-aware moves, schedules and the moving average, each worked by hand."""

import math

import pytest
import torch
from torch import nn

from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.training.optimizers import MovingAverage, compute_learning_rate_factor, make_optimizer, maximise
from abawkit.training.recipe import Optimizer, Schedule


@pytest.mark.parametrize(
    ("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sam", torch.optim.AdamW)]
)
def test_norms_biases_and_slopes_are_never_decayed(name: str, kind: type[torch.optim.Optimizer]) -> None:
    network = DDAMFN(NETWORKS["ddamfn-nano"])
    config = Optimizer.model_validate({"name": name, "weight_decay": 0.3})
    optimizer = make_optimizer(network.parameters(), config, 1e-3)
    assert type(optimizer).__bases__ == (kind,)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(decay) == len(list(network.parameters()))
    for parameter in network.parameters():
        assert decay[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0)


def test_ascending_moves_by_rho_along_the_gradient_and_comes_back_bit_for_bit() -> None:
    layer = nn.Linear(3, 2)
    before = [p.detach().clone() for p in layer.parameters()]
    layer.weight.grad, layer.bias.grad = torch.full((2, 3), 3.0), torch.tensor([1.0, -3.0])
    norm = math.sqrt(6 * 9 + 1 + 9)  # 8
    back = maximise(layer.parameters(), 0.05)
    torch.testing.assert_close(layer.weight.detach() - before[0], torch.full((2, 3), 0.05 * 3 / norm))
    torch.testing.assert_close(layer.bias.detach() - before[1], torch.tensor([1.0, -3.0]) * 0.05 / norm)
    back()
    assert all(torch.equal(p, old) for p, old in zip(layer.parameters(), before, strict=True))


def test_ascending_leaves_parameters_without_a_gradient() -> None:
    layer = nn.Linear(2, 2)
    bias = layer.bias.detach().clone()
    layer.weight.grad = torch.ones(2, 2)
    maximise(layer.parameters(), 1.0)
    assert torch.equal(layer.bias, bias)


@pytest.mark.parametrize(
    ("schedule", "epoch", "expected"),
    [
        ({"name": "constant"}, 3.7, 1.0),
        ({"name": "constant", "warmup_epochs": 2.0}, 0.5, 0.25),
        ({"name": "cosine"}, 0.0, 1.0),
        ({"name": "cosine"}, 2.0, 0.5),
        ({"name": "cosine"}, 1.0, 0.5 * (1 + math.sqrt(0.5))),
        ({"name": "cosine"}, 4.0, 0.0),
        ({"name": "cosine", "warmup_epochs": 1.0}, 0.5, 0.5),
        ({"name": "cosine", "warmup_epochs": 1.0}, 1.0, 1.0),
        ({"name": "cosine", "warmup_epochs": 1.0}, 2.5, 0.5),
        ({"name": "cosine", "warmup_epochs": 4.0}, 4.0, 1.0),
        ({"name": "exponential", "decay": 0.6}, 0.01, 1.0),
        ({"name": "exponential", "decay": 0.6}, 1.0, 1.0),
        ({"name": "exponential", "decay": 0.6}, 1.01, 0.6),
        ({"name": "exponential", "decay": 0.6}, 2.0, 0.6),
        ({"name": "exponential", "decay": 0.6}, 3.5, 0.6**3),
    ],
)
def test_schedules_at_moments_of_a_stage_of_four_epochs(
    schedule: dict[str, float | str], epoch: float, expected: float
) -> None:
    factor = compute_learning_rate_factor(Schedule.model_validate(schedule), epoch, 4)
    assert factor == pytest.approx(expected, abs=1e-12)


def test_an_exponential_schedule_keeps_one_rate_for_all_steps_of_an_epoch() -> None:
    schedule = Schedule(name="exponential", decay=0.6)
    steps = [[compute_learning_rate_factor(schedule, epoch + (i + 1) / 7, 3) for i in range(7)] for epoch in range(3)]
    assert steps == [[1.0] * 7, [0.6] * 7, [0.6**2] * 7]


STEPS = 12
"""Of an epoch; an epoch and a half of warm-up is 18 steps."""


def rates_of_torch(name: str, warmup: int, epochs: int) -> list[float]:
    """Learning rates at the middle of each step, by torch's schedulers at twice the resolution."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    lr = torch.optim.lr_scheduler
    after: torch.optim.lr_scheduler.LRScheduler
    if name == "cosine":
        after = lr.CosineAnnealingLR(optimizer, T_max=2 * (epochs * STEPS - warmup))
    elif name == "exponential":
        after = lr.StepLR(optimizer, step_size=2 * STEPS, gamma=0.6)  # ExponentialLR, once an epoch
    else:
        after = lr.ConstantLR(optimizer, factor=1.0)
    scheduler: torch.optim.lr_scheduler.LRScheduler = after
    if warmup:
        rise = lr.LinearLR(optimizer, start_factor=1e-12, end_factor=1.0, total_iters=2 * warmup)
        scheduler = lr.SequentialLR(optimizer, [rise, after], milestones=[2 * warmup])
    rates = []
    for _ in range(2 * epochs * STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates[1::2]


@pytest.mark.parametrize("warmup", [0, 6, 12, 18])
@pytest.mark.parametrize("name", ["cosine", "exponential", "constant"])
@pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")  # SequentialLR's own call
def test_every_step_has_the_learning_rate_of_torchs_schedulers(name: str, warmup: int) -> None:
    schedule = Schedule.model_validate({"name": name, "decay": 0.6, "warmup_epochs": warmup / STEPS})
    moments = [(step + 0.5) / STEPS for step in range(4 * STEPS)]
    ours = [compute_learning_rate_factor(schedule, moment, 4) for moment in moments]
    assert ours == pytest.approx(rates_of_torch(name, warmup, 4), abs=1e-9)


@pytest.mark.parametrize("warmup", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("name", ["cosine", "exponential", "constant"])
def test_every_schedule_reaches_the_learning_rate_where_its_warm_up_ends(name: str, warmup: float) -> None:
    schedule = Schedule.model_validate({"name": name, "warmup_epochs": warmup})
    assert compute_learning_rate_factor(schedule, warmup, 4) == 1.0


def test_an_exponential_schedule_is_torchs_exponential_from_its_first_full_epoch() -> None:
    schedule = Schedule(name="exponential", decay=0.6, warmup_epochs=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.6)
    for epoch in range(1, 4):
        assert compute_learning_rate_factor(schedule, epoch + 0.5, 4) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_the_moving_average_by_hand_with_counts_copied() -> None:
    norm = nn.BatchNorm1d(1)
    average = MovingAverage(norm, 0.15)

    def set_to(value: float, batches: int) -> None:
        with torch.no_grad():
            norm.weight.fill_(value)
        assert norm.running_mean is not None
        norm.running_mean.fill_(value)
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.fill_(batches)
        average.update()

    set_to(11.0, 1)  # decay min(0.15, 1/10): 1 * 0.1 + 11 * 0.9 = 10; mean 0 * 0.1 + 11 * 0.9 = 9.9
    assert average.state["weight"].item() == pytest.approx(10.0)
    assert average.state["running_mean"].item() == pytest.approx(9.9)
    set_to(20.0, 2)  # decay min(0.15, 2/11 = 0.18): 10 * 0.15 + 20 * 0.85 = 18.5
    assert average.state["weight"].item() == pytest.approx(18.5)
    assert average.state["num_batches_tracked"].item() == 2
    assert average.state["num_batches_tracked"].dtype == torch.int64


def test_the_moving_average_is_apart_from_the_network() -> None:
    layer = nn.Linear(1, 1)
    average = MovingAverage(layer, 0.9)
    before = average.state["weight"].clone()
    nn.init.constant_(layer.weight, 99.0)
    assert torch.equal(average.state["weight"], before)
    average.update()
    assert layer.weight.item() == 99.0


def test_a_moving_average_goes_on_from_what_another_one_held() -> None:
    norm = nn.BatchNorm1d(2)
    average = MovingAverage(norm, 0.9)
    nn.init.constant_(norm.weight, 7.0)
    average.update()
    held = {name: value.clone() for name, value in average.state.items()}
    other = MovingAverage(norm, 0.9)
    other.load(held, average.steps)
    for each in (average, other):
        nn.init.constant_(norm.weight, 3.0)
        each.update()
    assert other.steps == 2
    assert all(torch.equal(value, other.state[name]) for name, value in average.state.items())

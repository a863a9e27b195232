"""One step: what moves, what does not, and what happens to a batch whose loss is not finite."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from abawkit.labels import TASKS, Task
from abawkit.models.config import NETWORKS
from abawkit.models.network import DDAMFN
from abawkit.training.losses import Targets
from abawkit.training.optimizers import MovingAverage, make_optimizer
from abawkit.training.recipe import Losses, Recipe
from abawkit.training.step import Objective, TrainingStep

State = dict[str, Tensor]


@pytest.fixture
def network() -> Iterator[DDAMFN]:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        yield DDAMFN(NETWORKS["ddamfn-nano"]).train()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(6, 3, 112, 112, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def targets() -> Targets:
    generator = torch.Generator().manual_seed(4)
    valid = torch.tensor([True, True, False, True, True, False])
    return Targets(
        torch.rand(6, 2, generator=generator) * 2 - 1,
        torch.randint(0, 8, (6,), generator=generator),
        torch.randint(0, 2, (6, 12), generator=generator).float(),
        valid,
        valid.roll(1),
        valid.roll(2),
    )


def objective(tasks: tuple[Task, ...] = TASKS, *, attention: bool = False, **losses: Any) -> Objective:
    return Objective(Losses(**losses), tasks, attention)


def snapshot(network: DDAMFN) -> State:
    return copy.deepcopy(network.state_dict())


def step(
    network: DDAMFN, recipe: Recipe, images: Tensor, targets: Targets, goal: Objective, *, bfloat16: bool = False
) -> dict[str, float]:
    optimizer = make_optimizer(network.parameters(), recipe.optimizer, 1e-3)
    return TrainingStep(network, goal, optimizer, recipe, bfloat16=bfloat16)(images, targets).read()


def test_the_total_is_the_weighted_sum_of_the_parts(network: DDAMFN, images: Tensor, targets: Targets) -> None:
    total, parts = objective(attention=True, va=2.0, expression=0.5, au=3.0, attention_kind="consistency")(
        network, images, targets
    )
    expected = 2.0 * parts["va"] + 0.5 * parts["expression"] + 3.0 * parts["au"] + 0.1 * parts["attention"]
    torch.testing.assert_close(total.detach(), expected)


@pytest.mark.parametrize("task", TASKS)
def test_one_task_moves_no_other_head(network: DDAMFN, images: Tensor, targets: Targets, task: Task) -> None:
    before = snapshot(network)
    step(network, Recipe(), images, targets, objective((task,)))
    moved = {name.split(".")[1] for name, value in network.state_dict().items() if "heads." in name
             and not torch.equal(value, before[name])}  # fmt: skip
    assert moved == {task}


def test_a_batch_without_annotations_of_the_only_task_moves_nothing_but_for_decay(
    network: DDAMFN, images: Tensor, targets: Targets
) -> None:
    recipe = Recipe.model_validate({"optimizer": {"weight_decay": 0.0}})
    before = snapshot(network)
    losses = step(network, recipe, images, targets._replace(va_valid=torch.zeros(6).bool()), objective(("va",)))
    assert losses["total"] == 0.0
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())


@pytest.mark.parametrize("name", ["adamw", "sam"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_moves_no_parameter(
    network: DDAMFN, images: Tensor, targets: Targets, name: str, bad: float
) -> None:
    before = snapshot(network)
    recipe = Recipe.model_validate({"optimizer": {"name": name}})
    losses = step(network, recipe, images, targets._replace(va=torch.full((6, 2), bad)), objective())
    assert losses["total"] != losses["total"]
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_frame_that_is_not_finite_reaches_neither_running_statistics_nor_the_moving_average(
    network: DDAMFN, images: Tensor, targets: Targets
) -> None:
    average = MovingAverage(network, 0.5)
    optimizer = make_optimizer(network.parameters(), Recipe().optimizer, 1e-3)
    take = TrainingStep(network, objective(), optimizer, Recipe(), bfloat16=False, average=average)
    images[2, 1, 50, 50] = torch.nan
    before = snapshot(network)
    assert math.isnan(take(images, targets).read()["total"])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(torch.equal(value, before[key]) for key, value in average.state.items())
    assert average.steps == 0
    assert math.isfinite(take(images.nan_to_num(), targets).read()["total"])
    assert average.steps == 1
    assert not torch.equal(average.state["stem.0.norm.running_mean"], before["stem.0.norm.running_mean"])


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["adam", "adamw", "sam"])
def test_every_optimiser_and_precision_takes_a_step(
    network: DDAMFN, images: Tensor, targets: Targets, name: str, bfloat16: bool
) -> None:
    before = snapshot(network)
    recipe = Recipe.model_validate({"optimizer": {"name": name}})
    losses = step(network, recipe, images, targets, objective(attention=True), bfloat16=bfloat16)
    assert set(losses) == {"total", "va", "expression", "au", "attention"}
    assert all(abs(value) < float("inf") for value in losses.values())
    assert any(not torch.equal(p, before[key]) for key, p in network.named_parameters())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())


def test_sam_counts_the_statistics_of_a_batch_once(network: DDAMFN, images: Tensor, targets: Targets) -> None:
    other = copy.deepcopy(network)
    step(network, Recipe.model_validate({"optimizer": {"name": "sam"}}), images, targets, objective())
    step(other, Recipe(), images, targets, objective())
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), other.buffers(), strict=True))
    assert {int(b) for name, b in network.named_buffers() if name.endswith("num_batches_tracked")} == {1}


@pytest.mark.parametrize(("rho", "same"), [(1e-9, True), (0.5, False)])
def test_sam_steps_with_the_gradient_at_the_place_it_ascended_to(
    network: DDAMFN, images: Tensor, targets: Targets, rho: float, same: bool
) -> None:
    def gradient(name: str) -> Tensor:
        moving = copy.deepcopy(network)
        recipe = Recipe.model_validate({"optimizer": {"name": name, "sam_rho": rho}})
        optimizer = torch.optim.SGD(moving.parameters(), lr=0.0)
        TrainingStep(moving, objective(), optimizer, recipe, bfloat16=False)(images, targets)
        return torch.cat([p.grad.flatten() for p in moving.parameters() if p.grad is not None])

    there, here = gradient("sam"), gradient("adamw")
    assert ((there - here).norm() < 1e-3 * here.norm()).item() is same


def moved_by(network: DDAMFN, before: State) -> float:
    return float(torch.cat([(p - before[name]).detach().flatten() for name, p in network.named_parameters()]).norm())


def test_clipping_limits_the_norm_of_the_gradient(network: DDAMFN, images: Tensor, targets: Targets) -> None:
    def distance(clip: float) -> float:
        moving = copy.deepcopy(network)
        optimizer = torch.optim.SGD(moving.parameters(), lr=1.0)
        recipe = Recipe.model_validate({"optimizer": {"clip": clip}})
        TrainingStep(moving, objective(), optimizer, recipe, bfloat16=False)(images, targets)
        return moved_by(moving, snapshot(network))

    free = distance(0.0)
    assert distance(free / 4) == pytest.approx(free / 4, rel=1e-3)
    assert distance(free * 4) == pytest.approx(free, rel=1e-6)


def test_weights_of_classes_reach_the_loss(network: DDAMFN, images: Tensor, targets: Targets) -> None:
    classes = sorted(set(targets.expression.tolist()))
    goals = [Objective(Losses(), ("expression",), False, torch.eye(8)[k]) for k in classes]
    parts = [goal(network, images, targets)[1]["expression"].item() for goal in goals]
    assert len(set(parts)) > 1

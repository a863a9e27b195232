"""A step as GPUs take it: it never asks for a value, leaves out bad batches by itself, and agrees with a CPU's."""

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from abawkit.curation.curated_set import open_curated
from abawkit.frames.augmentation_config import DDAMFN_AUGMENTATION
from abawkit.labels import TASKS
from abawkit.models.config import NETWORKS
from abawkit.models.devices import Download
from abawkit.models.network import DDAMFN
from abawkit.ops import use
from abawkit.training import step as step_module
from abawkit.training.checkpoint_state import read_optimizer_state
from abawkit.training.data import read_training_rows
from abawkit.training.distributed import ALONE
from abawkit.training.learner import Learner, Scheduled
from abawkit.training.losses import Targets
from abawkit.training.optimizers import MovingAverage, make_optimizer, set_learning_rate
from abawkit.training.recipe import Losses, Recipe, Stage
from abawkit.training.step import Objective, TrainingStep
from tests.host_traffic import HostTraffic

State = dict[str, Tensor]
OPTIMIZERS = [{"name": "adam"}, {"name": "adamw", "clip": 0.5}, {"name": "sam", "clip": 5.0}]


@pytest.fixture
def network() -> DDAMFN:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return DDAMFN(NETWORKS["ddamfn-nano"]).train()


def batch(seed: int) -> tuple[Tensor, Targets]:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.tensor([True, True, False, True, True, False])
    targets = Targets(
        torch.rand(6, 2, generator=generator) * 2 - 1,
        torch.randint(0, 8, (6,), generator=generator),
        torch.randint(0, 2, (6, 12), generator=generator).float(),
        valid,
        valid.roll(1),
        valid.roll(2),
    )
    return torch.randn(6, 3, 112, 112, generator=generator), targets


class Taker:
    """Takes steps with a network of its own, as CPUs do or as GPUs do."""

    def __init__(self, network: DDAMFN, recipe: Recipe, *, as_gpu: bool) -> None:
        self.network = copy.deepcopy(network)
        self.average = MovingAverage(self.network, 0.3)
        self.optimizer = make_optimizer(self.network.parameters(), recipe.optimizer, 1e-3)
        if as_gpu:  # torch has the same optimiser for CPUs too, and it takes the same orders
            groups: list[dict[str, Any]] = [
                {"params": group["params"], "weight_decay": group["weight_decay"]}
                for group in self.optimizer.param_groups
            ]
            kind: Any = type(self.optimizer)
            self.optimizer = kind(groups, lr=torch.tensor(1e-3), fused=True)
        objective = Objective(Losses(), TASKS, attention=True)
        self.step = TrainingStep(self.network, objective, self.optimizer, recipe, bfloat16=False, average=self.average)
        self.step.on_device = as_gpu  # the path of a step on a GPU, taken here

    def state(self) -> State:
        moments = read_optimizer_state(self.optimizer)["state"]
        kept = {f"{number}.{key}": value for number, values in moments.items() for key, value in values.items()}
        average = {f"average.{name}": value for name, value in self.average.state.items()}
        return {name: value.clone() for name, value in {**self.network.state_dict(), **average, **kept}.items()}


def recipe_with(optimizer: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"optimizer": optimizer})


def without_noise(state: State) -> State:
    """Without biases before a batch norm: they have no gradient, and Adam makes full steps of its rounding."""
    return {name: value for name, value in state.items() if not name.removeprefix("average.").endswith(
        ("squeeze.bias", "row_gate.bias", "column_gate.bias"))}  # fmt: skip


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o["name"])
def test_a_step_on_the_device_changes_what_a_step_of_the_host_does(network: DDAMFN, optimizer: dict[str, Any]) -> None:
    takers = [Taker(network, recipe_with(optimizer), as_gpu=as_gpu) for as_gpu in (False, True)]
    losses = [taker.step(*batch(3)).read() for taker in takers]
    assert losses[0] == losses[1]
    host, device = (without_noise(taker.state()) for taker in takers)
    assert host.keys() == device.keys()
    for name, value in host.items():
        torch.testing.assert_close(device[name], value, rtol=1e-3, atol=1e-6, msg=name)
    assert [taker.average.steps for taker in takers] == [1, 1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o["name"])
@pytest.mark.parametrize("where", ["target", "frame"])
def test_a_bad_batch_changes_nothing_on_the_device_and_the_next_good_one_counts(
    network: DDAMFN, optimizer: dict[str, Any], where: str
) -> None:
    taker, other = (Taker(network, recipe_with(optimizer), as_gpu=True) for _ in range(2))
    for each in (taker, other):
        each.step(*batch(3))
    before = taker.state()
    images, targets = batch(4)
    if where == "target":
        targets = targets._replace(va=torch.full((6, 2), torch.inf))
    else:
        images[1, 0, 60, 60] = torch.nan
    assert math.isnan(taker.step(images, targets).read()["total"])
    after = taker.state()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []
    assert taker.average.steps == 1
    for each in (taker, other):
        assert math.isfinite(each.step(*batch(5)).read()["total"])
    assert taker.average.steps == 2
    expected = other.state()
    assert [name for name, value in taker.state().items() if not torch.equal(value, expected[name])] == []


def test_the_average_on_the_device_by_hand() -> None:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, 1.0)
    average = MovingAverage(layer, 0.15)
    for value, counts, expected in [(11.0, True, 10.0), (99.0, False, 10.0), (20.0, True, 18.5)]:
        nn.init.constant_(layer.weight, value)  # as in test_optimizers.py: decays 1/10, then 0.15
        average.update_if(torch.tensor(counts))
        assert average.state["weight"].item() == pytest.approx(expected)
    assert average.steps == 2


def test_the_learning_rate_of_a_device_is_written_into_its_tensor() -> None:
    parameters = [nn.Parameter(torch.zeros(2, 2, device="meta")), nn.Parameter(torch.zeros(2))]
    rate = torch.tensor(0.5)
    tensors, numbers = torch.optim.SGD(parameters[1:], lr=rate), torch.optim.SGD(parameters[1:], lr=0.5)
    for optimizer in (tensors, numbers):
        set_learning_rate(optimizer, 0.25)
        assert float(optimizer.param_groups[0]["lr"]) == 0.25
    assert tensors.param_groups[0]["lr"] is rate


@pytest.fixture
def learner(curated: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Learner]:
    """A learner on the device `meta`, which stands for a GPU."""
    optimizers = sys.modules[torch.optim.Optimizer.__module__]
    monkeypatch.setattr(optimizers, "_get_fused_kernels_supported_devices", lambda: ["meta"])

    def make(**changes: Any) -> Learner:
        recipe = Recipe.model_validate(
            {"network": "ddamfn-nano", "augmentation": DDAMFN_AUGMENTATION, "ema": 0.9, **changes}
        )
        rows = read_training_rows(open_curated(curated), TASKS)
        device = torch.device("meta")
        network = DDAMFN(NETWORKS["ddamfn-nano"]).to(device)
        return Learner(recipe, network, rows, device, bfloat16=False, processes=ALONE)

    return make


@pytest.mark.parametrize(
    ("stage", "optimizer"), [("heads", OPTIMIZERS[0]), ("all", OPTIMIZERS[1]), ("all", OPTIMIZERS[2])], ids=str
)
def test_a_step_is_two_copies_in_and_one_out_and_asks_for_no_value(
    learner: Callable[..., Learner], optimizer: dict[str, Any], stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads: list[int] = []

    class Counted(Download):
        def __init__(self, values: Tensor) -> None:
            downloads.append(len(values))
            super().__init__(values)

    monkeypatch.setattr(step_module, "Download", Counted)
    taking, rows = learner(optimizer=optimizer), np.arange(8)
    taking.begin_epoch(Scheduled(stage, Stage(epochs=1), 0), fresh=True)
    with use("reference", source="the test"):
        with HostTraffic():  # makes the optimiser's state, and what is kept for a device
            taking.step(1e-3, taking.collect(0, rows, rows))
        downloads.clear()
        collected = taking.collect(1, rows, rows)
        with HostTraffic() as traffic:
            taking.step(5e-4, collected)
    assert sum(traffic.operations[f"aten::_fused_{name}_"] for name in ("adam", "adamw")) > 0
    assert dict(traffic.copies_in) == {"aten::_to_copy": 2}
    assert traffic.counts() == {"aten::_to_copy": 2}
    assert downloads == [5 if stage == "all" else 4]
    assert taking.unread == 1


def test_the_count_of_host_traffic_sees_each_kind() -> None:
    away = torch.zeros(3, device="meta")
    with HostTraffic() as traffic:
        away.copy_(torch.ones(3))
        torch.ones(3).to("meta")
        torch.ones(3).sum().item()
        away.add_(torch.tensor(2.0))  # a number: it goes with the launch
    assert traffic.copies_in == {"aten::copy_": 1, "aten::_to_copy": 1}
    assert traffic.others == {"aten::_local_scalar_dense": 1}

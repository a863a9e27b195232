"""The recipe of the demo: what made its seeds differ by .35 of P, as numbers of the first step."""

from pathlib import Path

import numpy as np
import torch

from abawkit.curation.curated_set import open_curated
from abawkit.frames.augmentation import normalise
from abawkit.labels import TASKS, Task
from abawkit.models.config import NETWORKS
from abawkit.models.inference import make_model_input
from abawkit.models.network import DDAMFN
from abawkit.training.data import read_training_rows
from abawkit.training.losses import Targets, weigh_action_units, weigh_expressions
from abawkit.training.recipe import read_recipe
from abawkit.training.step import Objective

RECIPE = read_recipe("demo")


def first_batch(curated: Path) -> tuple[torch.Tensor, Targets, Objective]:
    """The first images of the training split, and the objective of the demo."""
    rows = read_training_rows(open_curated(curated), TASKS)
    which = np.random.default_rng(0).permutation(len(rows))[: RECIPE.batch_size]
    losses, annotations = RECIPE.losses, rows.annotations
    weights = (
        torch.from_numpy(weigh_expressions(annotations, losses.balance)).float(),
        torch.from_numpy(weigh_action_units(annotations, losses.balance)).float(),
    )
    images = make_model_input(normalise(torch.from_numpy(rows.pixels(which))))
    return images, rows.targets(which), Objective(losses, TASKS, False, *weights)


def new_network() -> DDAMFN:
    torch.manual_seed(1)
    return DDAMFN(NETWORKS[RECIPE.network]).train()


def test_a_step_of_a_head_moves_no_logit_far(curated: Path) -> None:
    images, _, _ = first_batch(curated)
    with torch.no_grad():
        embedding, _ = new_network().embed(images)
    moved = RECIPE.all.learning_rate * embedding.abs().sum(1)  # Adam moves each weight by about the learning rate
    assert moved.max() < 0.15


def test_every_task_gives_the_network_about_as_much_gradient(curated: Path) -> None:
    images, targets, objective = first_batch(curated)

    def measure(task: Task) -> float:
        network = new_network()
        alone = Objective(objective.losses, (task,), False, objective.expression_weights, objective.au_weights)
        total, _ = alone(network, images, targets)
        total.backward()  # type: ignore[no-untyped-call]
        found = [p.grad for p in network.backbone_parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(found))

    norms = [measure(task) for task in TASKS]
    assert max(norms) < 5 * min(norms)

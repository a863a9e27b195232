"""What the notes of an ablation say of the learning rates of its second strict training."""

from types import SimpleNamespace
from typing import Any

import pytest

from abawkit.ablation.plan import Choices, plan_trainings
from abawkit.ablation.report import list_notes
from tests.ablation.conftest import ROWS, SIX


@pytest.mark.parametrize(
    ("strict_rows", "said"),
    [
        (1_900, "takes 480, with the base's learning rates. A network"),
        (2_000, "takes 480, with the base's learning rates. A network"),
        (2_100, "takes 495, with the base's learning rates except for rounding up to whole epochs. A network"),
    ],
)
def test_learning_rates_are_the_bases_but_for_rounding_where_steps_are_not(strict_rows: int, said: str) -> None:
    choices = Choices(settings=SIX, seeds=(1,))
    plan = plan_trainings(choices, ROWS | {("strict", None): strict_rows})
    networks: Any = SimpleNamespace(plan=plan)
    assert said in " ".join(list_notes(networks, choices, "official", 8))

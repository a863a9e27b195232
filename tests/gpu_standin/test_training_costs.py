"""What a training step may cost: counted by the stand-in runtime, which is asked for all that a GPU would be."""

from pathlib import Path

import pytest

from tests.gpu_standin.count_training import Counted, count_training
from tests.gpu_standin.runtime_calls import Costs

MOST_SYNCHRONISATIONS = 1
MOST_COPIES_IN = 2


@pytest.fixture(scope="module")
def counted(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """An epoch of the heads and one of everything."""
    return count_training(curated, tmp_path_factory.mktemp("run"), {})


def settled(counted: Counted) -> list[Costs]:
    """Steps but the first of each stage, which makes what later ones use again; there are four steps an epoch."""
    assert len(counted.steps) == 8
    return counted.steps[1:4] + counted.steps[5:]


def test_a_step_waits_for_the_device_at_most_once(counted: Counted) -> None:
    assert max(step.synchronisations for step in settled(counted)) <= MOST_SYNCHRONISATIONS


def test_a_step_gets_its_batch_in_two_copies_from_pinned_memory(counted: Counted) -> None:
    for step in settled(counted):
        assert step.copies_in_pageable == 0
        assert step.copies_in_pinned <= MOST_COPIES_IN


def test_a_step_asks_for_no_memory_of_the_device(counted: Counted) -> None:
    assert [step.allocations for step in counted.steps[-2:]] == [0, 0]


def test_native_serves_every_step(counted: Counted) -> None:
    assert [step.operators for step in counted.steps] == 4 * [1] + 4 * [2]  # heads alone need no backward pass

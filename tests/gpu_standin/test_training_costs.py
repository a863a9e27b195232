"""What a training step may cost: counted by the stand-in runtime, which is asked for all that a GPU would be."""

from pathlib import Path

import pytest

from tests.gpu_standin.count_training import Counted, count_training

MOST_SYNCHRONISATIONS = 1
MOST_COPIES_IN = 2
STEPS = 4  # of an epoch, by the size of batches in `count_training`


@pytest.fixture(scope="module")
def counted(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """An epoch of the heads and one of everything, each step computed anew."""
    return count_training(curated, tmp_path_factory.mktemp("run"), {"capture": "off"})


@pytest.fixture(scope="module")
def recorded(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Counted:
    """Three epochs of everything: the fourth step is recorded as a graph, those of the last two epochs are replayed."""
    changes = {"heads": {"epochs": 0}, "all": {"epochs": 3}}
    return count_training(curated, tmp_path_factory.mktemp("recorded"), changes)


def test_a_step_waits_for_the_device_at_most_once(counted: Counted) -> None:
    """The last step of an epoch reads the losses of the one before it, and its own."""
    assert len(counted.steps) == 2 * STEPS
    for epoch in (counted.steps[:STEPS], counted.steps[STEPS:]):
        assert max(step.synchronisations for step in epoch[1:-1]) <= MOST_SYNCHRONISATIONS
        assert sum(step.synchronisations for step in epoch[1:]) <= MOST_SYNCHRONISATIONS * STEPS


def test_a_step_gets_its_batch_in_two_copies_from_pinned_memory(counted: Counted) -> None:
    for step in counted.steps[1:]:  # the first makes what later ones use again
        assert step.copies_in_pageable == 0
        assert step.copies_in_pinned <= MOST_COPIES_IN


def test_a_step_asks_for_no_memory_of_the_device(counted: Counted) -> None:
    assert [step.allocations for step in counted.steps[-2:]] == [0, 0]


def test_native_serves_every_step(counted: Counted) -> None:
    assert [step.operators for step in counted.steps] == 4 * [1] + 4 * [2]  # heads alone need no backward pass


def test_a_recorded_step_costs_one_wait_two_copies_and_next_to_no_launches(counted: Counted, recorded: Counted) -> None:
    inner = [*recorded.steps[STEPS + 1 : 2 * STEPS - 1], *recorded.steps[2 * STEPS + 1 : -1]]
    assert len(inner) == 2 * (STEPS - 2)
    for step in inner:
        assert step.synchronisations <= MOST_SYNCHRONISATIONS
        assert (step.copies_in_pageable, step.allocations) == (0, 0)
        assert step.copies_in_pinned <= MOST_COPIES_IN
        assert step.kernels < counted.steps[-2].kernels / 100

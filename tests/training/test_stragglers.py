"""What of a step is a process's own time, and from when on it counts as slow."""

import pytest

from abawkit.training.stragglers import OwnTime, find_slowness


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock whose only entry is the time."""
    now = [100.0]
    monkeypatch.setattr("abawkit.training.stragglers.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def own(time: list[float]) -> OwnTime:
    """That of a process which has been on its way once."""
    own = OwnTime()
    own.leave()
    time[0] += 50.0
    own.arrive()
    return own


def test_the_first_way_is_left_out(own: OwnTime) -> None:
    assert own.take() == 0.0


def test_time_counts_from_one_meeting_to_the_next_without_waiting(own: OwnTime, time: list[float]) -> None:
    for seconds in (1.0, 2.0):
        own.leave()
        time[0] += seconds
        with own.wait():
            time[0] += 10.0
        time[0] += 0.5
        own.arrive()
        time[0] += 100.0  # backward pass, checkpoint
    assert own.take() == 4.0
    assert own.take() == 0.0


def test_a_second_arrival_and_what_was_waited_before_a_way_do_not_count(own: OwnTime, time: list[float]) -> None:
    with own.wait():
        time[0] += 7.0
    own.leave()
    own.end_wait()  # there is none
    time[0] += 3.0
    own.arrive()
    time[0] += 5.0
    own.arrive()
    assert own.take() == 3.0


def test_what_has_begun_when_it_is_read_is_dropped(own: OwnTime, time: list[float]) -> None:
    own.leave()
    time[0] += 30.0
    assert own.take() == 0.0
    own.arrive()
    assert own.take() == 0.0


@pytest.mark.parametrize(
    ("seconds", "slow"),
    [
        ([10.0, 15.0], {1: 1.5}),
        ([10.0, 14.9], {}),
        ([0.5, 1.4], {}),  # less than a second is chance
        ([30.0, 10.0, 11.0, 9.0], {0: 3.0}),
        ([10.0, 10.0, 50.0, 40.0], {2: 5.0, 3: 4.0}),  # each against the median of the others
        ([10.0, 30.0, 30.0, 30.0], {}),  # one that is quick makes no others slow
    ],
)
def test_a_process_is_slow_from_half_more_than_the_median_of_the_others(
    seconds: list[float], slow: dict[int, float]
) -> None:
    found = {rank: find_slowness(seconds, rank) for rank in range(len(seconds))}
    assert {rank: ratio for rank, ratio in found.items() if ratio} == slow

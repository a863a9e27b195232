"""When a process hangs: the ends of its work begin the time anew, and time in which it was suspended does not count."""

import pytest

from abawkit.training.goodput import Activity, WallClock
from abawkit.training.watchdog import FIRST_STEP, Silence

ALLOWED = 20.0


@pytest.fixture
def clock() -> WallClock:
    """That of a process that has ended its first step."""
    clock = WallClock(0.0)
    clock.charge("steps")
    return clock


def look_every_second(silence: Silence, begin: int, end: int) -> list[int]:
    """The seconds from `begin` on, below `end`, at which the process counts as hanging."""
    return [second for second in range(begin, end) if silence.look(float(second))]


def test_more_than_the_allowed_time_without_an_end_is_a_hang(clock: WallClock) -> None:
    assert look_every_second(Silence(clock, ALLOWED, 0.0), 1, 23) == [21, 22]


@pytest.mark.parametrize("activity", ["data", "steps", "validation", "checkpoints", "other"])
def test_the_end_of_anything_begins_the_time_anew(clock: WallClock, activity: Activity) -> None:
    silence = Silence(clock, ALLOWED, 0.0)
    assert look_every_second(silence, 1, 20) == []
    clock.charge(activity)
    assert look_every_second(silence, 20, 43) == [41, 42]


@pytest.mark.parametrize("before", [(), ("start",), ("start", "data")])
def test_the_first_step_has_half_an_hour(before: tuple[Activity, ...]) -> None:
    clock = WallClock(0.0)
    for activity in before:
        clock.charge(activity)
    silence = Silence(clock, ALLOWED, 0.0)
    assert look_every_second(silence, 1, int(FIRST_STEP) + 2) == [int(FIRST_STEP) + 1]
    clock.charge("steps")
    assert silence.limit == ALLOWED


def test_more_than_half_an_hour_is_allowed_for_the_first_step_too() -> None:
    assert Silence(WallClock(0.0), 2 * FIRST_STEP, 0.0).limit == 2 * FIRST_STEP


def test_the_time_in_which_the_whole_process_was_suspended_does_not_count(clock: WallClock) -> None:
    silence = Silence(clock, ALLOWED, 0.0)
    assert look_every_second(silence, 1, 11) == []
    assert not silence.look(10_000.0)  # two turns of it count
    assert look_every_second(silence, 10_001, 10_012) == [10_009, 10_010, 10_011]


@pytest.mark.parametrize(("allowed", "turn"), [(0.5, 0.05), (5, 0.5), (10, 1), (3600, 1)])
def test_it_looks_ten_times_and_at_least_every_second(clock: WallClock, allowed: float, turn: float) -> None:
    assert Silence(clock, allowed, 0.0).turn == turn

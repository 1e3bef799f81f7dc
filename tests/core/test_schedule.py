"""The order of attempts, without Ray and without a clock."""

from pipeline.core.schedule import MAX_PAUSE_S, PAUSE_S, TRIES, Schedule
from pipeline.core.splits import Failure, Split

GONE = Failure("the node was gone", begun=False)
DIED = Failure("the worker died", retry=True, died=True)
HICCUP = Failure("OSError", retry=True)
BUG = Failure("ZeroDivisionError")
MISTAKE = Failure("the disk is full", user_mistake=True)


def splits(*sizes: int) -> list[Split]:
    return [Split(f"{number}", None, size) for number, size in enumerate(sizes)]


def begin(schedule: Schedule, now: float = 0.0) -> Split:
    split = schedule.next(now)
    assert split is not None
    return split


def test_large_ones_first_then_by_name() -> None:
    schedule = Schedule(splits(1, 5, 5, 9))
    assert [begin(schedule).id for _ in range(4)] == ["3", "1", "2", "0"]
    assert schedule.next(0) is None
    assert not schedule.is_done(), "they run"


def test_a_failed_one_rests_longer_each_time_and_others_go_on() -> None:
    schedule = Schedule(splits(9, 1), tries=12)
    split = begin(schedule)
    assert schedule.failed(split, HICCUP, now=0)
    assert begin(schedule).id == "1"
    pauses, now = [], 0.0
    for _ in range(10):
        assert schedule.next(now) is None
        pause = next(wait / 10 for wait in range(1, 400) if schedule.next(now + wait / 10))
        pauses.append(pause)
        now += pause
        assert schedule.failed(split, HICCUP, now)
    assert pauses[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert pauses[-1] == MAX_PAUSE_S


def test_the_last_try_of_a_split_whose_worker_died_is_made_alone() -> None:
    schedule = Schedule(splits(9, 1))
    suspect, other = begin(schedule), begin(schedule)
    for tried in range(1, TRIES):
        assert schedule.failed(suspect, DIED, now=100 * tried)
        if tried < TRIES - 1:
            assert schedule.next(100 * tried + 99) is suspect
    assert schedule.next(1e6) is None, "the other one still runs"
    schedule.committed(other)
    assert schedule.next(1e6) is suspect
    assert not schedule.failed(suspect, DIED, now=1e6)
    assert schedule.is_done()
    assert schedule.given_up["0"].message == f"the worker died, {TRIES} times, the last time alone"


def test_nothing_runs_beside_a_suspect() -> None:
    schedule = Schedule(splits(9, 8), tries=2)
    one, two = begin(schedule), begin(schedule)
    schedule.failed(one, DIED, now=0)
    schedule.failed(two, DIED, now=0)
    assert begin(schedule, 1) is one
    assert schedule.next(1) is None
    schedule.committed(one)
    assert begin(schedule, 2) is two
    schedule.committed(two)
    assert schedule.is_done()
    assert not schedule.given_up


def test_a_bug_is_given_up_at_once_and_the_others_run() -> None:
    schedule = Schedule(splits(9, 8))
    assert not schedule.failed(begin(schedule), BUG, now=0)
    schedule.committed(begin(schedule))
    assert schedule.is_done()
    assert list(schedule.given_up) == ["0"]


def test_the_users_mistake_stops_what_has_not_begun() -> None:
    schedule = Schedule(splits(9, 8, 7, 6))
    first, second, third = begin(schedule), begin(schedule), begin(schedule)
    schedule.failed(first, HICCUP, now=0)
    assert not schedule.failed(second, MISTAKE, now=0)
    assert schedule.next(1e6) is None
    schedule.committed(third)
    assert schedule.is_done()


def test_what_never_began_is_tried_again_however_often() -> None:
    schedule = Schedule([Split("0", None)])
    for now in range(100):
        assert schedule.next(now) == Split("0", None)
        assert schedule.failed(Split("0", None), GONE, now)
        assert schedule.next(now) is None, "at once"
    assert not schedule.is_done()
    assert schedule.attempts["0"] == 0

"""Which machine runs next: each at most once, one at a time, and no lane starves another."""

from engine.domain.ids import MachineUid
from engine.jobs.queue import ReadyQueue

ONE, TWO, THREE = (MachineUid(name) for name in ("one", "two", "three"))


def test_a_machine_is_queued_once() -> None:
    """However often it is woken."""
    queue = ReadyQueue()
    queue.wake(ONE)
    queue.wake(ONE)
    assert queue.depth() == 1
    assert queue.take(0) == ONE
    assert queue.take(0) is None


def test_a_machine_runs_once_at_a_time_and_no_wake_is_lost() -> None:
    """Woken while it runs, it is queued when its run ends, and only then."""
    queue = ReadyQueue()
    queue.wake(ONE)
    assert queue.take(0) == ONE
    queue.wake(ONE)
    queue.wake(ONE)
    assert queue.take(0) is None
    queue.done(ONE)
    assert queue.take(0) == ONE
    queue.done(ONE)
    assert queue.take(0) is None


def test_lanes_take_turns() -> None:
    """One class with many machines does not delay the one machine of another."""
    queue = ReadyQueue()
    for uid in (ONE, TWO):
        queue.wake(uid, "crowded")
    queue.wake(THREE, "lonely")
    assert [queue.take(0) for _ in range(3)] == [ONE, THREE, TWO]


def test_a_closed_queue_hands_out_nothing() -> None:
    """Also not what is queued."""
    queue = ReadyQueue()
    queue.wake(ONE)
    assert not queue.closed
    queue.close()
    assert queue.closed
    assert queue.take(60) is None

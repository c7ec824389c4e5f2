"""The clock that is turned by hand."""

import threading
from datetime import timedelta

from engine.simulators.clock import EPOCH, VirtualClock


def test_time_passes_only_when_told() -> None:
    """The clock stands still until it is advanced, slept or waited on, and it never goes back."""
    clock = VirtualClock()
    assert (clock.now(), clock.monotonic()) == (EPOCH, 0.0)
    clock.advance(timedelta(seconds=1))
    clock.sleep(timedelta(seconds=2))
    clock.sleep(timedelta(seconds=-5))
    assert clock.monotonic() == 3


def test_waiting_for_a_set_event_takes_no_time() -> None:
    """A wait for an event that is set returns at once; for one that is not, the whole span passes."""
    clock, event = VirtualClock(), threading.Event()
    assert not clock.wait(event, timedelta(seconds=5))
    event.set()
    assert clock.wait(event, timedelta(seconds=5))
    assert clock.monotonic() == 5


def test_threads_lose_no_time() -> None:
    """Spans that several threads let pass add up."""
    clock = VirtualClock()
    threads = [
        threading.Thread(target=lambda: [clock.advance(timedelta(seconds=1)) for _ in range(500)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic() == 2000

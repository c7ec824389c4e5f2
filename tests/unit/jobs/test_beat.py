"""What runs by itself: news, periods, faults, and a watch over whether it still beats."""

import threading
from collections.abc import Callable
from datetime import timedelta

from engine.clock import SystemClock
from engine.domain.states import DELETED_REST
from engine.jobs.prompt import Prompt
from engine.jobs.prune import BATCH_MAX, Prune
from engine.jobs.scheduler import Job, Scheduler
from engine.simulators.clock import VirtualClock
from tests.contract.store_records import START, entry, machine
from tests.model.model_store import ModelStore

SECONDS_MAX = 10.0


class Turns:
    """Counts its turns; some of them raise."""

    def __init__(self, *, fail_first: bool = False) -> None:
        self.fail_first = fail_first
        self.count = 0
        self.taken = threading.Event()

    def __call__(self) -> None:
        """One turn."""
        self.count += 1
        if self.count == 1 and self.fail_first:
            raise ValueError("a bug")
        self.taken.set()


def prompt(turn: Callable[[], None], news: threading.Event, *, clock: VirtualClock | SystemClock) -> Prompt:
    """A prompt that takes a turn every minute at least."""
    return Prompt(clock=clock, name="test", turn=turn, news=news, at_least=timedelta(minutes=1))


def test_news_are_dealt_with_at_once() -> None:
    """Without waiting for the period; a turn that raises is followed by the next."""
    turns, news = Turns(fail_first=True), threading.Event()
    job = prompt(turns, news, clock=SystemClock())
    job.start()
    news.set()
    assert turns.taken.wait(SECONDS_MAX)
    job.stop()
    assert turns.count >= 2
    job.stop()


def test_a_prompt_that_never_began_can_be_stopped() -> None:
    """There is no thread to wait for."""
    prompt(Turns(), threading.Event(), clock=VirtualClock()).stop()


def test_a_prompt_is_late_when_it_does_not_come_back() -> None:
    """After its period and its patience, and not before."""
    clock = VirtualClock()
    job = prompt(Turns(), threading.Event(), clock=clock)
    clock.advance(timedelta(minutes=3))
    assert not job.late()
    clock.advance(timedelta(seconds=1))
    assert job.late()


def test_a_job_beats_and_survives_its_faults() -> None:
    """A turn that raises is counted, and the next one comes."""
    turns = Turns(fail_first=True)
    scheduler = Scheduler(clock=SystemClock(), jobs=[Job(name="test", turn=turns, every=timedelta(milliseconds=10))])
    scheduler.start()
    assert turns.taken.wait(SECONDS_MAX)
    scheduler.stop()
    scheduler.stop()
    assert turns.count >= 2
    assert scheduler.late() == []


def test_a_job_that_does_not_come_back_is_late() -> None:
    """Each job has its own patience; one that returned beats anew."""
    clock = VirtualClock()
    slow = Job(name="slow", turn=lambda: None, every=timedelta(hours=1))
    quick = Job(name="quick", turn=lambda: None, every=timedelta(hours=1), patience=timedelta(seconds=1))
    scheduler = Scheduler(clock=clock, jobs=[slow, quick])
    assert scheduler.late() == [], "what never began is not late"
    scheduler.start()
    try:
        clock.advance(timedelta(hours=1, seconds=2))
        assert scheduler.late() == ["quick"]
        clock.advance(timedelta(minutes=3))
        assert scheduler.late() == ["slow", "quick"]
        scheduler._turn(quick)
        assert scheduler.late() == ["slow"]
    finally:
        scheduler.stop()


def test_old_lives_are_forgotten_in_batches() -> None:
    """Those that ended before the retention go, however many; the others stay."""
    store, clock = ModelStore(), VirtualClock(START + timedelta(days=40))
    for number in range(BATCH_MAX + 3):
        record = machine(number, place=DELETED_REST)
        store.admit(record=record, entry=entry(record))
    Prune(clock=clock, store=store, retention=timedelta(days=50)).turn()
    assert len(store._lives) == BATCH_MAX + 3
    Prune(clock=clock, store=store, retention=timedelta(days=30)).turn()
    assert not store._lives

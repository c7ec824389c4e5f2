"""The pace of an account."""

import threading
from collections.abc import Mapping
from datetime import timedelta
from email.utils import format_datetime

import pytest

from engine.ports.provider import ThrottledError
from engine.providers.pace import Pace, PaceSettings
from engine.simulators.clock import VirtualClock

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def pace(clock: VirtualClock) -> Pace:
    """Ten calls a second, twenty at once after a silence."""
    made = Pace(clock=clock, settings=PaceSettings())
    clock.advance(2 * SECOND)
    return made


def test_beginning_has_no_burst(clock: VirtualClock) -> None:
    """A process that starts anew and again makes no more calls than one that lives on."""
    begin = clock.monotonic()
    for _ in range(5):
        pace = Pace(clock=clock, settings=PaceSettings())
        for _ in range(11):
            pace.take_turn()
    assert clock.monotonic() - begin == pytest.approx(5)


def test_burst_is_free_and_the_rest_is_paced(pace: Pace, clock: VirtualClock) -> None:
    """Twenty calls go at once; the next hundred take a tenth of a second each."""
    begin = clock.monotonic()

    for _ in range(20):
        pace.take_turn()
    assert clock.monotonic() == begin
    for _ in range(100):
        pace.take_turn()

    assert clock.monotonic() - begin == pytest.approx(10)


def test_silence_refills_the_burst_and_no_more(pace: Pace, clock: VirtualClock) -> None:
    """After a long silence twenty calls are free again, not more."""
    for _ in range(20):
        pace.take_turn()
    clock.advance(timedelta(hours=1))
    begin = clock.monotonic()

    for _ in range(21):
        pace.take_turn()

    assert clock.monotonic() - begin == pytest.approx(0.1)


def test_long_wait_is_an_answer(clock: VirtualClock) -> None:
    """A turn further away than the caller may wait is refused at once, with the instant, and uses no turn."""
    pace = Pace(clock=clock, settings=PaceSettings(calls_per_second=1, burst=1))
    pace.take_turn()
    begin = clock.now()

    for _ in range(3):
        with pytest.raises(ThrottledError, match=r"free in 1\.0 s") as refused:
            pace.take_turn()
        assert refused.value.retry_at == begin + SECOND

    assert clock.now() == begin
    clock.advance(SECOND)
    pace.take_turn()
    assert clock.now() == begin + SECOND


def test_threads_share_the_turns() -> None:
    """However many threads ask, no more calls than the burst are let through at once."""

    class StillClock(VirtualClock):
        def sleep(self, span: timedelta) -> None:
            """Return at once; time stands still, so that only the turns count."""

    refused: list[ThrottledError] = []
    clock = StillClock()
    pace = Pace(clock=clock, settings=PaceSettings(calls_per_second=10, burst=20, wait_seconds_max=0.5))
    clock.advance(2 * SECOND)

    def ask() -> None:
        for _ in range(10):
            try:
                pace.take_turn()
            except ThrottledError as error:
                refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Twenty at once, then one each tenth of a second up to half a second; the last is a matter of rounding.
    assert 100 - len(refused) in {24, 25}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "7", "x-ratelimit-reset": "99999999999"}, 7),
        ({"retry-after": "DATE+30"}, 30),
        ({"x-ratelimit-reset": "EPOCH+12"}, 12),
        ({"retry-after": "86400"}, 300),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "soon"}, 1),
        ({"retry-after": "-5"}, 1),
        ({"retry-after": "9" * 400}, 1),
        ({"x-ratelimit-reset": "EPOCH-12"}, 1),
        ({}, 1),
    ],
)
def test_refusal_pauses_the_account(pace: Pace, clock: VirtualClock, headers: Mapping[str, str], seconds: int) -> None:
    """A 429 pauses all calls for the span that it names in one of its ways, within limits, or else for a second."""
    now = clock.now()
    epoch = int(now.timestamp())
    words = {
        "DATE+30": format_datetime(now + 30 * SECOND, usegmt=True),
        "EPOCH+12": str(epoch + 12),
        "EPOCH-12": str(epoch - 12),
    }

    retry_at = pace.learn(429, {name: words.get(value, value) for name, value in headers.items()})

    assert retry_at == now + seconds * SECOND
    with pytest.raises(ThrottledError) as refused:
        pace.take_turn()
    assert refused.value.retry_at == retry_at
    clock.advance(seconds * SECOND)
    pace.take_turn()


def test_unnamed_pauses_double_until_a_success(pace: Pace, clock: VirtualClock) -> None:
    """Each refusal after a pause doubles the next one, up to a minute; a success begins anew."""
    spans = []
    for _ in range(9):
        retry_at = pace.learn(429, {})
        assert retry_at
        spans.append((retry_at - clock.now()).total_seconds())
        clock.advance(retry_at - clock.now())
    pace.learn(200, {})

    assert spans == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert pace.learn(429, {}) == clock.now() + SECOND


def test_refusals_of_calls_under_way_count_once(pace: Pace, clock: VirtualClock) -> None:
    """Calls that were under way when the first refusal came do not lengthen the pause."""
    assert {pace.learn(429, {}) for _ in range(5)} == {clock.now() + SECOND}


def test_used_up_limit_pauses_before_the_first_refusal(pace: Pace, clock: VirtualClock) -> None:
    """An answer that says that nothing remains pauses the account until the reset."""
    reset = str(int(clock.now().timestamp()) + 20)

    assert pace.learn(200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset": reset}) is None
    pace.take_turn()
    assert pace.learn(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}) is None

    with pytest.raises(ThrottledError) as refused:
        pace.take_turn()
    assert refused.value.retry_at == clock.now() + 20 * SECOND

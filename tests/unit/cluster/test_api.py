"""One API server spoken to: credentials that expire, servers that fail, writes that are paced and counted."""

from datetime import timedelta
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.cluster.api import ApiServer, Writer
from engine.cluster.pace import TokenBucket, WriteCount
from engine.ports.cluster import ClusterDeniedError, ClusterUnavailableError, ConflictError
from engine.simulators.clock import VirtualClock
from engine.simulators.http import HttpRequest, HttpResponse
from tests.unit.cluster.stub import answer, refusal, served


class Doorkeeper:
    """Lets only one token in, and remembers which were shown."""

    def __init__(self) -> None:
        self.token = "Bearer old"
        self.shown: list[str] = []

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Yes or no."""
        self.shown.append(request.headers["authorization"])
        return answer({}) if self.shown[-1] == self.token else refusal(401)


def test_a_rotated_token_is_read_again_after_a_401(tmp_path: Path) -> None:
    """The file that the kubeconfig names holds a new token: the call succeeds without the caller noticing."""
    door, clock, file = Doorkeeper(), VirtualClock(), tmp_path / "token"
    file.write_text("old", "utf-8")
    with served(door, tmp_path, clock=clock, tokenFile=str(file)) as api:
        api.call("GET", "/version")
        door.token = "Bearer new"
        file.write_text("new", "utf-8")
        clock.advance(timedelta(minutes=1))
        api.call("GET", "/version")
    assert door.shown == ["Bearer old", "Bearer old", "Bearer new"]


def test_a_token_that_is_refused_for_good_is_not_read_in_a_loop(tmp_path: Path) -> None:
    """A 401 right after reading the credentials is an answer, and says that we are denied."""
    door, clock = Doorkeeper(), VirtualClock()
    with served(door, tmp_path, clock=clock, token="wrong") as api:
        clock.advance(timedelta(minutes=1))
        for _ in range(3):
            with pytest.raises(ClusterDeniedError):
                api.call("GET", "/version")
    # One call in the first ten seconds after reading is tried twice.
    assert len(door.shown) == 4


def test_credentials_that_vanished_are_said_and_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A kubeconfig that is being replaced just now is no reason to end."""
    door, clock = Doorkeeper(), VirtualClock()
    with served(door, tmp_path, clock=clock, token="wrong") as api:
        clock.advance(timedelta(minutes=1))
        (tmp_path / "kubeconfig").unlink()
        with pytest.raises(ClusterDeniedError):
            api.call("GET", "/version")
    assert "cannot be read again" in caplog.text


@pytest.mark.parametrize("response", [HttpResponse(status=200, hang_up=True), refusal(500), refusal(429)])
def test_no_answer_means_unavailable(tmp_path: Path, response: HttpResponse) -> None:
    """Cut connections, failures and refusals to serve are all the same decision; nothing is repeated here."""
    asked: list[HttpRequest] = []

    def handle(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        return response

    with (
        served(handle, tmp_path, clock=SystemClock()) as api,
        pytest.raises(ClusterUnavailableError, match="GET /version"),
    ):
        api.call("GET", "/version")
    assert len(asked) == 1


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """Nobody listens: the port's error, and no other."""
    with served(lambda _request: answer({}), tmp_path, clock=SystemClock()) as api:
        pass
    with pytest.raises(ClusterUnavailableError):
        api.call("GET", "/version")


def test_a_slow_answer_is_given_up(tmp_path: Path) -> None:
    """The time-out holds although the connection is open."""
    slow = HttpResponse(status=200, delay=timedelta(seconds=2))
    with served(lambda _request: slow, tmp_path, clock=SystemClock()) as api, pytest.raises(ClusterUnavailableError):
        api.call("GET", "/version", timeout=(1, 0.1))


def writer_of(api: ApiServer, count: WriteCount) -> Writer:
    return Writer(api, pace=TokenBucket(qps=100, burst=100, clock=SystemClock()), count=count)


def test_writes_are_counted_and_carry_their_format(tmp_path: Path) -> None:
    """Each write counts by verb and resource, also a refused one, and the listener hears it."""
    asked: list[tuple[str, str]] = []
    heard: list[tuple[str, str]] = []

    def handle(request: HttpRequest) -> HttpResponse:
        asked.append((request.method, request.headers["content-type"]))
        return refusal(409) if request.method == "POST" else answer({})

    count = WriteCount(lambda verb, resource: heard.append((verb, resource)))
    with served(handle, tmp_path, clock=SystemClock()) as api:
        writer = writer_of(api, count)
        writer.patch("machines/status", "/m/status", {})
        writer.patch("machines/status", "/m/status", {})
        writer.delete("nodes", "/n", {})
        with pytest.raises(ConflictError):
            writer.create("events", "/e", {})
    assert asked == [
        ("PATCH", "application/merge-patch+json"),
        ("PATCH", "application/merge-patch+json"),
        ("DELETE", "application/json"),
        ("POST", "application/json"),
    ]
    assert count.snapshot() == {("patch", "machines/status"): 2, ("delete", "nodes"): 1, ("create", "events"): 1}
    assert len(heard) == 4


def test_the_pace_allows_a_burst_and_then_a_rate() -> None:
    """Thirty at once, then twenty a second; after a rest, a burst again."""
    clock = VirtualClock()
    bucket = TokenBucket(qps=20, burst=30, clock=clock)
    for _ in range(30):
        bucket.take()
    assert clock.monotonic() == 0
    for _ in range(40):
        bucket.take()
    assert clock.monotonic() == pytest.approx(2, abs=0.01)
    clock.advance(timedelta(minutes=1))
    rested_at = clock.monotonic()
    for _ in range(30):
        bucket.take()
    assert clock.monotonic() == pytest.approx(rested_at)

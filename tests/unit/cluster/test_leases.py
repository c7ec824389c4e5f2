"""The election, with time and outages under control."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.clock import SystemClock
from engine.cluster.api import ApiServer
from engine.cluster.leases import LeaderElector, LeaseSettings
from engine.cluster.pace import WriteCount
from engine.errors import ConfigurationError
from engine.simulators.clock import VirtualClock
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.kube import KubeSimulator, Ref
from engine.simulators.seed import Seed
from tests.unit.cluster.stub import answer, refusal, served

LEASE = Ref(api_version="coordination.k8s.io/v1", kind="Lease", name="machine-controller", namespace="shoot")


class Election:
    """Candidates before one API server; time passes only when told, and the server can be away."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.kube = KubeSimulator(clock=clock, seed=Seed(1))
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shoot"}})
        self.api: ApiServer
        self.away = False
        self.verbs: set[str] = set()

    def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer, unless away."""
        self.verbs.add(request.method)
        return refusal(503) if self.away else self.kube.handle(request)

    def candidate(self, identity: str, **more: Any) -> LeaderElector:
        """Somebody who wants to lead."""
        return LeaderElector(self.api, namespace="shoot", identity=identity, clock=self.clock, **more)

    def lease(self) -> dict[str, Any]:
        """What the Lease says."""
        found = self.kube.read(LEASE)
        assert found
        spec: dict[str, Any] = found["spec"]
        return spec

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(timedelta(seconds=seconds))


@pytest.fixture
def election(tmp_path: Path) -> Iterator[Election]:
    """An API server without a Lease."""
    found = Election(VirtualClock())
    with served(found.handle, tmp_path, clock=found.clock) as found.api:
        yield found
        found.kube.close()


def test_the_first_candidate_leads(election: Election) -> None:
    """The Lease is made as the Go controller makes it, and only with the verbs get, create and update."""
    count = WriteCount()
    elector = election.candidate("a", count=count)
    assert not elector.is_leader()
    elector.try_once()
    assert elector.is_leader()
    lease = election.lease()
    assert (lease["holderIdentity"], lease["leaseDurationSeconds"], lease["leaseTransitions"]) == ("a", 15, 0)
    assert lease["acquireTime"] == lease["renewTime"] == "2026-01-01T00:00:00.000000Z"
    election.wait(2)
    elector.try_once()
    assert election.lease()["acquireTime"] == "2026-01-01T00:00:00.000000Z"
    assert election.lease()["renewTime"] == "2026-01-01T00:00:02.000000Z"
    assert election.verbs == {"GET", "POST", "PUT"}
    assert count.snapshot() == {("create", "leases"): 1, ("update", "leases"): 1}


def test_a_second_candidate_waits_while_the_first_renews(election: Election) -> None:
    """As long as the Lease changes, nobody else leads."""
    first, second = election.candidate("a"), election.candidate("b")
    for _ in range(20):
        first.try_once()
        second.try_once()
        assert (first.is_leader(), second.is_leader()) == (True, False)
        election.wait(2)


def test_a_silent_leader_is_followed_after_the_lease_and_never_overlaps(election: Election) -> None:
    """The old leader has stopped believing in itself before the new one begins; the Lease has changed hands once."""
    first, second = election.candidate("a"), election.candidate("b")
    first.try_once()
    for seconds in range(20):
        second.try_once()
        assert not (first.is_leader() and second.is_leader())
        assert first.is_leader() == (seconds < 10)
        assert second.is_leader() == (seconds >= 15)
        election.wait(1)
    assert election.lease()["leaseTransitions"] == 1
    assert second.transitions == 1


def test_the_clocks_of_others_are_not_believed(election: Election) -> None:
    """A renewal far in the past or future by the holder's clock changes nothing: only changes that we see count."""
    election.candidate("a").try_once()
    election.kube.patch(LEASE, {"spec": {"renewTime": "1999-01-01T00:00:00.000000Z"}})
    second = election.candidate("b")
    second.try_once()
    election.wait(14)
    second.try_once()
    assert not second.is_leader()
    election.wait(2)
    second.try_once()
    assert second.is_leader()


def test_a_restarted_leader_leads_at_once(election: Election) -> None:
    """The same identity takes its own Lease without waiting, and hands do not change."""
    election.candidate("a").try_once()
    again = election.candidate("a")
    again.try_once()
    assert again.is_leader()
    assert election.lease()["leaseTransitions"] == 0


def test_a_leader_that_cannot_renew_fences_itself_and_is_told(election: Election) -> None:
    """It stops believing after the renew deadline without any answer; the loss is told once; it can win again."""
    told: list[str] = []
    elector = election.candidate("a")
    elector._on_started, elector._on_lost = lambda: told.append("started"), lambda: told.append("lost")
    elector.try_once()
    election.away = True
    for _ in range(8):
        election.wait(2)
        elector.try_once()
    assert not elector.is_leader()
    assert told == ["started", "lost"]
    election.away = False
    elector.try_once()
    assert elector.is_leader()
    assert told == ["started", "lost", "started"]


def test_belief_is_counted_from_before_the_request(election: Election) -> None:
    """A renewal that took eight seconds is worth two."""
    elector = election.candidate("a")
    elector.try_once()
    honest = election.kube.handle

    def slow(request: HttpRequest) -> HttpResponse:
        if request.method == "PUT":
            election.wait(8)
        return honest(request)

    election.kube.handle = slow  # type: ignore[method-assign]  # a slow server
    elector.try_once()
    assert elector.is_leader()
    election.wait(2.1)
    assert not elector.is_leader()


def test_a_stolen_lease_is_lost_at_once(election: Election) -> None:
    """Who sees another holder does not lead, whatever the clock says."""
    elector = election.candidate("a")
    elector.try_once()
    election.kube.patch(LEASE, {"spec": {"holderIdentity": "b"}})
    elector.try_once()
    assert not elector.is_leader()


def test_a_lost_race_is_no_victory(election: Election) -> None:
    """Of two who find the Lease free, one leads."""
    election.kube.apply(
        {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": LEASE.name, "namespace": "shoot"}}
    )
    slow, fast = election.candidate("slow"), election.candidate("fast")
    read = slow._read()
    slow._read = lambda: read  # type: ignore[method-assign]  # it reads before the other writes
    fast.try_once()
    slow.try_once()
    assert fast.is_leader()
    assert not slow.is_leader()


def test_stop_gives_the_lease_back(tmp_path: Path) -> None:
    """The next leader need not wait; start and end are told; the thread is gone."""
    kube = KubeSimulator(clock=SystemClock(), seed=Seed(1))
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shoot"}})
    started, lost = threading.Event(), threading.Event()
    with served(kube.handle, tmp_path, clock=SystemClock()) as api:
        first = LeaderElector(api, namespace="shoot", identity="a", clock=SystemClock())
        first.start(on_started=started.set, on_lost=lost.set)
        assert started.wait(5)
        first.stop()
        assert not first.is_leader()
        assert not lost.is_set()
        found = kube.read(LEASE)
        assert found
        assert found["spec"].get("holderIdentity", "") == ""
        second = LeaderElector(api, namespace="shoot", identity="b", clock=SystemClock())
        second.try_once()
        assert second.is_leader()
    kube.close()


@pytest.mark.parametrize("spec", [None, {}, {"holderIdentity": "", "leaseTransitions": None}])
def test_an_empty_lease_is_free(tmp_path: Path, spec: dict[str, Any] | None) -> None:
    """A Lease that somebody made without a holder is taken."""
    written: list[dict[str, Any]] = []

    def handle(request: HttpRequest) -> HttpResponse:
        if request.method == "PUT":
            written.append(json.loads(request.body))
        return answer({"metadata": {"name": "machine-controller", "uid": "u", "resourceVersion": "7"}, "spec": spec})

    with served(handle, tmp_path, clock=VirtualClock()) as api:
        elector = LeaderElector(api, namespace="shoot", identity="a", clock=VirtualClock())
        elector.try_once()
        assert elector.is_leader()
    assert written[0]["metadata"]["resourceVersion"] == "7"


def test_spans_that_cannot_work_are_refused(election: Election) -> None:
    """The deadline must lie between the retry period and the lease duration."""
    with pytest.raises(ConfigurationError, match="renew deadline"):
        election.candidate("a", settings=LeaseSettings(renew_deadline=timedelta(seconds=20)))

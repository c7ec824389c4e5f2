"""The checks before the start and for the doctor."""

import itertools
import json
import logging
import threading
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.cluster.api import ApiServer
from engine.cluster.checks import LOOK_AGAIN_AFTER, await_start, check_start, missing_permissions
from engine.cluster.connect import ApiServers
from engine.errors import ClusterError
from engine.ports.cluster import ClusterUnavailableError
from engine.simulators.clock import VirtualClock
from engine.simulators.http import HttpRequest, HttpResponse
from tests.unit.cluster.stub import answer, refusal, served

KNOWN = ["machines", "machines/status", "machineclasses", "machinesets"]


def servers_of(api: ApiServer) -> ApiServers:
    return ApiServers(control=api, target=api)


def discovery(*names: str) -> HttpResponse:
    return answer({"kind": "APIResourceList", "resources": [{"name": name} for name in names]})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (refusal(404), "machines, machines/status, machineclasses"),
        (HttpResponse(status=404, body=b"404 page not found\n"), "apply kubernetes/crds"),
        (discovery("machines", "machines/status"), "does not know machineclasses"),
    ],
)
def test_missing_definitions_are_named(tmp_path: Path, found: HttpResponse, words: str) -> None:
    """The error says what is missing, where, and what to do."""

    def handle(request: HttpRequest) -> HttpResponse:
        return answer({}) if request.path == "/version" else found

    with served(handle, tmp_path, clock=SystemClock()) as api, pytest.raises(ClusterError, match=words):
        check_start(servers_of(api))


def test_a_fit_cluster_passes(tmp_path: Path) -> None:
    """Everything is there; a server that is both control and target is asked once."""
    asked: list[str] = []

    def handle(request: HttpRequest) -> HttpResponse:
        asked.append(request.path)
        return discovery(*KNOWN)

    with served(handle, tmp_path, clock=SystemClock()) as api:
        check_start(servers_of(api))
    assert asked.count("/version") == 1


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    """Nobody answers: the error says which cluster."""
    with served(lambda _request: answer({}), tmp_path, clock=SystemClock()) as api:
        pass
    with pytest.raises(ClusterUnavailableError, match="the target cluster"):
        check_start(servers_of(api))


def test_a_start_waits_for_a_cluster_that_is_not_fit_yet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An outage, then missing definitions: each is said once and looked at again and again, until all is there."""
    looks, clock = itertools.count(), VirtualClock()

    def handle(request: HttpRequest) -> HttpResponse:
        if request.path == "/version":
            return refusal(503) if next(looks) < 3 else answer({})
        return refusal(404) if next(looks) < 10 else discovery(*KNOWN)

    with served(handle, tmp_path, clock=clock) as api, caplog.at_level(logging.WARNING):
        assert await_start(servers_of(api), clock=clock, stopping=threading.Event())
    said = [record.__dict__["reason"] for record in caplog.records]
    assert len(said) == 2
    assert "503" in said[0]
    assert "apply kubernetes/crds" in said[1]
    assert clock.monotonic() >= 5 * LOOK_AGAIN_AFTER.total_seconds()


def test_a_start_that_waits_can_be_stopped(tmp_path: Path) -> None:
    """Who is asked to end while it waits for a cluster does not start."""
    stopping = threading.Event()

    def handle(_request: HttpRequest) -> HttpResponse:
        stopping.set()
        return refusal(503)

    with served(handle, tmp_path, clock=VirtualClock()) as api:
        assert not await_start(servers_of(api), clock=VirtualClock(), stopping=stopping)


def test_what_is_not_allowed_is_listed(tmp_path: Path) -> None:
    """Each missing permission is a sentence for an operator; what is allowed is not mentioned."""

    def handle(request: HttpRequest) -> HttpResponse:
        attributes = json.loads(request.body)["spec"]["resourceAttributes"]
        refused = attributes["resource"] == "nodes" or attributes["subresource"] == "status"
        return answer({"status": {"allowed": not refused}})

    with served(handle, tmp_path, clock=SystemClock()) as api:
        missing = missing_permissions(servers_of(api), namespace="shoot")
    assert missing == [
        "patch machines/status.machine.sapcloud.io in namespace shoot at the target cluster",
        "list nodes cluster-wide at the target cluster",
        "watch nodes cluster-wide at the target cluster",
        "patch nodes cluster-wide at the target cluster",
        "delete nodes cluster-wide at the target cluster",
    ]


def test_a_server_without_reviews_refuses_nobody(tmp_path: Path) -> None:
    """The embedded API server knows no RBAC; nothing is missing there."""
    with served(lambda _request: refusal(404), tmp_path, clock=SystemClock()) as api:
        assert missing_permissions(servers_of(api), namespace="shoot") == []

"""The checks before the start and for the doctor."""

import json
from pathlib import Path

import pytest

from engine.clock import SystemClock
from engine.cluster.api import ApiServer
from engine.cluster.checks import check_start, missing_permissions
from engine.cluster.connect import ApiServers
from engine.errors import ClusterError
from engine.ports.cluster import ClusterUnavailableError
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

"""Nodes that are sick together, and a Node that somebody else holds: no server is lost or kept for it."""

from collections.abc import Iterator

import pytest

from engine.simulators.metal import Operation
from tests.acceptance.programs import ControllerProcess, eventually
from tests.acceptance.stage import Json
from tests.contract.cluster_user import MERGE
from tests.live.stage import LiveStage

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(180)]

WHEN = "2026-01-01T00:00:00Z"  # Nobody judges heartbeats here.
FOREIGN = "example.com/somebody-elses"


@pytest.fixture(autouse=True)
def books(scene: LiveStage, controller: ControllerProcess) -> Iterator[None]:
    """At the end of each test everything is deleted and the books balance."""
    yield
    scene.balance(controller)


def judge(scene: LiveStage, status: str, *names: str) -> None:
    """These Nodes are Ready, or not, or nobody knows."""
    condition: Json = {"type": "Ready", "status": status, "reason": "Test", "message": f"it is {status}"}
    condition |= {"lastHeartbeatTime": WHEN, "lastTransitionTime": WHEN}
    for name in names:
        path = f"/api/v1/nodes/{name}/status"
        scene.user.request("PATCH", path, {"status": {"conditions": [condition]}}, MERGE)


def told(scene: LiveStage, reason: str) -> str:
    """What kubectl shows of the Events of one reason."""
    return scene.kubectl("get", "events", f"--field-selector=reason={reason}")


def test_f11_meltdown_of_all_nodes_costs_no_server(scene: LiveStage) -> None:
    """When every Node is lost at once, a breaker says so to kubectl, nothing is deleted, and it closes by itself."""
    names = [f"melts-{number}" for number in range(5)]
    scene.make_machines(*names)
    scene.await_phase("Running", *names)

    judge(scene, "Unknown", *names)

    scene.await_phase("Unknown", *names)
    eventually(lambda: "5 of 5 machines" in told(scene, "BreakerOpened"))
    scene.see_lists(4)
    assert scene.metal.journal.calls[Operation.DELETE] == 0
    assert {each.hostname for each in scene.metal.billing()} == set(names)
    judge(scene, "True", *names)
    scene.await_phase("Running", *names)
    eventually(lambda: "most Nodes are Ready again" in told(scene, "BreakerClosed"))
    assert len(scene.metal.history()) == len(names)


def test_f12_node_that_somebody_else_holds_keeps_no_server(scene: LiveStage) -> None:
    """A Node with a foreign finalizer stays when its Machine is deleted; the server goes back, and the Machine goes."""
    scene.make_machines("held-1")
    scene.await_phase("Running", "held-1")
    scene.user.patch("nodes", "held-1", {"metadata": {"finalizers": [FOREIGN]}})

    scene.delete_machines("held-1")

    scene.await_gone("held-1")
    assert [each for each in scene.metal.billing() if each.hostname == "held-1"] == []
    assert scene.user.get("nodes", "held-1")["metadata"]["deletionTimestamp"]
    scene.user.patch("nodes", "held-1", {"metadata": {"finalizers": None}})
    eventually(lambda: not scene.user.exists("nodes", "held-1"))

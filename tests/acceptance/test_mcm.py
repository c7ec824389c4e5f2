"""The real machine controller manager on our definitions, with our controller and servers that join."""

import pytest

from engine.simulators.metal import FaultKind, FaultRule
from tests.acceptance.programs import eventually
from tests.acceptance.stage import Json, Stage, is_absent, phase_of
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(180)]

MCM_SECONDS_MAX = 60.0  # MCM works in passes of five seconds; a shared machine is slow.


def running(stage: Stage) -> set[str]:
    """The Machines that joined."""
    return {name for name, phase in stage.phases().items() if phase == "Running"}


def deployment(stage: Stage) -> Json:
    """The status that MCM reports of our sample."""
    status: Json = stage.user.request("GET", f"{_deployments(stage)}/workers").get("status", {})
    return status


def declare(stage: Stage) -> None:
    """Class, Secret and deployment are there, and the controller runs."""
    stage.controller().start()
    stage.apply(*stage.sample("machine-class.yaml", "secret.yaml", "machine-deployment.yaml"))


def test_deployment_is_brought_up_scaled_and_deleted_by_the_real_mcm(stage: Stage, controlplane: ControlPlane) -> None:
    """Three machines join, two more after scaling, and after the deletion the cloud holds nothing."""
    declare(stage)
    controlplane.start_mcm(stage.namespace)

    eventually(lambda: len(running(stage)) == 3, seconds_max=MCM_SECONDS_MAX)
    eventually(lambda: deployment(stage).get("availableReplicas") == 3, seconds_max=MCM_SECONDS_MAX)
    assert len(stage.metal.billing()) == 3
    assert stage.nodes() == running(stage)

    stage.kubectl("scale", "mcd", "workers", "--replicas=5")

    eventually(lambda: len(running(stage)) == 5, seconds_max=MCM_SECONDS_MAX)
    eventually(lambda: deployment(stage).get("availableReplicas") == 5, seconds_max=MCM_SECONDS_MAX)
    assert len(stage.metal.billing()) == 5

    stage.kubectl("delete", "mcd", "workers", "--timeout=50s")

    stage.await_gone(seconds_max=MCM_SECONDS_MAX)
    stage.assert_nothing_left()
    eventually(lambda: stage.nodes() == set())
    assert len(stage.metal.history()) == 5
    stage.kubectl("delete", "mcc", "--all", "--timeout=20s")
    stage.kubectl("delete", "secret", "equinix-metal", "--timeout=20s")
    assert is_absent(stage.user, "secrets", "equinix-metal")


def test_failed_machine_is_replaced_by_the_real_mcm_and_leaves_no_server(
    stage: Stage, controlplane: ControlPlane
) -> None:
    """A device that fails makes its Machine Failed; MCM orders another, and the failed one's server is returned."""
    stage.metal.faults.add(FaultRule(kind=FaultKind.FAIL_AND_STAY, left=1))
    seen_failed: set[str] = set()
    declare(stage)
    controlplane.start_mcm(stage.namespace)

    def replaced() -> bool:
        machines = stage.machines()
        seen_failed.update(name for name, machine in machines.items() if phase_of(machine) == "Failed")
        return len(running(stage)) == 3 and len(stage.metal.history()) == 4 and len(machines) == 3

    eventually(replaced, seconds_max=MCM_SECONDS_MAX)

    (failed,) = [device for device in stage.metal.history() if device.active_at is None]
    assert seen_failed <= {failed.hostname}
    assert failed.hostname not in running(stage)
    assert {device.hostname for device in stage.metal.billing()} == running(stage)
    stage.kubectl("delete", "mcd", "workers", "--timeout=50s")
    stage.await_gone(seconds_max=MCM_SECONDS_MAX)
    stage.assert_nothing_left()


def _deployments(stage: Stage) -> str:
    return f"/apis/machine.sapcloud.io/v1alpha1/namespaces/{stage.namespace}/machinedeployments"

"""The real control plane and the real MCM on our definitions: what other programs rely on."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.plane import ControlPlane, KubectlError

pytestmark = pytest.mark.controlplane

MANIFESTS = Path(__file__).resolve().parents[2] / "kubernetes"
FACT_SECONDS_MAX = 60.0  # MCM works in passes of five seconds; a shared machine is slow.


def eventually(fact: Callable[[], Any]) -> Any:
    """The first true value of `fact`, asked for again and again until the limit."""
    deadline = time.monotonic() + FACT_SECONDS_MAX
    while not (value := fact()):
        assert time.monotonic() < deadline, f"never became true: {fact}"
        time.sleep(0.2)
    return value


def header(table: str) -> list[str]:
    return re.split(r"\s{2,}", table.splitlines()[0].strip())


@pytest.mark.parametrize("plural", ["machines", "machineclasses", "machinesets", "machinedeployments"])
def test_definitions_are_established_and_their_names_accepted(controlplane: ControlPlane, plural: str) -> None:
    """The API server takes each definition as it is, without a complaint about its schema."""
    definition = controlplane.get("customresourcedefinition", f"{plural}.machine.sapcloud.io")

    conditions = {each["type"]: each["status"] for each in definition["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


def test_kubectl_shows_machines_in_the_contracts_columns(controlplane: ControlPlane, control_namespace: str) -> None:
    """`kubectl get mc` prints status, age and node; the provider id is for wide output only."""
    controlplane.apply(MANIFESTS / "machines" / "plain.yaml", namespace=control_namespace)

    narrow = controlplane.kubectl("get", "mc", f"--namespace={control_namespace}")
    wide = controlplane.kubectl("get", "mc", f"--namespace={control_namespace}", "--output=wide")

    assert header(narrow) == ["NAME", "STATUS", "AGE", "NODE"]
    assert header(wide) == ["NAME", "STATUS", "AGE", "NODE", "PROVIDERID"]


def test_samples_are_taken_without_a_warning(controlplane: ControlPlane, control_namespace: str) -> None:
    """Every sample passes strict validation: no field of it is unknown to the API server."""
    files = [MANIFESTS / name for name in ("machine-class.yaml", "secret.yaml", "machine-deployment.yaml")]

    for file in [*files, *(MANIFESTS / "machines").glob("*.yaml")]:
        said = controlplane.kubectl(
            "apply", f"--namespace={control_namespace}", "--validate=strict", "--filename", file
        )
        assert "Warning" not in said


def test_status_that_go_programs_write_is_kept_whole(controlplane: ControlPlane, control_namespace: str) -> None:
    """Times that are null, and every status field of the contract, survive the way through the API server."""
    controlplane.apply(MANIFESTS / "machines" / "plain.yaml", namespace=control_namespace)
    machine = controlplane.get("mc", "plain-1", f"--namespace={control_namespace}")
    status = {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "r", "message": "m"}
            | {"lastHeartbeatTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        ],
        "currentStatus": {"phase": "Failed", "timeoutActive": True, "lastUpdateTime": None}
        | {"preserveExpiryTime": "2026-01-01T00:00:00Z"},
        "lastKnownState": "opaque",
        "lastOperation": {"description": "d", "errorCode": "Internal", "lastUpdateTime": None}
        | {"state": "Failed", "type": "Create"},
    }

    controlplane.replace_status(machine | {"status": status})

    assert controlplane.get("mc", "plain-1", f"--namespace={control_namespace}")["status"] == status


def test_user_without_a_rule_is_refused(controlplane: ControlPlane, control_namespace: str) -> None:
    """RBAC is on: a user who may list Machines may not delete them, nor look into another namespace."""
    rules = [{"apiGroups": ["machine.sapcloud.io"], "resources": ["machines"], "verbs": ["get", "list"]}]
    controlplane.make_user("reader", rules, namespace=control_namespace)
    controlplane.apply(MANIFESTS / "machines" / "plain.yaml", namespace=control_namespace)

    seen = controlplane.kubectl("get", "mc", f"--namespace={control_namespace}", user="reader")

    assert "plain-1" in seen
    with pytest.raises(KubectlError, match='cannot delete resource "machines"'):
        controlplane.kubectl("delete", "mc", "plain-1", f"--namespace={control_namespace}", user="reader")
    with pytest.raises(KubectlError, match="forbidden"):
        controlplane.kubectl("get", "mc", "--namespace=kube-system", user="reader")


def test_objects_survive_a_restart_of_the_api_server(controlplane: ControlPlane, control_namespace: str) -> None:
    """After an outage the same address answers and knows what it knew."""
    controlplane.apply(MANIFESTS / "machines" / "plain.yaml", namespace=control_namespace)

    controlplane.restart_apiserver()

    assert "plain-1" in controlplane.kubectl("get", "mc", f"--namespace={control_namespace}")


def test_real_mcm_makes_machines_of_our_deployment(controlplane: ControlPlane, control_namespace: str) -> None:
    """The unchanged Go manager makes a MachineSet and three Machines of our MachineDeployment, and scales them."""
    for name in ("secret.yaml", "machine-class.yaml", "machine-deployment.yaml"):
        controlplane.apply(MANIFESTS / name, namespace=control_namespace)

    controlplane.start_mcm(control_namespace)

    def items(kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = controlplane.get(kind, f"--namespace={control_namespace}")["items"]
        return found

    machines = eventually(lambda: (got := items("mc")) and len(got) >= 3 and got)
    (machine_set,) = items("mcs")
    assert len(machines) == 3
    assert {machine["metadata"]["ownerReferences"][0]["uid"] for machine in machines} == {
        machine_set["metadata"]["uid"]
    }
    assert all(machine["spec"]["class"] == {"kind": "MachineClass", "name": "plain"} for machine in machines)
    eventually(lambda: items("mcd")[0].get("status", {}).get("unavailableReplicas") == 3)

    controlplane.kubectl("scale", "mcd", "workers", "--replicas=1", f"--namespace={control_namespace}")

    eventually(lambda: len(items("mc")) == 1)


def test_real_mcm_replaces_a_failed_machine_and_reports_it(controlplane: ControlPlane, control_namespace: str) -> None:
    """What MCM reads and writes about a failed Machine passes through our definitions unharmed."""
    for name in ("machine-class.yaml", "machine-deployment.yaml"):
        controlplane.apply(MANIFESTS / name, namespace=control_namespace)
    mcm = controlplane.start_mcm(control_namespace)

    def machines() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = controlplane.get("mc", f"--namespace={control_namespace}")["items"]
        return found

    first = eventually(lambda: (got := machines()) and len(got) == 3 and got)[0]
    now = {"lastUpdateTime": "2026-01-01T00:00:00Z"}
    operation = now | {
        "description": "no capacity",
        "errorCode": "ResourceExhausted",
        "state": "Failed",
        "type": "Create",
    }
    controlplane.replace_status(
        first | {"status": {"currentStatus": now | {"phase": "Failed"}, "lastOperation": operation}}
    )

    survivors = eventually(
        lambda: (
            (names := {each["metadata"]["name"] for each in machines()})
            and first["metadata"]["name"] not in names
            and len(names) == 3
        )
    )
    assert survivors
    log = mcm.log.read_text("utf-8")
    assert "Invalid value" not in log
    assert "unknown field" not in log

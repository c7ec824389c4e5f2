"""The rights that we ship, as a real API server reads them."""

from pathlib import Path

import pytest

from tests.controlplane.plane import ControlPlane, KubectlError

pytestmark = pytest.mark.controlplane

OVERLAY = Path(__file__).resolve().parents[2] / "kubernetes" / "overlays" / "single-cluster"
ACCOUNT = "--as=system:serviceaccount:default:machine-engine"

NEEDED = [
    ("watch", "machines.machine.sapcloud.io", "default"),
    ("patch", "machines.machine.sapcloud.io", "default"),
    ("delete", "machines.machine.sapcloud.io", "default"),
    ("patch", "machines.machine.sapcloud.io --subresource=status", "default"),
    ("patch", "machineclasses.machine.sapcloud.io", "default"),
    ("list", "secrets", "default"),
    ("patch", "secrets", "default"),
    ("create", "events.events.k8s.io", "default"),
    ("create", "leases.coordination.k8s.io", "default"),
    ("update", "leases.coordination.k8s.io/machine-controller", "default"),
    ("delete", "nodes", None),
    ("patch", "nodes --subresource=status", None),
    ("delete", "pods", "anywhere"),
    ("create", "pods --subresource=eviction", "anywhere"),
    ("watch", "poddisruptionbudgets.policy", "anywhere"),
    ("watch", "persistentvolumeclaims", "anywhere"),
    ("delete", "volumeattachments.storage.k8s.io", None),
    ("create", "secrets", "kube-system"),
    ("delete", "secrets", "kube-system"),
]
REFUSED = [
    ("create", "machines.machine.sapcloud.io", "default"),
    ("list", "machines.machine.sapcloud.io", "anywhere"),
    ("delete", "machineclasses.machine.sapcloud.io", "default"),
    ("list", "secrets", "anywhere"),
    ("list", "secrets", "kube-system"),
    ("update", "secrets", "kube-system"),
    ("update", "leases.coordination.k8s.io/machine-controller-manager", "default"),
    ("create", "pods", "default"),
    ("create", "pods --subresource=exec", "default"),
    ("create", "nodes", None),
    ("create", "rolebindings.rbac.authorization.k8s.io", "default"),
]


@pytest.fixture(scope="module")
def deployed(controlplane: ControlPlane) -> ControlPlane:
    """The control plane after the overlay was applied, every object of it checked strictly."""
    controlplane.kubectl("apply", "--kustomize", OVERLAY, "--validate=strict")
    return controlplane


def allowed(plane: ControlPlane, verb: str, resource: str, namespace: str | None) -> bool:
    scope = [f"--namespace={namespace}"] if namespace else []
    try:
        answer = plane.kubectl("auth", "can-i", verb, *resource.split(), *scope, ACCOUNT)
    except KubectlError as error:
        answer = str(error)  # A no is an exit code too.
    assert "doesn't have a resource type" not in answer
    words = [line for line in answer.splitlines() if line and not line.startswith("Warning")]
    assert words in (["yes"], ["no"]), answer
    return words == ["yes"]


def test_what_the_program_does_is_allowed(deployed: ControlPlane) -> None:
    """The program's account may do each thing that it needs, where it needs it."""
    refused = [each for each in NEEDED if not allowed(deployed, *each)]

    assert refused == []


def test_what_the_program_never_does_is_refused(deployed: ControlPlane) -> None:
    """The program's account reads no other namespace, makes no Machines or pods, and gives itself no rights."""
    granted = [each for each in REFUSED if allowed(deployed, *each)]

    assert granted == []

"""Where things are in the API."""

MACHINES_GROUP = "machine.sapcloud.io"
MACHINES_API = f"/apis/{MACHINES_GROUP}/v1alpha1"
NODES = "/api/v1/nodes"
VERSION = "/version"


def machines(namespace: str) -> str:
    """Answer the path of the Machines."""
    return f"{MACHINES_API}/namespaces/{namespace}/machines"


def machine_classes(namespace: str) -> str:
    """Answer the path of the MachineClasses."""
    return f"{MACHINES_API}/namespaces/{namespace}/machineclasses"


def secrets(namespace: str) -> str:
    """Answer the path of the Secrets."""
    return f"/api/v1/namespaces/{namespace}/secrets"


def events(namespace: str) -> str:
    """Answer the path of the Events that `kubectl describe` shows."""
    return f"/api/v1/namespaces/{namespace}/events"


def leases(namespace: str) -> str:
    """Answer the path of the Leases."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

"""Whether a cluster is fit to start on, and what we are not allowed to do there."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from engine.clock import Clock
from engine.cluster import paths, wire
from engine.cluster.api import ApiServer
from engine.cluster.connect import ApiServers
from engine.errors import ClusterError
from engine.ports.cluster import ObjectGoneError

CHECK_TIMEOUT = (5.0, 10.0)  # the Go controller gives a starting API server ten seconds
LOOK_AGAIN_AFTER = timedelta(seconds=2)  # as often as the Lease is tried: what was mended is noticed at once
RESOURCES = ("machines", "machines/status", "machineclasses")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Something that the engine has to be allowed."""

    verb: str
    group: str
    resource: str
    namespace: str = ""
    """Empty: cluster-wide."""
    subresource: str = ""
    name: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        where = f"in namespace {self.namespace}" if self.namespace else "cluster-wide"
        return f"{self.verb} {resource}{'.' + self.group if self.group else ''} {where}"


def await_start(servers: ApiServers, *, clock: Clock, stopping: threading.Event) -> bool:
    """Answer True as soon as `check_start` is content, and False when `stopping` was set before.

    What is missing is said in the log once, and again when it changes: an outage must not need a human after it.
    """
    told = ""
    while not stopping.is_set():
        try:
            check_start(servers)
        except ClusterError as unfit:
            what = str(unfit).partition(":")[0]  # The rest may tell of a socket, which is a new one each time.
            if what != told:
                log.warning("the clusters are not fit to start on; waiting for them", extra={"reason": str(unfit)})
            told = what
            clock.wait(stopping, LOOK_AGAIN_AFTER)
        else:
            return True
    return False


def check_start(servers: ApiServers) -> None:
    """Return when the API servers answer and know our kinds; else raise ClusterError, which says what to do."""
    for server in {id(server): server for server in (servers.control, servers.target) if server}.values():
        server.call("GET", paths.VERSION, timeout=CHECK_TIMEOUT)
    missing = [resource for resource in RESOURCES if resource not in _known(servers.control)]
    if missing:
        raise ClusterError(
            f"{servers.control.title} ({servers.control.url}) does not know {', '.join(missing)} of "
            f"{paths.MACHINES_GROUP}/v1alpha1: apply kubernetes/crds there, then start again"
        )


def missing_permissions(servers: ApiServers, *, namespace: str) -> Sequence[str]:
    """Answer what the engine needs and is not allowed, one sentence each; asks the API servers about each of them."""
    missing = _refused(servers.control, control_permissions(namespace))
    return [*missing, *(_refused(servers.target, target_permissions()) if servers.target else [])]


def control_permissions(namespace: str) -> Sequence[Permission]:
    """Answer everything that the engine does in the control cluster: all of it in one namespace."""
    group = paths.MACHINES_GROUP
    wanted = [
        *((verb, group, "machines", "") for verb in ("get", "list", "watch", "patch")),
        ("patch", group, "machines", "status"),
        *((verb, group, "machineclasses", "") for verb in ("get", "list", "watch", "patch")),
        *((verb, "", "secrets", "") for verb in ("get", "list", "watch", "patch")),
        ("create", "", "events", ""),
        *((verb, "coordination.k8s.io", "leases", "") for verb in ("get", "create", "update")),
    ]
    return [
        Permission(
            verb=verb,
            group=group,
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            # Roles grant reading and renewing for the one Lease only; creating cannot be granted by name.
            name="machine-controller" if resource == "leases" and verb != "create" else "",
        )
        for verb, group, resource, subresource in wanted
    ]


def target_permissions() -> Sequence[Permission]:
    """Answer everything that the engine does in the target cluster."""
    return [Permission(verb=verb, group="", resource="nodes") for verb in ("list", "watch", "patch", "delete")]


def _known(server: ApiServer) -> frozenset[str]:
    try:
        answer = wire.read_resources(server.call("GET", paths.MACHINES_API, timeout=CHECK_TIMEOUT))
    except (ObjectGoneError, msgspec.DecodeError):
        return frozenset()
    return frozenset(resource.name for resource in answer.resources or ())


def _refused(server: ApiServer, permissions: Sequence[Permission]) -> list[str]:
    try:
        return [f"{permission} at {server.title}" for permission in permissions if not _allowed(server, permission)]
    except ObjectGoneError:
        return []  # A server that knows no reviews, such as the embedded one, refuses nobody.


def _allowed(server: ApiServer, permission: Permission) -> bool:
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": permission.resource,
        "subresource": permission.subresource,
        "namespace": permission.namespace,
        "name": permission.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = server.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
    return wire.read_review(answer).status.allowed

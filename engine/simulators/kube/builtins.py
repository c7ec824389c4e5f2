"""The kinds that are there from the beginning, as a table."""

from dataclasses import replace

from engine.simulators.kube.eventforms import EVENT_FIELDS, REGARDING_FIELDS, from_regarding, to_regarding
from engine.simulators.kube.kinds import Kind, ScalePaths

DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
NAMESPACES = ("", "namespaces")
PODS = ("", "pods")
SECRETS = ("", "secrets")
NODES = ("", "nodes")
EVENTS = ("", "events")
BUDGETS = ("policy", "poddisruptionbudgets")

_POD_FIELDS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)


def _kind(group_version: str, name: str, plural: str) -> Kind:
    group, _, version = group_version.rpartition("/")
    return Kind(
        group=group,
        version=version,
        name=name,
        plural=plural,
        singular=name.lower(),
        list_name=f"{name}List",
        shelf=(group, plural),
    )


_EVENT = replace(
    _kind("v1", "Event", "events"),
    short_names=("ev",),
    overwritable=False,
    fields=EVENT_FIELDS,
)

BUILT_IN: tuple[Kind, ...] = (
    replace(
        _kind("v1", "Namespace", "namespaces"),
        short_names=("ns",),
        namespaced=False,
        has_status=True,
        fields=("status.phase",),
    ),
    replace(_kind("v1", "ConfigMap", "configmaps"), short_names=("cm",)),
    replace(_kind("v1", "Secret", "secrets"), fields=("type",)),
    replace(_kind("v1", "ServiceAccount", "serviceaccounts"), short_names=("sa",), answers_deleted=True),
    replace(
        _kind("v1", "Node", "nodes"),
        short_names=("no",),
        namespaced=False,
        has_status=True,
        fields=("spec.unschedulable",),
    ),
    replace(
        _kind("v1", "Pod", "pods"),
        short_names=("po",),
        categories=("all",),
        has_status=True,
        actions=("eviction",),
        fields=_POD_FIELDS,
        answers_deleted=True,
    ),
    replace(
        _kind("v1", "PersistentVolume", "persistentvolumes"),
        short_names=("pv",),
        namespaced=False,
        has_status=True,
        answers_deleted=True,
    ),
    replace(
        _kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        short_names=("pvc",),
        has_status=True,
        answers_deleted=True,
    ),
    _EVENT,
    replace(
        _kind("events.k8s.io/v1", "Event", "events"),
        short_names=("ev",),
        overwritable=False,
        shelf=EVENTS,
        fields=REGARDING_FIELDS,
        outward=to_regarding,
        inward=from_regarding,
    ),
    replace(_kind("coordination.k8s.io/v1", "Lease", "leases"), overwritable=False),
    replace(
        _kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        short_names=("pdb",),
        has_status=True,
        counts_generation=True,
        overwritable=False,
    ),
    replace(
        _kind("storage.k8s.io/v1", "VolumeAttachment", "volumeattachments"),
        namespaced=False,
        has_status=True,
        overwritable=False,
    ),
    replace(
        _kind("apps/v1", "Deployment", "deployments"),
        short_names=("deploy",),
        categories=("all",),
        has_status=True,
        counts_generation=True,
        scale=ScalePaths(wanted=".spec.replicas", observed=".status.replicas"),
    ),
    replace(
        _kind("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
        namespaced=False,
        kept_nowhere=True,
    ),
    replace(
        _kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions"),
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        namespaced=False,
        has_status=True,
        counts_generation=True,
        overwritable=False,
    ),
)

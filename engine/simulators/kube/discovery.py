"""How clients find out what the server knows: versions, groups, resources."""

from engine.simulators.kube.kinds import Json, Kind, Registry

# One minor version away from the oldest and the newest kubectl that people have at hand.
MAJOR, MINOR = "1", "33"

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_PART_VERBS = ["get", "patch", "update"]


def version_document() -> Json:
    """Answer what `kubectl version` shows."""
    return {
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": f"v{MAJOR}.{MINOR}.0+embedded",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "",
    }


def core_versions() -> Json:
    """Answer the versions of the group without a name."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(registry: Registry) -> Json:
    """Answer all groups that have a name."""
    groups = [_group(name, versions) for name, versions in registry.versions().items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group_document(registry: Registry, name: str) -> Json | None:
    """Answer one group, or None."""
    versions = registry.versions().get(name)
    if not versions or not name:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(registry: Registry, group: str, version: str) -> Json | None:
    """Answer the resources of one version of a group, or None."""
    kinds = registry.of_group(group, version)
    if not kinds:
        return None
    resources = [resource for kind in kinds for resource in _resources(kind)]
    name = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": resources}


def _group(name: str, versions: list[str]) -> Json:
    served = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def _resources(kind: Kind) -> list[Json]:
    main: Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": ["create"] if kind.kept_nowhere else _VERBS,
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    parts = [_part(kind, "status", {"kind": kind.name})] if kind.has_status else []
    if kind.scale:
        parts.append(_part(kind, "scale", {"group": "autoscaling", "version": "v1", "kind": "Scale"}))
    for action in kind.actions:
        ordered = _part(kind, action, {"group": "policy", "version": "v1", "kind": action.capitalize()})
        parts.append({**ordered, "verbs": ["create"]})
    return [main, *parts]


def _part(kind: Kind, name: str, more: Json) -> Json:
    part = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
    return {**part, "verbs": _PART_VERBS, **more}

"""Custom resource definitions: what a definition must say, what the server adds, and the kinds that come of it."""

from collections.abc import Mapping
from typing import Any

from engine.simulators.kube.causes import Cause
from engine.simulators.kube.kinds import Json, Kind, ScalePaths
from engine.simulators.kube.structure import Structure

CLEAN_UP = "customresourcecleanup.apiextensions.k8s.io"  # keeps a definition until its last object is gone

_AGE: Json = {
    "name": "Age",
    "type": "date",
    "jsonPath": ".metadata.creationTimestamp",
    "description": "CreationTimestamp is a timestamp representing the server time when this object was created.",
}


def complete_definition(definition: Json, now: str) -> None:
    """Put in what the real server puts in: singular and list names, and a status that says "established"."""
    spec = definition.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("names"), dict):
        return
    names = spec["names"]
    kind = str(names.get("kind", ""))
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})
    status = definition.setdefault("status", {})
    status["acceptedNames"] = dict(names)
    status["storedVersions"] = [v["name"] for v in spec.get("versions") or [] if v.get("storage")]
    status.setdefault(
        "conditions",
        [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found", now),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted", now),
        ],
    )


def definition_causes(definition: Mapping[str, Any]) -> list[Cause]:
    """Answer what is missing in a definition."""
    spec = definition.get("spec")
    if not isinstance(spec, dict):
        return [Cause(field="spec", text="Required value")]
    names = spec.get("names") or {}
    causes = [Cause(field=f"spec.names.{n}", text="Required value") for n in ("plural", "kind") if not names.get(n)]
    causes += [Cause(field="spec.group", text="Required value")] if not spec.get("group") else []
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        text = f'Unsupported value: "{spec.get("scope", "")}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause(field="spec.scope", text=text))
    versions = spec.get("versions") or []
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause(field="spec.versions", text=text))
    for place, version in enumerate(versions):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            field = f"spec.versions[{place}].schema.openAPIV3Schema"
            causes.append(Cause(field=field, text="Required value: schemas are required"))
    name, wanted = definition["metadata"].get("name"), f"{names.get('plural')}.{spec.get('group')}"
    if name != wanted:
        text = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(Cause(field="metadata.name", text=text))
    return causes


def shelf_of(definition: Mapping[str, Any]) -> tuple[str, str]:
    """Answer where the objects of the definition lie."""
    return str(definition["spec"]["group"]), str(definition["spec"]["names"]["plural"])


def kinds_of(definition: Mapping[str, Any]) -> list[Kind]:
    """Answer one kind for each version that is served."""
    versions = definition["spec"]["versions"]
    return [_kind_of(definition, version) for version in versions if version.get("served", True)]


def _kind_of(definition: Mapping[str, Any], version: Mapping[str, Any]) -> Kind:
    spec, names = definition["spec"], definition["spec"]["names"]
    subresources = version.get("subresources") or {}
    scale = subresources.get("scale")
    api_version = f"{spec['group']}/{version['name']}"
    return Kind(
        group=spec["group"],
        version=version["name"],
        name=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", names["kind"].lower()),
        list_name=names.get("listKind", f"{names['kind']}List"),
        shelf=shelf_of(definition),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        has_status="status" in subresources,
        scale=_scale_paths(scale) if scale else None,
        counts_generation=True,
        overwritable=False,
        custom=True,
        structure=Structure(version["schema"]["openAPIV3Schema"]),
        columns=tuple(version.get("additionalPrinterColumns") or (_AGE,)),
        fields=tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()),
        # Versions differ in name only: that is what the conversion strategy "None" promises.
        outward=(lambda value: value | {"apiVersion": api_version}) if len(spec["versions"]) > 1 else None,
    )


def _scale_paths(scale: Mapping[str, str]) -> ScalePaths:
    return ScalePaths(
        wanted=scale["specReplicasPath"],
        observed=scale["statusReplicasPath"],
        selector=scale.get("labelSelectorPath", ""),
    )


def _condition(name: str, reason: str, message: str, now: str) -> Json:
    return {"type": name, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}

"""The definitions and samples that we ship say what the machine contract says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from engine.simulators.metal import settings as metal

MANIFESTS = Path(__file__).resolve().parents[2] / "kubernetes"
GROUP = "machine.sapcloud.io"
NAMES = {  # plural: kind, short name, subresources
    "machines": ("Machine", "mc", {"status"}),
    "machineclasses": ("MachineClass", "mcc", set()),
    "machinesets": ("MachineSet", "mcs", {"status", "scale"}),
    "machinedeployments": ("MachineDeployment", "mcd", {"status", "scale"}),
}
AGE = ("Age", ".metadata.creationTimestamp", 0)
COLUMNS = {
    "machines": [
        ("Status", ".status.currentStatus.phase", 0),
        AGE,
        ("Node", ".metadata.labels.node", 0),
        ("ProviderID", ".spec.providerID", 1),
    ],
    "machineclasses": [],
    "machinesets": [
        ("Desired", ".spec.replicas", 0),
        ("Current", ".status.replicas", 0),
        ("Ready", ".status.readyReplicas", 0),
        AGE,
    ],
    "machinedeployments": [
        ("Ready", ".status.readyReplicas", 0),
        ("Desired", ".spec.replicas", 0),
        ("Up-to-date", ".status.updatedReplicas", 0),
        ("Available", ".status.availableReplicas", 0),
        AGE,
    ],
}
SAMPLES = [
    MANIFESTS / "machine-class.yaml",
    MANIFESTS / "machine-deployment.yaml",
    *sorted((MANIFESTS / "machines").glob("*.yaml")),
]
RESERVATIONS = ["7d1e0d2a-1111-4111-8111-000000000001", "7d1e0d2a-1111-4111-8111-000000000002"]


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text("utf-8")) if document]


def definition(plural: str) -> dict[str, Any]:
    (only,) = documents(MANIFESTS / "crds" / f"{GROUP}_{plural}.yaml")
    return only


def version(plural: str) -> dict[str, Any]:
    (only,) = definition(plural)["spec"]["versions"]
    found: dict[str, Any] = only
    return found


def schema(plural: str, *path: str) -> dict[str, Any]:
    """The schema of one field, reached through properties."""
    found: dict[str, Any] = version(plural)["schema"]["openAPIV3Schema"]
    for name in path:
        found = found["properties"][name]
    return found


def fields(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below a schema, lists' items and maps' values included."""
    below = {f"{path}.{name}": child for name, child in node.get("properties", {}).items()}
    for key in ("items", "additionalProperties"):
        if key in node:
            below[f"{path}[{key}]"] = node[key]
    for name, child in below.items():
        yield name, child
        yield from fields(child, name)


def strict(node: dict[str, Any]) -> dict[str, Any]:
    """The schema as JSON Schema that refuses what the API server would prune."""
    plain = {key: value for key, value in node.items() if not key.startswith("x-kubernetes") and key != "nullable"}
    plain.pop("format", None)
    if node.get("nullable"):
        plain["type"] = [node["type"], "null"]
    for key in ("items", "additionalProperties"):
        if key in node:
            plain[key] = strict(node[key])
    if "properties" in node:
        plain["properties"] = {name: strict(child) for name, child in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            plain["additionalProperties"] = False
    return plain


def without_descriptions(node: Any) -> Any:
    if isinstance(node, dict):
        return {
            key: without_descriptions(value)
            for key, value in node.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [without_descriptions(value) for value in node] if isinstance(node, list) else node


@pytest.mark.parametrize("plural", NAMES)
def test_names_are_those_of_the_contract(plural: str) -> None:
    """Group, version, kind, plural, short name, scope and subresources are what every client asks for."""
    kind, short, subresources = NAMES[plural]

    spec = definition(plural)["spec"]

    assert definition(plural)["metadata"]["name"] == f"{plural}.{GROUP}"
    assert (spec["group"], spec["scope"]) == (GROUP, "Namespaced")
    assert spec["names"] == {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": [short],
    }
    assert (version(plural)["name"], version(plural)["served"], version(plural)["storage"]) == ("v1alpha1", True, True)
    assert set(version(plural).get("subresources", {})) == subresources


@pytest.mark.parametrize("plural", NAMES)
def test_columns_are_those_of_the_contract(plural: str) -> None:
    """Name, path, priority and order of the printer columns are exactly as people and scripts know them."""
    shown = version(plural).get("additionalPrinterColumns", [])

    assert [(each["name"], each["jsonPath"], each.get("priority", 0)) for each in shown] == COLUMNS[plural]


@pytest.mark.parametrize("plural", NAMES)
def test_every_field_is_described(plural: str) -> None:
    """`kubectl explain` has a sentence for every field but the root's metadata, where the API server refuses one."""
    silent = [name for name, field in fields(schema(plural)) if not field.get("description")]

    assert silent == [".metadata"]
    assert all(each["description"] for each in version(plural).get("additionalPrinterColumns", []))


@pytest.mark.parametrize("plural", NAMES)
def test_times_may_be_null(plural: str) -> None:
    """A time that a Go program left unset, and wrote as null, is accepted everywhere."""
    times = [(name, field) for name, field in fields(schema(plural)) if field.get("format") == "date-time"]

    assert all(field.get("nullable") for _, field in times), times


def test_a_template_takes_what_a_machine_takes() -> None:
    """The spec inside a MachineSet and a MachineDeployment is the spec of a Machine, field for field."""
    machine = without_descriptions(schema("machines", "spec"))

    assert without_descriptions(schema("machinesets", "spec", "template", "spec")) == machine
    assert without_descriptions(schema("machinedeployments", "spec", "template", "spec")) == machine


def test_definitions_reject_nothing_by_rule_or_default() -> None:
    """No rule, enumeration, default or limit: what the Go controllers accept today is accepted here."""
    forbidden = {"x-kubernetes-validations", "enum", "default", "minLength", "maxLength", "minimum", "maximum"}

    for plural in NAMES:
        assert all(not forbidden & set(field) for _, field in fields(schema(plural)))
    assert "required" not in schema("machines", "spec")
    assert not any("status" in (schema(plural).get("required") or []) for plural in NAMES)


def test_status_fields_are_those_of_the_contract() -> None:
    """The status has the names that others read, the odd one of MachineSets included, and a class has none."""
    assert set(schema("machines", "status")["properties"]) == {
        "addresses",
        "conditions",
        "currentStatus",
        "lastKnownState",
        "lastOperation",
    }
    assert set(schema("machines", "status", "currentStatus")["properties"]) == {
        "lastUpdateTime",
        "phase",
        "preserveExpiryTime",
        "timeoutActive",
    }
    assert "machineSetCondition" in schema("machinesets", "status")["properties"]
    assert "conditions" not in schema("machinesets", "status")["properties"]
    assert {"status", "spec"}.isdisjoint(schema("machineclasses")["properties"])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_fit_their_definitions(path: Path) -> None:
    """Every sample passes its definition, and carries no field that the API server would drop."""
    plurals = {kind: plural for plural, (kind, _, _) in NAMES.items()}

    for sample in documents(path):
        root = strict(schema(plurals[sample["kind"]]))
        root["properties"]["metadata"] = {"type": "object"}
        jsonschema.validate(sample, root)


def test_a_misspelt_field_would_be_noticed() -> None:
    """The check of the samples is strict enough to see a field that does not exist."""
    with pytest.raises(jsonschema.ValidationError, match="drainTimeOut"):
        jsonschema.validate({"drainTimeOut": "1h"}, strict(schema("machines", "spec")))


def test_sample_classes_ask_for_servers_in_three_ways() -> None:
    """Plain, with the deprecated list of facilities, and out of reservations; all for the simulator's project."""
    classes = {each["metadata"]["name"]: each for each in documents(MANIFESTS / "machine-class.yaml")}

    assert set(classes) == {"plain", "facilities", "reserved"}
    for each in classes.values():
        wanted = each["providerSpec"]
        assert each["provider"] == "EquinixMetal"
        assert wanted["projectID"] == metal.PROJECT_ID
        assert wanted["metro"] in {"da", "ny"}
        for prefix in ("kubernetes.io/cluster/", "kubernetes.io/role/"):
            assert sum(tag.startswith(prefix) for tag in wanted["tags"]) == 1
    assert classes["facilities"]["providerSpec"]["facilities"]
    assert classes["reserved"]["providerSpec"]["reservationIDs"] == RESERVATIONS
    assert classes["reserved"]["providerSpec"]["reservedDevicesOnly"] is True


def test_samples_name_each_other() -> None:
    """Each class names the sample Secret, and each Machine and deployment a class of the samples."""
    (secret,) = documents(MANIFESTS / "secret.yaml")
    classes = {each["metadata"]["name"]: each for each in documents(MANIFESTS / "machine-class.yaml")}
    machines = [each for path in (MANIFESTS / "machines").glob("*.yaml") for each in documents(path)]
    (deployment,) = documents(MANIFESTS / "machine-deployment.yaml")

    assert all(each["secretRef"]["name"] == secret["metadata"]["name"] for each in classes.values())
    assert {each["spec"]["class"]["name"] for each in machines} == set(classes)
    assert deployment["spec"]["template"]["spec"]["class"]["name"] in classes
    selected = deployment["spec"]["selector"]["matchLabels"].items()
    assert selected <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_sample_secret_opens_the_simulator() -> None:
    """The samples work with the simulator as they are, and their user data has the placeholder."""
    (secret,) = documents(MANIFESTS / "secret.yaml")

    assert secret["stringData"]["apiToken"] == metal.API_KEY
    assert secret["stringData"]["userData"].startswith("#cloud-config\n")
    assert "<<MACHINE_NAME>>" in secret["stringData"]["userData"]


def test_manifests_hide_no_python_package() -> None:
    """The folder has the name of the Kubernetes client and must never become a package."""
    assert not list(MANIFESTS.rglob("*.py"))

"""What the embedded API server makes of schemas: defaults, pruning, refusals."""

import pytest

from tests.unit.simulators.kube.client import WIDGETS, Client, Json, definition, make_client, widget

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def client() -> Client:
    """A caller of a fresh server."""
    return make_client()


def test_defaults_are_filled_in(client: Client) -> None:
    """What the schema has a default for is there after the write, in lists too; null counts as nothing."""
    made = client.create(WIDGETS, widget("w-1", size=1, colour=None, parts=[{"name": "a"}])).body

    assert made["spec"] == {"size": 1, "colour": "red", "parts": [{"name": "a", "weight": 1}]}


def test_unknown_fields_are_dropped(client: Client) -> None:
    """Unknown fields are not kept, except where the schema leaves the object open; the client is warned."""
    made = client.create(WIDGETS, widget("w-1", size=1, sise=2, open={"any": {"thing": 1}}, tags={"a": "b"}))

    assert made.body["spec"] == {"size": 1, "colour": "red", "open": {"any": {"thing": 1}}, "tags": {"a": "b"}}
    assert made.headers["Warning"] == '299 - "unknown field \\"spec.sise\\""'


def test_unknown_fields_are_refused_when_asked_to(client: Client) -> None:
    """Strict field validation names the unknown field, as `kubectl apply` expects it."""
    answer = client.create(WIDGETS, widget("w-1", size=1, sise=2), fieldValidation="Strict")

    assert answer.status == 400
    assert 'strict decoding error: unknown field "spec.sise"' in answer.body["message"]


def test_all_mistakes_are_listed(client: Client) -> None:
    """One refusal lists every wrong field with its cause."""
    wrong: Json = {"colour": "green", "code": "A1", "limit": {}, "seenAt": "yesterday", "parts": "none"}

    answer = client.create(WIDGETS, widget("w-1", size=0, **wrong))

    causes = {cause["field"]: (cause["reason"], cause["message"]) for cause in answer.body["details"]["causes"]}
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert causes["spec.colour"] == (
        "FieldValueNotSupported",
        'Unsupported value: "green": supported values: "red", "blue"',
    )
    assert causes["spec.code"][1] == "Invalid value: \"A1\": spec.code in body should match '^[a-z]+$'"
    assert causes["spec.size"][1] == "Invalid value: 0: spec.size in body should be greater than or equal to 1"
    assert causes["spec.parts"] == (
        "FieldValueTypeInvalid",
        'Invalid value: "string": spec.parts in body must be of type array: "string"',
    )
    assert causes.keys() == {"spec.colour", "spec.code", "spec.limit", "spec.parts", "spec.seenAt", "spec.size"}


def test_missing_field_is_required(client: Client) -> None:
    """A required field is named by its own path."""
    answer = client.create(WIDGETS, widget("w-1"))

    assert answer.body["message"] == 'Widget.example.org "w-1" is invalid: spec.size: Required value'


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ({"name": "Big_Name"}, "metadata.name"),
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"labels": {"a/b/c": "d"}}, "metadata.labels"),
        ({"annotations": {"?": "x"}}, "metadata.annotations"),
        ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
        ({"finalizers": ["no good"]}, "metadata.finalizers"),
        ({"ownerReferences": [{"kind": "A", "name": "b", "uid": "c"}]}, "metadata.ownerReferences[0].apiVersion"),
    ],
)
def test_bad_metadata_is_refused(client: Client, metadata: Json, field: str) -> None:
    """Names, labels, annotations, finalizers and owners must be well-formed."""
    answer = client.create(WIDGETS, widget("w-1", metadata=metadata, size=1))

    assert answer.status == 422
    assert [cause["field"] for cause in answer.body["details"]["causes"]] == [field]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"metadata": {"name": "x"}}, 400),
        (widget("x", size=1) | {"kind": "Gadget"}, 422),
        (widget("x", size=1) | {"apiVersion": "example.org/v2"}, 400),
        (widget("x", metadata={"labels": {"a": 1}}, size=1), 400),
        (widget("x", metadata={"namespace": "other"}, size=1), 400),
        (widget("x", metadata={"resourceVersion": "5"}, size=1), 500),
        (widget("", size=1), 422),
        (b"[]", 400),
        (b"{", 400),
    ],
)
def test_body_of_another_kind_is_refused(client: Client, body: Json, status: int) -> None:
    """The body must be an object of the kind that the path names; the codes are the real server's."""
    assert client.create(WIDGETS, body).status == status


def test_definition_is_established_at_once(client: Client) -> None:
    """A new definition is served when the answer is there, and says so in its status."""
    made = client.create(DEFINITIONS, definition("things", "Thing", subresources=False))

    conditions = {c["type"]: c["status"] for c in made.body["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert client.get("/apis/example.org/v1/namespaces/default/things").body["kind"] == "ThingList"


def test_incomplete_definition_is_refused(client: Client) -> None:
    """A definition must be named after what it defines, and have a version to keep."""
    bad = definition("things", "Thing", subresources=False)
    bad["metadata"]["name"] = "thing.example.org"
    bad["spec"]["versions"][0]["storage"] = False

    answer = client.create(DEFINITIONS, bad)

    assert {cause["field"] for cause in answer.body["details"]["causes"]} == {"metadata.name", "spec.versions"}


def test_definition_goes_with_its_objects(client: Client) -> None:
    """A deleted definition waits for the last of its objects, and then its paths are gone."""
    client.create(WIDGETS, widget("held", metadata={"finalizers": ["example.org/hold"]}, size=1))
    client.create(WIDGETS, widget("free", size=1))

    client.call("DELETE", f"{DEFINITIONS}/widgets.example.org")
    during = client.get(WIDGETS).body["items"]
    client.merge(f"{WIDGETS}/held", {"metadata": {"finalizers": None}})

    assert [item["metadata"]["name"] for item in during] == ["held"]
    assert client.get(WIDGETS).status == 404
    assert client.get(f"{DEFINITIONS}/widgets.example.org").status == 404

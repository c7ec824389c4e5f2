"""Creating and changing objects of the embedded API server."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.simulators.kube.client import (
    APPLY,
    GADGETS,
    JSON_PATCH,
    SECRETS,
    STRATEGIC,
    WIDGETS,
    Client,
    Json,
    make_client,
    widget,
)


@pytest.fixture
def client() -> Client:
    """A caller of a fresh server."""
    return make_client()


def test_new_object_gets_identity_and_generation(client: Client) -> None:
    """A created object has a UID, a creation time, generation 1 and a resource version, and no status yet."""
    made = client.create(WIDGETS, widget("w-1", size=1) | {"status": {"phase": "Ready"}})

    metadata = made.body["metadata"]
    assert made.status == 201
    assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert metadata["generation"] == 1
    assert metadata["uid"]
    assert "status" not in made.body


def test_generated_name_is_unique(client: Client) -> None:
    """Two objects with the same generateName get different names that begin with it."""
    body = widget("", metadata={"generateName": "w-", "name": None}, size=1)

    names = {client.create(WIDGETS, body).body["metadata"]["name"] for _ in range(5)}

    assert len(names) == 5
    assert all(name.startswith("w-") for name in names)


def test_second_create_is_refused(client: Client) -> None:
    """A name is taken once; the refusal says AlreadyExists with the resource's details."""
    client.create(WIDGETS, widget("w-1", size=1))

    again = client.create(WIDGETS, widget("w-1", size=1))

    assert (again.status, again.body["reason"]) == (409, "AlreadyExists")
    assert again.body["message"] == 'widgets.example.org "w-1" already exists'
    assert again.body["details"] == {"name": "w-1", "group": "example.org", "kind": "widgets"}


def test_create_in_unknown_namespace_is_refused(client: Client) -> None:
    """An object needs a namespace that exists."""
    answer = client.create(WIDGETS.replace("default", "nowhere"), widget("w-1", size=1))

    assert (answer.status, answer.body["message"]) == (404, 'namespaces "nowhere" not found')


def test_put_with_stale_version_conflicts(client: Client) -> None:
    """Who writes from an old version is told so and changes nothing."""
    made = client.create(WIDGETS, widget("w-1", size=1)).body
    client.merge(f"{WIDGETS}/w-1", {"spec": {"size": 2}})

    answer = client.call("PUT", f"{WIDGETS}/w-1", made)

    assert (answer.status, answer.body["reason"]) == (409, "Conflict")
    assert "the object has been modified" in answer.body["message"]
    assert client.get(f"{WIDGETS}/w-1").body["spec"]["size"] == 2


def test_put_without_version_is_refused_for_custom_resources_only(client: Client) -> None:
    """A custom resource is overwritten only by who says which version it read; a Secret by anybody."""
    client.create(WIDGETS, widget("w-1", size=1))
    client.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}})

    refused = client.call("PUT", f"{WIDGETS}/w-1", widget("w-1", size=2))
    taken = client.call("PUT", f"{SECRETS}/s", {"metadata": {"name": "s"}, "data": {"a": "Yg=="}})

    assert (refused.status, taken.status) == (422, 200)


@pytest.mark.parametrize(
    ("patch", "status"),
    [
        ({"metadata": {"resourceVersion": "1"}}, 409),
        ({"metadata": {"resourceVersion": None}}, 422),
        ({"metadata": {"uid": "another"}}, 422),
        ({"metadata": {"name": "other"}}, 400),
        ({"metadata": {"creationTimestamp": None, "generation": 9}}, 200),
    ],
)
def test_patch_of_identity_is_refused(client: Client, patch: Json, status: int) -> None:
    """A patch may name the version and identity it is meant for, and may not change them."""
    made = client.create(WIDGETS, widget("w-1", size=1)).body

    answer = client.merge(f"{WIDGETS}/w-1", patch)

    assert answer.status == status
    assert client.get(f"{WIDGETS}/w-1").body == made


def test_no_update_is_lost_between_threads(client: Client) -> None:
    """Writers that read, change and write under optimistic locking never overwrite each other."""
    client.create(WIDGETS, widget("w-1", size=1))

    def count_up(_: int) -> None:
        for _ in range(25):
            taken = False
            while not taken:
                read = client.get(f"{WIDGETS}/w-1").body
                read["spec"]["size"] += 1
                taken = client.call("PUT", f"{WIDGETS}/w-1", read).status == 200

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count_up, range(4)))

    assert client.get(f"{WIDGETS}/w-1").body["spec"]["size"] == 101


def test_status_and_main_are_separate(client: Client) -> None:
    """The status is written through its subresource only, and nothing else is."""
    client.create(WIDGETS, widget("w-1", size=1))

    main = client.merge(f"{WIDGETS}/w-1", {"status": {"phase": "Ready"}}).body
    status = client.merge(
        f"{WIDGETS}/w-1/status",
        {"metadata": {"labels": {"a": "b"}}, "spec": {"size": 9}, "status": {"phase": "Ready"}},
    ).body

    assert "status" not in main
    assert status["status"] == {"phase": "Ready"}
    assert status["spec"]["size"] == 1
    assert "labels" not in status["metadata"]
    assert status["metadata"]["generation"] == 1


def test_generation_counts_wishes(client: Client) -> None:
    """The generation grows with the spec and not with labels; without a status subresource any field counts."""
    client.create(WIDGETS, widget("w-1", size=1))
    client.create(GADGETS, widget("g-1", kind="Gadget", size=1))

    labelled = client.merge(f"{WIDGETS}/w-1", {"metadata": {"labels": {"a": "b"}}})
    resized = client.merge(f"{WIDGETS}/w-1", {"spec": {"size": 2}})
    told = client.merge(f"{GADGETS}/g-1", {"status": {"phase": "x"}})

    assert [a.body["metadata"]["generation"] for a in (labelled, resized, told)] == [1, 2, 2]


def test_change_of_nothing_writes_nothing(client: Client) -> None:
    """A patch that changes nothing leaves the resource version as it is."""
    made = client.create(WIDGETS, widget("w-1", size=1))

    again = client.merge(f"{WIDGETS}/w-1", {"spec": {"size": 1}})

    assert again.version == made.version


def test_dry_run_keeps_nothing(client: Client) -> None:
    """A dry run answers what would come of it and leaves no trace."""
    answer = client.create(WIDGETS, widget("w-1", size=1), dryRun="All")

    assert answer.status == 201
    assert client.get(f"{WIDGETS}/w-1").status == 404


def test_json_patch_is_all_or_nothing(client: Client) -> None:
    """Operations are done in order; when one fails, none was."""
    client.create(WIDGETS, widget("w-1", size=1, parts=[{"name": "a"}]))
    good = [
        {"op": "test", "path": "/spec/size", "value": 1},
        {"op": "add", "path": "/spec/parts/-", "value": {"name": "b", "weight": 3}},
        {"op": "copy", "from": "/spec/size", "path": "/spec/replicas"},
        {"op": "remove", "path": "/spec/parts/0"},
        {"op": "add", "path": "/metadata/annotations", "value": {"example.org/a": "1"}},
        {"op": "replace", "path": "/metadata/annotations/example.org~1a", "value": "2"},
    ]

    done = client.call("PATCH", f"{WIDGETS}/w-1", good, as_type=JSON_PATCH)
    failed = client.call(
        "PATCH",
        f"{WIDGETS}/w-1",
        [{"op": "replace", "path": "/spec/size", "value": 5}, {"op": "test", "path": "/spec/size", "value": 6}],
        as_type=JSON_PATCH,
    )

    assert done.body["spec"] == {"size": 1, "replicas": 1, "colour": "red", "parts": [{"name": "b", "weight": 3}]}
    assert done.body["metadata"]["annotations"] == {"example.org/a": "2"}
    assert failed.status == 422
    assert client.get(f"{WIDGETS}/w-1").body["spec"]["size"] == 1


def test_strategic_patch_merges_lists_by_key(client: Client) -> None:
    """Conditions are merged by type, taints are replaced, finalizers are a set with its own way of removal."""
    nodes = "/api/v1/nodes"
    client.create(nodes, {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}})
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Disk", "status": "False"}]
    client.call("PATCH", f"{nodes}/n/status", {"status": {"conditions": conditions}}, as_type=STRATEGIC)

    status = {"conditions": [{"type": "Ready", "status": "False"}, {"$patch": "delete", "type": "Disk"}]}
    told = client.call("PATCH", f"{nodes}/n/status", {"status": status}, as_type=STRATEGIC).body
    taints = [{"key": "b", "effect": "NoExecute"}]
    change = {"spec": {"taints": taints}, "metadata": {"finalizers": ["example.org/a"]}}
    client.call("PATCH", f"{nodes}/n", change, as_type=STRATEGIC)
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.org/a"], "finalizers": ["example.org/b"]}}
    last = client.call("PATCH", f"{nodes}/n", change, as_type=STRATEGIC).body

    assert told["status"]["conditions"] == [{"type": "Ready", "status": "False"}]
    assert last["spec"]["taints"] == taints
    assert last["metadata"]["finalizers"] == ["example.org/b"]


def test_strategic_patch_of_custom_resource_is_refused(client: Client) -> None:
    """Custom resources have no merge keys of their own, so the format is not taken."""
    client.create(WIDGETS, widget("w-1", size=1))

    assert client.call("PATCH", f"{WIDGETS}/w-1", {}, as_type=STRATEGIC).status == 415


def test_apply_creates_and_merges(client: Client) -> None:
    """An apply creates what is missing, then merges lists by the schema's keys; it needs a field manager."""
    nameless = client.call("PATCH", f"{WIDGETS}/w-1", widget("w-1", size=1), as_type=APPLY)
    first = widget("w-1", size=1, parts=[{"name": "a"}])
    made = client.call("PATCH", f"{WIDGETS}/w-1", first, as_type=APPLY, fieldManager="test")
    text = b"{apiVersion: example.org/v1, kind: Widget, metadata: {name: w-1}, spec: {parts: [{name: b, weight: 2}]}}"
    merged = client.call("PATCH", f"{WIDGETS}/w-1", text, as_type=APPLY, fieldManager="test")

    assert [nameless.status, made.status, merged.status] == [422, 201, 200]
    assert merged.body["spec"]["parts"] == [{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]


def test_scale_changes_the_spec(client: Client) -> None:
    """The scale subresource shows and changes the number of replicas, and knows about conflicts."""
    client.create(WIDGETS, widget("w-1", size=1, replicas=2))
    client.merge(f"{WIDGETS}/w-1/status", {"status": {"replicas": 1}})

    seen = client.get(f"{WIDGETS}/w-1/scale").body
    patched = client.merge(f"{WIDGETS}/w-1/scale", {"spec": {"replicas": 5}}).body
    stale = client.call("PUT", f"{WIDGETS}/w-1/scale", seen)

    assert (seen["kind"], seen["spec"], seen["status"]) == ("Scale", {"replicas": 2}, {"replicas": 1})
    assert patched["spec"] == {"replicas": 5}
    assert client.get(f"{WIDGETS}/w-1").body["spec"]["replicas"] == 5
    assert stale.status == 409


def test_secret_text_is_kept_encoded(client: Client) -> None:
    """What is written as text is read as base64, and broken base64 is refused."""
    made = client.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"token": "abc"}}).body
    broken = client.create(SECRETS, {"metadata": {"name": "t"}, "data": {"token": "%"}})

    assert made["data"] == {"token": "YWJj"}
    assert made["type"] == "Opaque"
    assert "stringData" not in made
    assert broken.status == 400


def test_event_has_two_faces(client: Client) -> None:
    """An event that is written in the newer form is read in both, and found by what it is about in both."""
    newer, older = "/apis/events.k8s.io/v1/namespaces/default/events", "/api/v1/namespaces/default/events"
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Widget", "name": "w-1"},
        "note": "Ordered",
        "reason": "O",
    }
    client.create(newer, event)

    old = client.get(f"{older}/e").body
    found = client.get(newer, fieldSelector="regarding.name=w-1").body["items"]

    assert (old["involvedObject"]["name"], old["message"], old["apiVersion"]) == ("w-1", "Ordered", "v1")
    assert found[0]["note"] == "Ordered"
    assert client.get(older, fieldSelector="involvedObject.name=w-2").body["items"] == []

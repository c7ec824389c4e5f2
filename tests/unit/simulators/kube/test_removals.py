"""Deleting objects of the embedded API server."""

import pytest

from engine.simulators.kube import Ref
from tests.unit.simulators.kube.client import GADGETS, PODS, READY, WIDGETS, Client, Json, make_client, pod, widget

FINALIZER = "example.org/hold"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


@pytest.fixture
def client() -> Client:
    """A caller of a fresh server."""
    return make_client()


def owned(name: str, owner: Json, **more: object) -> Json:
    reference = {"apiVersion": "example.org/v1", "kind": "Widget", "name": owner["metadata"]["name"]}
    reference |= {"uid": owner["metadata"]["uid"]} | more
    return widget(name, kind="Gadget", metadata={"ownerReferences": [reference]}, size=1)


def test_delete_answers_what_is_gone(client: Client) -> None:
    """An object without finalizers is gone at once; a second deletion finds nothing."""
    made = client.create(WIDGETS, widget("w", size=1)).body

    answer = client.call("DELETE", f"{WIDGETS}/w")

    details = {"name": "w", "group": "example.org", "kind": "widgets", "uid": made["metadata"]["uid"]}
    assert (answer.status, answer.body["status"], answer.body["details"]) == (200, "Success", details)
    assert client.call("DELETE", f"{WIDGETS}/w").status == 404


def test_finalizer_holds_the_object(client: Client) -> None:
    """A held object is marked, can be changed, gets no new finalizers, and goes with its last one."""
    client.create(WIDGETS, widget("w", metadata={"finalizers": [FINALIZER]}, size=1))

    marked = client.call("DELETE", f"{WIDGETS}/w").body["metadata"]
    again = client.call("DELETE", f"{WIDGETS}/w").body["metadata"]
    changed = client.merge(f"{WIDGETS}/w", {"spec": {"size": 2}})
    refused = client.merge(f"{WIDGETS}/w", {"metadata": {"finalizers": [FINALIZER, "example.org/more"]}})
    revived = client.merge(f"{WIDGETS}/w", {"metadata": {"deletionTimestamp": None}}).body["metadata"]
    recreated = client.create(WIDGETS, widget("w", size=1))
    last = client.merge(f"{WIDGETS}/w", {"metadata": {"finalizers": []}})

    assert (marked["deletionGracePeriodSeconds"], marked["generation"]) == (0, 2)
    assert again == marked
    assert changed.body["metadata"]["generation"] == 3
    assert refused.status == 422
    assert "no new finalizers can be added if the object is being deleted" in refused.body["message"]
    assert revived["deletionTimestamp"] == marked["deletionTimestamp"]
    assert recreated.body["message"] == 'object is being deleted: widgets.example.org "w" already exists'
    assert last.status == 200
    assert client.get(f"{WIDGETS}/w").status == 404


def test_preconditions_protect_another_object(client: Client) -> None:
    """Who names a UID or version deletes that object or none."""
    made = client.create(WIDGETS, widget("w", size=1)).body["metadata"]

    wrong = [
        client.call("DELETE", f"{WIDGETS}/w", {"preconditions": {"uid": "another"}}),
        client.call("DELETE", f"{WIDGETS}/w", {"preconditions": {"resourceVersion": "1"}}),
    ]
    right = client.call("DELETE", f"{WIDGETS}/w", {"preconditions": {"uid": made["uid"]}})

    assert [answer.status for answer in wrong] == [409, 409]
    assert right.status == 200


def test_dry_run_deletes_nothing(client: Client) -> None:
    """A dry run of a deletion leaves the object as it is."""
    made = client.create(WIDGETS, widget("w", size=1)).body

    assert client.call("DELETE", f"{WIDGETS}/w", dryRun="All").status == 200
    assert client.get(f"{WIDGETS}/w").body == made


def test_collection_is_deleted_by_selector(client: Client) -> None:
    """A collection is deleted as far as it is selected."""
    for name in ("a", "b"):
        client.create(WIDGETS, widget(name, metadata={"labels": {"name": name}}, size=1))

    gone = client.call("DELETE", WIDGETS, labelSelector="name=a").body["items"]

    assert [item["metadata"]["name"] for item in gone] == ["a"]
    assert [item["metadata"]["name"] for item in client.get(WIDGETS).body["items"]] == ["b"]


def test_dependents_go_with_their_last_owner(client: Client) -> None:
    """What an object owns goes with it, unless another owner is left."""
    one, two = (client.create(WIDGETS, widget(name, size=1)).body for name in ("one", "two"))
    client.create(GADGETS, owned("single", one))
    shared = owned("shared", one)
    shared["metadata"]["ownerReferences"] += owned("x", two)["metadata"]["ownerReferences"]
    client.create(GADGETS, shared)

    client.call("DELETE", f"{WIDGETS}/one")

    assert client.get(f"{GADGETS}/single").status == 404
    (left,) = client.get(f"{GADGETS}/shared").body["metadata"]["ownerReferences"]
    assert left["name"] == "two"


def test_foreground_waits_for_dependents(client: Client) -> None:
    """In the foreground the owner stays, marked, until the dependents that block it are gone."""
    owner = client.create(WIDGETS, widget("w", size=1)).body
    dependent = owned("g", owner, blockOwnerDeletion=True)
    dependent["metadata"]["finalizers"] = [FINALIZER]
    client.create(GADGETS, dependent)

    client.call("DELETE", f"{WIDGETS}/w", {"propagationPolicy": "Foreground"})
    waiting = client.get(f"{WIDGETS}/w").body["metadata"]
    client.merge(f"{GADGETS}/g", {"metadata": {"finalizers": None}})

    assert waiting["finalizers"] == ["foregroundDeletion"]
    assert client.get(f"{GADGETS}/g").status == 404
    assert client.get(f"{WIDGETS}/w").status == 404


def test_orphans_stay(client: Client) -> None:
    """Orphaned dependents lose their owner and nothing else."""
    owner = client.create(WIDGETS, widget("w", size=1)).body
    client.create(GADGETS, owned("g", owner))

    client.call("DELETE", f"{WIDGETS}/w", propagationPolicy="Orphan")

    assert client.get(f"{WIDGETS}/w").status == 404
    assert "ownerReferences" not in client.get(f"{GADGETS}/g").body["metadata"]


def test_namespace_goes_with_its_content(client: Client) -> None:
    """A namespace takes its objects along, waits for those that are held, and lets nothing new in meanwhile."""
    client.create("/api/v1/namespaces", {"metadata": {"name": "team"}})
    place = WIDGETS.replace("default", "team")
    client.create(place, widget("free", size=1))
    client.create(place, widget("held", metadata={"finalizers": [FINALIZER]}, size=1))

    client.call("DELETE", "/api/v1/namespaces/team")
    during = client.get("/api/v1/namespaces/team").body
    refused = client.create(place, widget("late", size=1))
    client.merge(f"{place}/held", {"metadata": {"finalizers": None}})

    assert during["status"]["phase"] == "Terminating"
    assert (refused.status, refused.body["reason"]) == (403, "Forbidden")
    assert client.get(f"{place}/free").status == 404
    assert client.get("/api/v1/namespaces/team").status == 404


def test_pod_on_a_node_ends_when_its_kubelet_says_so(client: Client) -> None:
    """A pod on a node stays with a deadline until it is ended or deleted by force; one without a node goes at once."""
    for name, node in (("slow", "n"), ("forced", "n"), ("waiting", "")):
        client.create(PODS, pod(name, node=node))
        client.call("DELETE", f"{PODS}/{name}")
    marked = client.get(f"{PODS}/slow").body["metadata"]

    client.call("DELETE", f"{PODS}/forced", {"gracePeriodSeconds": 0})
    left = [item["metadata"]["name"] for item in client.get(PODS).body["items"]]
    ended = client.server.end_terminating_pods()

    assert marked["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    assert marked["deletionGracePeriodSeconds"] == 30
    assert left == ["slow"]
    assert ended == 1
    assert client.get(PODS).body["items"] == []


def evict(client: Client, name: str) -> tuple[int, str]:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    answer = client.create(f"{PODS}/{name}/eviction", body)
    return answer.status, answer.body.get("reason", "")


@pytest.mark.parametrize(
    "spec", [{"minAvailable": 1}, {"maxUnavailable": 1}, {"minAvailable": "50%"}, {"maxUnavailable": "50%"}]
)
def test_eviction_keeps_the_budget(client: Client, spec: Json) -> None:
    """Of two pods one may be evicted; the other must wait with 429 until there is a healthy one again."""
    for name in ("a", "b"):
        client.create(PODS, pod(name))
        client.merge(f"{PODS}/{name}/status", READY)
    client.create(BUDGETS, {"metadata": {"name": "pdb"}, "spec": spec | {"selector": {"matchLabels": {"app": "web"}}}})

    first, second = evict(client, "a"), evict(client, "b")
    client.server.end_terminating_pods()
    client.create(PODS, pod("c"))
    client.merge(f"{PODS}/c/status", READY)
    third = evict(client, "b")

    assert (first, second, third) == ((201, ""), (429, "TooManyRequests"), (201, ""))


def test_eviction_of_what_serves_nobody_is_never_refused(client: Client) -> None:
    """A pod that has ended or never began may go whatever the budget says; a pod with two budgets may not."""
    client.create(BUDGETS, {"metadata": {"name": "pdb"}, "spec": {"minAvailable": 1, "selector": {}}})
    for name, phase in (("pending", "Pending"), ("done", "Succeeded"), ("busy", "Running")):
        client.create(PODS, pod(name))
        client.merge(f"{PODS}/{name}/status", {"status": {"phase": phase}})

    assert [evict(client, name)[0] for name in ("pending", "done", "busy", "unknown")] == [201, 201, 429, 404]

    client.create(BUDGETS, {"metadata": {"name": "more"}, "spec": {"minAvailable": 0, "selector": {}}})
    assert evict(client, "busy")[0] == 500


def test_programs_beside_the_server(client: Client) -> None:
    """A program in the same process reads, patches (status too), lists and deletes without HTTP."""
    ref = Ref(api_version="example.org/v1", kind="Widget", name="w")
    server = client.server

    applied = [server.apply(widget("w", size=size) | {"status": {"phase": f"p{size}"}}) for size in (1, 2)]
    server.patch(ref, {"metadata": {"finalizers": [FINALIZER]}, "status": {"phase": "held"}})

    assert [(a["spec"]["size"], a["status"]["phase"]) for a in applied] == [(1, "p1"), (2, "p2")]
    assert [item["status"]["phase"] for item in server.listed(ref)] == ["held"]
    assert server.delete(ref) is False
    server.patch(ref, {"metadata": {"finalizers": None}})
    assert server.read(ref) is None
    assert server.delete(ref) is True

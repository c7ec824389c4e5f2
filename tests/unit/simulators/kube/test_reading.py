"""Lists, pages, selectors and tables of the embedded API server."""

import pytest

from engine.simulators.kube.columns import human_duration
from engine.simulators.kube.jsonpath import JsonPath
from tests.unit.simulators.kube.client import PODS, READY, SECRETS, STRATEGIC, WIDGETS, Client, make_client, pod, widget


@pytest.fixture
def client() -> Client:
    """A caller of a fresh server."""
    return make_client()


def make_widgets(client: Client, count: int) -> None:
    for number in range(count):
        client.create(WIDGETS, widget(f"w-{number}", metadata={"labels": {"n": str(number)}}, size=1))


def test_pages_show_one_moment(client: Client) -> None:
    """Pages that are read while objects come and go show the state at the first page, under one version."""
    make_widgets(client, 5)
    first = client.get(WIDGETS, limit="2").body
    client.create(WIDGETS, widget("w-1b", size=1))
    client.call("DELETE", f"{WIDGETS}/w-3")
    client.merge(f"{WIDGETS}/w-4", {"spec": {"size": 9}})

    second = client.get(WIDGETS, limit="2", **{"continue": first["metadata"]["continue"]}).body
    third = client.get(WIDGETS, limit="2", **{"continue": second["metadata"]["continue"]}).body

    pages = [first, second, third]
    names = [item["metadata"]["name"] for page in pages for item in page["items"]]
    assert names == [f"w-{number}" for number in range(5)]
    assert third["items"][0]["spec"]["size"] == 1
    assert [page["metadata"].get("remainingItemCount") for page in pages] == [3, 1, None]
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1


def test_old_page_is_expired_with_a_way_on(client: Client) -> None:
    """When the moment of the first page is forgotten the answer is 410, with a token that goes on from now."""
    make_widgets(client, 3)
    token = client.get(WIDGETS, limit="1").body["metadata"]["continue"]
    client.create(WIDGETS, widget("w-3", size=1))
    client.server.forget_changes()

    expired = client.get(WIDGETS, limit="1", **{"continue": token})
    rest = client.get(WIDGETS, **{"continue": expired.body["metadata"]["continue"]}).body

    assert (expired.status, expired.body["reason"]) == (410, "Expired")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["w-1", "w-2", "w-3"]


def test_list_from_memory_ignores_the_limit(client: Client) -> None:
    """A list at version 0 is whole, as the real server's cache answers it."""
    make_widgets(client, 3)

    assert len(client.get(WIDGETS, limit="1", resourceVersion="0").body["items"]) == 3


def test_list_of_a_moment(client: Client) -> None:
    """An exact version shows the state of then; one that has not come yet is refused."""
    make_widgets(client, 2)
    then = client.get(WIDGETS).version
    make_widgets(client, 4)

    exact = client.get(WIDGETS, resourceVersion=then, resourceVersionMatch="Exact").body

    assert len(exact["items"]) == 2
    assert client.get(WIDGETS, resourceVersion="99999").status == 504


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("n=1", ["w-1"]),
        ("n==1", ["w-1"]),
        ("n!=1", ["w-0", "w-2"]),
        ("n in (0, 2)", ["w-0", "w-2"]),
        ("n notin (0),n", ["w-1", "w-2"]),
        ("!n", []),
        ("n>0,n<2", ["w-1"]),
    ],
)
def test_label_selectors(client: Client, selector: str, names: list[str]) -> None:
    """Equality, sets, presence and order select as in Kubernetes."""
    make_widgets(client, 3)

    items = client.get(WIDGETS, labelSelector=selector).body["items"]

    assert [item["metadata"]["name"] for item in items] == names


@pytest.mark.parametrize("query", [{"labelSelector": "a==="}, {"fieldSelector": "spec.size=1"}, {"limit": "x"}])
def test_unreadable_query_is_refused(client: Client, query: dict[str, str]) -> None:
    """What cannot be selected by is said, and not silently ignored."""
    assert client.get(WIDGETS, **query).status == 400


def test_field_selectors(client: Client) -> None:
    """Pods are found by node and phase, Secrets by type, everything by name."""
    client.create(PODS, pod("here", node="n-1"))
    client.create(PODS, pod("there", node="n-2"))
    client.create(SECRETS, {"metadata": {"name": "s"}, "type": "example.org/key"})

    on_node = client.get("/api/v1/pods", fieldSelector="spec.nodeName=n-1,status.phase!=Running").body["items"]

    assert [item["metadata"]["name"] for item in on_node] == ["here"]
    assert len(client.get(SECRETS, fieldSelector="type=example.org/key").body["items"]) == 1
    assert len(client.get(PODS, fieldSelector="metadata.name=there").body["items"]) == 1


def test_items_of_built_in_lists_do_not_name_their_kind(client: Client) -> None:
    """As in the real server, the list says once what its built-in items are; custom ones say it each."""
    client.create(PODS, pod("p"))
    make_widgets(client, 1)

    assert "kind" not in client.get(PODS).body["items"][0]
    assert client.get(WIDGETS).body["items"][0]["kind"] == "Widget"


def test_table_of_custom_resources(client: Client) -> None:
    """The columns are the definition's own, with ages for people and nothing where nothing stands."""
    client.create(WIDGETS, widget("w-1", metadata={"labels": {"example.org/team": "a"}}, size=3))

    table = client.table(WIDGETS).body

    heads = [(c["name"], c["priority"]) for c in table["columnDefinitions"]]
    assert heads == [("Name", 0), ("Phase", 0), ("Team", 0), ("Size", 1), ("Age", 0)]
    assert table["rows"][0]["cells"] == ["w-1", None, "a", 3, "0s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_table_of_pods_and_nodes(client: Client) -> None:
    """Built-in kinds have the columns that people know."""
    client.create(PODS, pod("p"))
    client.call("PATCH", f"{PODS}/p/status", READY, as_type=STRATEGIC)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    labels = {"node-role.kubernetes.io/worker": ""}
    client.create(
        "/api/v1/nodes",
        {"metadata": {"name": "n", "labels": labels}, "spec": {"unschedulable": True}, "status": ready},
    )

    assert client.table(PODS).body["rows"][0]["cells"][:4] == ["p", "0/1", "Running", 0]
    assert client.table("/api/v1/nodes").body["rows"][0]["cells"][:3] == ["n", "Ready,SchedulingDisabled", "worker"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (3600, "60m"),
        (3 * 3600, "3h"),
        (7 * 3600 + 60, "7h1m"),
        (20 * 3600, "20h"),
        (50 * 3600, "2d2h"),
        (10 * 86400, "10d"),
        (3 * 365 * 86400, "3y"),
        (9 * 365 * 86400 + 86400, "9y"),
    ],
)
def test_ages_are_shown_as_kubectl_shows_them(seconds: int, text: str) -> None:
    """An age has one unit or two, as people know it from Kubernetes."""
    assert human_duration(seconds) == text


def test_json_paths() -> None:
    """Names, quoted names, places, all children and filters are found."""
    value = {"a": {"b.c": [{"t": "x", "v": 1}, {"t": "y", "v": 2}]}}

    assert JsonPath(".a['b.c'][1].v").first(value) == 2
    assert JsonPath("{.a.b\\.c[*].v}").all(value) == [1, 2]
    assert JsonPath('.a.b\\.c[?(@.t=="y")].v').first(value) == 2
    assert JsonPath(".a.nothing[0]").first(value) is None


def test_discovery_and_schemas(client: Client) -> None:
    """Clients find groups, resources, subresources and schemas, of custom resources too."""
    groups = {group["name"] for group in client.get("/apis").body["groups"]}
    resources = {resource["name"] for resource in client.get("/apis/example.org/v1").body["resources"]}
    index = client.get("/openapi/v3").body["paths"]
    document = client.get("/openapi/v3/apis/example.org/v1").body

    assert {"example.org", "coordination.k8s.io", "policy", "events.k8s.io"} <= groups
    assert {"widgets", "widgets/status", "widgets/scale", "gadgets"} == resources
    assert "apis/example.org/v1" in index
    assert "size" in document["components"]["schemas"]["org.example.v1.Widget"]["properties"]["spec"]["properties"]
    assert client.get("/version").body["major"] == "1"
    assert client.get("/apis/nothing/v1").status == 404
    assert client.get(f"{WIDGETS}/w/nothing").status == 404
    assert client.call("POST", f"{WIDGETS}/w").status == 405


def test_formats(client: Client) -> None:
    """A client gets YAML or metadata alone when it asks for it, and is refused what the server cannot speak."""
    made = client.create(WIDGETS, widget("w", size=1)).body
    partial = client.send("GET", f"{WIDGETS}/w", None, {"accept": "application/json;as=PartialObjectMetadata;v=v1"})
    refused = client.send("GET", f"{WIDGETS}/w", None, {"accept": "text/html"})
    falls_back = client.send("GET", f"{WIDGETS}/w", None, {"accept": "application/vnd.kubernetes.protobuf,*/*"})

    assert partial.body["metadata"] == made["metadata"]
    assert "spec" not in partial.body
    assert (refused.status, falls_back.status) == (406, 200)
    assert client.call("POST", WIDGETS, b"x", as_type="text/plain").status == 415


def test_everything_is_allowed(client: Client) -> None:
    """Who asks whether it may do something may; the question is not kept."""
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}

    answer = client.create(path, asked)

    assert (answer.status, answer.body["status"]["allowed"]) == (201, True)
    assert client.get(path).status == 405


def test_token_is_asked_for_when_there_is_one() -> None:
    """With a token set, nobody reads anything but health and version without it."""
    client = make_client(token="secret")

    assert client.get(WIDGETS).status == 401
    assert client.get("/version").status == 200
    assert client.send("GET", WIDGETS, None, {"authorization": "Bearer secret"}).status == 200
    assert client.server.kubeconfig("http://x")["users"][0]["user"] == {"token": "secret"}

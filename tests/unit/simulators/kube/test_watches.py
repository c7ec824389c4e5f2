"""Watches of the embedded API server."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest

from engine.clock import SystemClock
from engine.simulators.kube import objects
from tests.unit.simulators.kube.client import GADGETS, WIDGETS, Client, make_client, widget

Json = dict[str, Any]


@pytest.fixture
def client() -> Client:
    """A caller of a fresh server."""
    return make_client()


def told(events: Iterator[Json]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_watch_tells_what_happened_since(client: Client) -> None:
    """A watch from a version tells every later change of its kind, in order, with growing versions."""
    since = client.get(WIDGETS).version
    client.create(WIDGETS, widget("w", size=1))
    client.create(GADGETS, widget("g", kind="Gadget", size=1))
    client.merge(f"{WIDGETS}/w", {"spec": {"size": 2}})
    client.call("DELETE", f"{WIDGETS}/w")

    events = list(client.watch(WIDGETS, resourceVersion=since))

    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert told(iter(events)) == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")]
    assert versions == sorted(set(versions))
    assert events[2]["object"]["spec"]["size"] == 2


@pytest.mark.parametrize("version", ["", "0"])
def test_watch_without_version_begins_with_what_is_there(client: Client, version: str) -> None:
    """Who names no version is told first of all objects, as if they had just been made."""
    client.create(WIDGETS, widget("w", size=1))

    assert told(client.watch(WIDGETS, resourceVersion=version)) == [("ADDED", "w")]


def test_watch_sees_through_its_selector(client: Client) -> None:
    """An object that begins to match is added, one that no longer matches is deleted."""
    since = client.get(WIDGETS).version
    client.create(WIDGETS, widget("w", size=1))
    for team in ("a", "a", "b"):
        client.merge(f"{WIDGETS}/w", {"metadata": {"labels": {"team": team}}, "spec": {"size": 1}})
    client.merge(f"{WIDGETS}/w", {"spec": {"size": 3}})

    assert told(client.watch(WIDGETS, resourceVersion=since, labelSelector="team=a")) == [
        ("ADDED", "w"),
        ("DELETED", "w"),
    ]


def test_watch_of_one_name_and_namespace(client: Client) -> None:
    """A field selector or the path itself narrows a watch to one object."""
    client.create(WIDGETS, widget("w", size=1))
    client.create(WIDGETS, widget("v", size=1))

    assert told(client.watch(WIDGETS, fieldSelector="metadata.name=v")) == [("ADDED", "v")]
    assert told(client.watch(WIDGETS.replace("default", "kube-system"))) == []
    assert len(told(client.watch("/apis/example.org/v1/widgets"))) == 2


def test_old_watch_is_expired(client: Client) -> None:
    """A watch from a forgotten version gets an ERROR event with the Status 410, and ends."""
    client.create(WIDGETS, widget("w", size=1))
    since = client.get(WIDGETS).version
    client.create(WIDGETS, widget("v", size=1))
    client.server.forget_changes()

    (event,) = client.watch(WIDGETS, resourceVersion=since)

    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")


def test_missed_change_is_told_at_once() -> None:
    """A change between a client's list and its watch is told when the watch begins, not with the next change."""
    client = make_client(clock=SystemClock())
    since = client.get(WIDGETS).version
    client.create(WIDGETS, widget("w", size=1))

    assert next(client.watch(WIDGETS, resourceVersion=since, timeoutSeconds="20"))["type"] == "ADDED"


def test_memory_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """When more has changed than is remembered, the oldest versions expire."""
    monkeypatch.setattr(objects, "CHANGES_MAX", 3)
    versions = [client.create(WIDGETS, widget(f"w-{number}", size=1)).version for number in range(6)]

    oldest = list(client.watch(WIDGETS, resourceVersion=versions[1]))
    newest = told(client.watch(WIDGETS, resourceVersion=versions[2]))

    assert [event["type"] for event in oldest] == ["ERROR"]
    assert newest == [("ADDED", "w-3"), ("ADDED", "w-4"), ("ADDED", "w-5")]


def test_bookmarks_carry_the_version_of_the_whole_server(client: Client) -> None:
    """A quiet watch learns from bookmarks how far it is, so that it does not expire."""
    client.create(WIDGETS, widget("w", size=1))
    since = client.get(WIDGETS).version
    client.create(GADGETS, widget("g", kind="Gadget", size=1))
    now = client.get(GADGETS).version

    events = list(client.watch(WIDGETS, resourceVersion=since, allowWatchBookmarks="true", timeoutSeconds="25"))

    assert [event["type"] for event in events] == ["BOOKMARK"] * 3
    assert {event["object"]["metadata"]["resourceVersion"] for event in events} == {now}
    assert events[0]["object"]["kind"] == "Widget"


def test_initial_events_end_with_a_bookmark(client: Client) -> None:
    """A streamed list ends with a bookmark that says so."""
    client.create(WIDGETS, widget("w", size=1))

    asked = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    first, second = islice(client.watch(WIDGETS, **asked), 2)

    assert (first["type"], second["type"]) == ("ADDED", "BOOKMARK")
    assert second["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_watch_ends_with_the_server(client: Client) -> None:
    """A closed server ends its watches without an error."""
    events = client.watch(WIDGETS, resourceVersion=client.get(WIDGETS).version)

    client.server.close()

    assert list(events) == []

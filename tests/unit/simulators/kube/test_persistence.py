"""The file of the embedded API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import ConfigurationError
from engine.simulators.kube import persistence
from tests.unit.simulators.kube.client import WIDGETS, Client, make_client, widget


class House:
    """One file and the servers that live in it, one after the other."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.client = make_client(file=file)

    def reopen(self) -> Client:
        """Answer a caller of a new server on the same file."""
        self.client.server.close()
        self.client = make_client(file=self.file)
        return self.client


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house with its first server; the last one is closed in the end."""
    house = House(tmp_path / "objects.jsonl")
    yield house
    house.client.server.close()


def test_objects_outlive_the_server(house: House) -> None:
    """Objects, definitions and versions are there again after a restart, and versions go on from where they were."""
    client = house.client
    client.create(WIDGETS, widget("gone", size=1))
    made = client.create(WIDGETS, widget("w", size=1)).body
    client.call("DELETE", f"{WIDGETS}/gone")
    before = int(client.get(WIDGETS).version)

    client = house.reopen()
    again = client.get(WIDGETS).body
    later = client.create(WIDGETS, widget("later", size=1))

    assert again["items"] == [made]
    assert int(again["metadata"]["resourceVersion"]) == before
    assert int(later.version) > before
    assert later.body["metadata"]["uid"] != made["metadata"]["uid"]


def test_watch_from_before_the_restart_is_expired(house: House) -> None:
    """A restarted server does not know how things came to be, and says so; the present version it does know."""
    client = house.client
    old = client.create(WIDGETS, widget("w", size=1)).version
    now = client.create(WIDGETS, widget("v", size=1)).version

    client = house.reopen()

    assert [event["type"] for event in client.watch(WIDGETS, resourceVersion=old)] == ["ERROR"]
    assert list(client.watch(WIDGETS, resourceVersion=now)) == []


def test_torn_last_line_is_dropped(house: House) -> None:
    """A write that was cut off in the middle never happened; everything before it did."""
    house.client.create(WIDGETS, widget("w", size=1))
    house.client.create(WIDGETS, widget("torn", size=1))
    house.file.write_bytes(house.file.read_bytes()[:-20])

    house.reopen().create(WIDGETS, widget("next", size=1))
    client = house.reopen()

    assert [item["metadata"]["name"] for item in client.get(WIDGETS).body["items"]] == ["next", "w"]


def test_damaged_file_is_refused(house: House) -> None:
    """A broken line with others behind it is no accident of a kill: the server does not start and throw them away."""
    lines = house.file.read_bytes().splitlines(keepends=True)
    house.file.write_bytes(lines[0] + b"broken\n" + b"".join(lines[1:]))

    with pytest.raises(ConfigurationError, match="damaged"):
        house.reopen()

    assert len(house.file.read_bytes().splitlines()) == len(lines) + 1


def test_file_does_not_grow_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is overwritten is thrown away in time, while the server runs."""
    monkeypatch.setattr(persistence, "DEAD_LINES_MIN", 10)
    client = house.client
    client.create(WIDGETS, widget("w", size=1))

    for size in range(2, 100):
        client.merge(f"{WIDGETS}/w", {"spec": {"size": size}})

    assert len(house.file.read_bytes().splitlines()) < 40
    assert house.reopen().get(f"{WIDGETS}/w").body["spec"]["size"] == 99


def test_file_belongs_to_one_server(house: House) -> None:
    """A second server on the same file is refused, so that neither overwrites the other."""
    with pytest.raises(ConfigurationError, match="in use by another API server"):
        make_client(file=house.file)

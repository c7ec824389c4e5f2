"""A stage whose wires can be cut and whose cloud can lie, with the books that every live test must balance at its end.

The books: nobody had two servers, nothing is billed, no server of a wanted Machine was given back, every story is
whole, and no secret is in anything that can be read.
"""

import dataclasses
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
import yaml

from engine.clock import SystemClock
from engine.domain.history import fold
from engine.domain.machine import HistoryEntry, MachineFilter, MachineRecord
from engine.domain.orphans import Orphan
from engine.domain.states import State
from engine.ports.store import HistoryFilter, Store
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import DeviceView, KeySettings, MetalSettings, Operation
from engine.simulators.metal.settings import PROJECT_ID, SAMPLE_RESERVATIONS
from engine.store.opening import open_store
from tests.acceptance.programs import ControllerProcess, eventually
from tests.acceptance.stage import TIME_SCALE, UID_TAG, Json, Place, Stage
from tests.live.proxy import FaultProxy

TOKEN = "canary-token-71c0de"
NEXT_TOKEN = "canary-token-82d1ef"
OPERATOR_TOKEN = "operator-token"
USERDATA_SECRET = "canary-userdata-93e2f0"
CANARIES = (TOKEN, NEXT_TOKEN, USERDATA_SECRET)
WORLD = MetalSettings(
    time_scale=4 * TIME_SCALE,  # A boot takes half a second.
    reservations=SAMPLE_RESERVATIONS,
    keys=tuple(KeySettings(token=each) for each in (TOKEN, NEXT_TOKEN, OPERATOR_TOKEN)),
)
SETTINGS = {
    "log_level": "DEBUG",
    "poll_fastest": "200ms",
    "poll_expecting": "1s",
    "poll_quiet": "300ms",
    "retry_longest": "2s",
    "sync_period": "20s",
}
BRIEF_LEASE = {
    "leader_elect_lease_duration": "3s",
    "leader_elect_renew_deadline": "2s",
    "leader_elect_retry_period": "500ms",
}
LEASE_SECONDS = 3.0
SWEEPING = {"orphan_age": "3s", "machine_safety_orphan_vms_period": "1s"}
REST_SECONDS_MAX = 90.0
SOAK = os.environ.get("SOAK", "") not in {"", "0"}
soak_only = pytest.mark.skipif(not SOAK, reason="takes minutes; `make soak-live` does it")

Lie = Callable[[HttpRequest], HttpResponse | None]


class LiveStage(Stage):
    """A stage with a proxy before each server; it knows who was wanted until when."""

    def __init__(self, place: Place, *, folder: Path, world: MetalSettings = WORLD) -> None:
        self.api, own = wired(place.controller_kubeconfig, folder / "proxied.kubeconfig")
        super().__init__(dataclasses.replace(place, controller_kubeconfig=own), folder=folder, world=world)
        self.place = place
        """Where the play is, without any proxy."""
        self.cloud = FaultProxy(urlsplit(self._server.url).port or 80)
        self.cloud.accept()
        self.answers: Counter[str] = Counter()
        """What the cloud answered: statuses, and `lost` where the answer was lost."""
        self._lies: list[Lie] = []
        self._clock = SystemClock()
        self._unwanted: dict[str, datetime] = {}
        self._by_hand: set[str] = set()
        self._foreign: set[str] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        super().__enter__()
        self.declare()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.api.refuse()
        self.cloud.refuse()

    def controller(self, name: str = "controller", **settings: str) -> ControllerProcess:
        """A controller behind both proxies, whose log holds everything."""
        metal = {"metal_api_url": f"http://127.0.0.1:{self.cloud.port}/metal/v1"}
        return super().controller(name, **{**metal, **SETTINGS, **settings})

    def declare(self, token: str = TOKEN) -> None:
        """Classes and their Secret, with canaries in it, are there."""
        (secret,) = self.sample("secret.yaml")
        secret["stringData"] = {"apiToken": token, "userData": f"#cloud-config\npassword: {USERDATA_SECRET}\n"}
        self.apply(*self.sample("machine-class.yaml"), secret)

    def delete_machines(self, *names: str) -> None:
        """Machines are not wanted any more, and it is written down since when."""
        for name in names:
            self.note_unwanted(name)
            super().delete_machines(name)

    def note_unwanted(self, name: str) -> None:
        """From now on this Machine's server may go back: somebody is about to delete it."""
        self._unwanted[str(self.user.get("machines", name)["metadata"]["uid"])] = self._clock.now()

    def lie(self, lie: Lie) -> None:
        """The cloud's answer is what `lie` says, until it says None."""
        with self._lock:
            self._lies.append(lie)

    def be_honest(self) -> None:
        """All faults are over."""
        with self._lock:
            self._lies.clear()
        self.metal.faults.replace()
        for wire in (self.api, self.cloud):
            wire.delay(0)
            wire.accept()
            wire.release()

    def operate(self, method: str, path: str, body: bytes = b"") -> HttpResponse:
        """What somebody does at the cloud's own console."""
        headers = {"x-auth-token": OPERATOR_TOKEN, "content-type": "application/json"}
        request = HttpRequest(method=method, path=f"/metal/v1{path}", headers=headers, body=body)
        return self.metal.handle(request)

    def take_away(self, device: DeviceView) -> None:
        """Somebody deleted the device at the cloud's console."""
        self._by_hand.add(device.id)
        assert self.operate("DELETE", f"/devices/{device.id}").status == 204

    def buy_by_hand(self, hostname: str, *tags: str) -> str:
        """The id of a device that somebody bought at the cloud's console."""
        listed = ",".join(f'"{tag}"' for tag in tags)
        order = f'{{"hostname":"{hostname}","plan":"c3.small.x86","metro":"da","operating_system":"ubuntu_22_04",'
        answer = self.operate("POST", f"/projects/{PROJECT_ID}/devices", f'{order}"tags":[{listed}]}}'.encode())
        assert answer.status == 201
        (made,) = [each.id for each in self.metal.devices() if each.hostname == hostname]
        self._foreign.add(made)
        return made

    def device_of(self, name: str) -> DeviceView:
        """The one device that is billed under this name."""
        (device,) = [each for each in self.metal.billing() if each.hostname == name]
        return device

    def see_lists(self, count: int) -> None:
        """The controller was shown so many lists from now on; a quiet one asks thrice a second."""
        before = self.metal.journal.calls[Operation.LIST]
        eventually(lambda: self.metal.journal.calls[Operation.LIST] >= before + count)

    def kill_all(self) -> None:
        """No controller runs."""
        for each in self._controllers:
            each.kill()

    def balance(self, *controllers: ControllerProcess, databases: tuple[str, ...] = ()) -> None:
        """Nobody is wanted any more and everybody is gone: the books must balance."""
        self.be_honest()
        self.delete_machines(*[name for name, each in self.machines().items() if not _is_going(each)])
        self.await_gone(seconds_max=REST_SECONDS_MAX)
        eventually(lambda: not [each for each in self.metal.billing() if each.id not in self._foreign])
        self.assert_nobody_had_two()
        self.assert_nobody_wanted_lost_a_server()
        for database in databases or tuple(each.database for each in controllers):
            # The last line of a story is written when the object is gone already.
            eventually(partial(_nobody_goes, database))
            stories_of(database)
        self.assert_no_secret_is_told(*controllers)

    def assert_nobody_had_two(self) -> None:
        """No Machine had two servers at any time."""
        ours = self.metal.most_at_once(tag_prefix=UID_TAG)
        assert {tag: most for tag, most in ours.items() if most > 1} == {}

    def assert_nobody_wanted_lost_a_server(self) -> None:
        """Every return came after the Machine's deletion, and nobody else's server was touched."""
        for entry in self.metal.journal.entries(what="deleted"):
            if entry.device in self._by_hand:
                continue
            assert entry.device not in self._foreign, f"{entry} was not bought by us"
            (uid,) = [tag.removeprefix(UID_TAG) for tag in entry.tags if tag.startswith(UID_TAG)]
            assert uid in self._unwanted, f"{entry} belongs to a wanted Machine"
            assert entry.at >= self._unwanted[uid]

    def assert_no_secret_is_told(self, *controllers: ControllerProcess) -> None:
        """No canary is in a log, an Event, an object that anybody may read, a page, or a byte of a database."""
        told = self.kubectl("get", "events,machines,machineclasses", "--output=yaml")
        told += "".join(each.told() for each in controllers)
        told += "".join(each.fetch("/metrics")[1] for each in controllers if each.running())
        files = b"".join(path.read_bytes() for path in self.folder.rglob("*.db*") if path.is_file())
        for canary in CANARIES:
            assert canary not in told
            assert canary.encode() not in files

    def _answer(self, request: HttpRequest) -> HttpResponse:
        with self._lock:
            lies = list(self._lies)
        for lie in lies:
            answer = lie(request)
            if answer is not None:
                return answer
        answer = super()._answer(request)
        with self._lock:
            self.answers["lost" if answer.hang_up else str(answer.status)] += 1
        return answer


def wired(kubeconfig: Path, written: Path) -> tuple[FaultProxy, Path]:
    """A proxy before the API server of the kubeconfig, and the kubeconfig that leads through it."""
    known = yaml.safe_load(kubeconfig.read_text("utf-8"))
    cluster = known["clusters"][0]["cluster"]
    proxy = FaultProxy(urlsplit(cluster["server"]).port or 443)
    proxy.accept()
    cluster["server"] = f"https://127.0.0.1:{proxy.port}"
    written.write_text(yaml.safe_dump(known), "utf-8")
    return proxy, written


def freeze(controller: ControllerProcess) -> None:
    """It stands still, as a paused virtual machine does."""
    controller.signal(signal.SIGSTOP)


def thaw(controller: ControllerProcess) -> None:
    """It goes on, and does not know that it stood still."""
    controller.signal(signal.SIGCONT)


def states_of(database: str) -> dict[str, str]:
    """Where each Machine stands whose life is not over, as `machine-engine machines` says, but sooner."""
    with closing(open_store(database, readonly=True)) as store:
        return {each.name: each.state.value for each in store.find(MachineFilter(unfinished_only=True))}


def orphans_of(database: str) -> list[Orphan]:
    """Every orphan that was ever found, as `machine-engine orphans --all` says."""
    with closing(open_store(database, readonly=True)) as store:
        return list(store.orphans())


def stories_of(database: str) -> Counter[str]:
    """Every history is without a gap and explains its record; answers how often each trigger came."""
    triggers: Counter[str] = Counter()
    with closing(open_store(database, readonly=True)) as store:
        for found in store.find(MachineFilter()):
            record, entries = _story_of(store, found)
            assert [each.version for each in entries] == list(range(1, record.version + 1)), record.name
            assert fold(entries) == record.place, record.name
            doubts = [each for each in store.intents(record.uid) if each.unresolved]
            assert not (record.finished and doubts), record.name
            triggers.update(each.trigger for each in entries)
    return triggers


def _story_of(store: Store, record: MachineRecord) -> tuple[MachineRecord, Sequence[HistoryEntry]]:
    """The record and its history as of one instant, although a controller may be at work."""
    while True:
        entries = store.history(HistoryFilter(uid=record.uid))
        now = store.get(record.uid)
        assert now, record.name
        if now.version == record.version:
            return now, entries
        record = now


def _nobody_goes(database: str) -> bool:
    return State.DELETING not in states_of(database).values()


def _is_going(machine: Json) -> bool:
    metadata: dict[str, Any] = machine["metadata"]
    return "deletionTimestamp" in metadata

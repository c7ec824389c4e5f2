"""How often an account is listed, and who hears of it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from engine.domain.breakers import Limits
from engine.domain.device import Device
from engine.domain.ids import AccountKey, MachineUid
from engine.errors import StoreUnavailableError
from engine.jobs.poll_inventory import Cadence, PollInventory
from engine.ports.provider import Cloud, DeviceOrder, ThrottledError
from engine.providers.equinix.provider import EquinixMetal
from engine.simulators.clock import VirtualClock
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.metal import API_KEY, FaultKind, FaultRule, MetalSettings, MetalSimulator, SimulatorAdapter
from engine.simulators.seed import Seed
from engine.workflow.belief import Belief
from engine.workflow.breakers import Breakers
from engine.workflow.inventory import Inventory
from tests.model.model_store import ModelStore
from tests.unit.workflow.builders import NAME, SPEC, UID

CADENCE = Cadence(
    fastest=timedelta(seconds=1), slower_by=2.0, expecting_max=timedelta(seconds=8), quiet=timedelta(seconds=60)
)


class Stage:
    """A poll job before a simulated account."""

    def __init__(self, *, store: ModelStore | None = None, cadence: Cadence = CADENCE) -> None:
        self.clock = VirtualClock()
        self.metal = MetalSimulator(clock=self.clock, seed=Seed(1), settings=MetalSettings())
        provider = EquinixMetal(clock=self.clock, transport=SimulatorAdapter(self.metal.handle, clock=self.clock))
        self.cloud: Cloud = provider.bind(spec=SPEC, secret={"apiToken": API_KEY.encode(), "userData": b"u"})
        self.inventory = Inventory()
        self.inventory.register(self.cloud)
        self.woken: list[MachineUid] = []
        self.store = store or ModelStore()
        cluster = SimulatedCluster(clock=self.clock, seed=Seed(1))
        breakers = Breakers(clock=self.clock, store=self.store, cluster=cluster, limits=Limits())
        self.job = PollInventory(
            clock=self.clock,
            store=self.store,
            inventory=self.inventory,
            belief=Belief(clock=self.clock, store=self.store, breakers=breakers),
            wake=self.woken.append,
            cadence=cadence,
            spawn=lambda act: act(),
        )

    def lists_at(self, seconds: int) -> list[int]:
        """At which seconds a list is asked for, when the job takes a turn each second."""
        asked, before = [], self.lists
        for _ in range(seconds):
            self.job.turn()
            if self.lists > before:
                asked.append(round(self.clock.monotonic()))
            before = self.lists
            self.clock.advance(timedelta(seconds=1))
        return asked

    @property
    def lists(self) -> int:
        """How many lists were asked for."""
        return self.metal.journal.calls["list"]

    def expect(self, uid: str = "u-1", *, next_list: bool = False) -> None:
        """A machine begins to wait."""
        at = self.clock.monotonic()
        self.inventory.expect(self.cloud.account, MachineUid(uid), next_list=next_list, at=at)


def test_a_quiet_account_is_listed_seldom() -> None:
    """At once, and then once a minute."""
    assert Stage().lists_at(130) == [0, 60, 120]


def test_an_expecting_account_is_listed_fast_then_slower() -> None:
    """Each list without news makes the next wait longer, up to the longest."""
    stage = Stage()
    stage.expect()
    assert stage.lists_at(40) == [0, 2, 6, 14, 22, 30, 38]


def test_who_begins_to_wait_is_served_at_once() -> None:
    """But never faster than the fastest."""
    stage = Stage()
    assert stage.lists_at(30) == [0]
    stage.expect()
    assert stage.lists_at(1) == [30]
    stage.expect("u-2")
    assert stage.lists_at(2) == [31]


def test_news_make_the_next_list_fast() -> None:
    """A device that changes is likely to change again."""
    stage = Stage()
    stage.expect()
    assert stage.lists_at(20) == [0, 2, 6, 14]
    stage.cloud.order(DeviceOrder(uid=UID, hostname=NAME, userdata="u"))
    assert stage.lists_at(7) == [22, 23, 25]
    assert set(stage.woken) == {UID}
    assert [each.uid for each in stage.store.devices()] == [UID]


def test_a_failed_list_is_repeated_with_patience() -> None:
    """Whoever waits does not make it faster, hears of it once, and is served when it succeeds."""
    stage = Stage()
    stage.metal.faults.add(FaultRule(kind=FaultKind.OH_SNAP_BEFORE))
    stage.expect(next_list=True)
    assert stage.lists_at(20) == [0, 1, 3, 7, 15]
    assert stage.woken == ["u-1"]
    stage.expect("u-2", next_list=True)
    assert stage.lists_at(5) == []
    stage.metal.faults.replace()
    assert stage.lists_at(7) == [31]
    assert set(stage.woken) == {"u-1", "u-2"}


def test_a_throttled_list_waits_as_it_was_told() -> None:
    """Not before the instant that the cloud named."""
    stage = Stage()
    stage.metal.faults.add(FaultRule(kind=FaultKind.THROTTLED, left=1))
    at = stage.clock.now() + timedelta(seconds=20)

    class Throttled:
        """The account, in a bad mood."""

        account: AccountKey = stage.cloud.account

        def inventory(self) -> Sequence[Device]:
            """Refuse."""
            raise ThrottledError("slow down", at)

    stage.inventory.register(Throttled())  # type: ignore[arg-type]  # it is only listed
    stage.expect()
    stage.job.turn()
    stage.inventory.register(stage.cloud)
    stage.metal.faults.replace()
    assert stage.lists_at(25) == [20, 22]


def test_a_long_list_is_asked_for_less_often() -> None:
    """As many rows a second as the cadence says."""
    stage = Stage(cadence=Cadence(fastest=timedelta(seconds=1), devices_per_second=0.1))
    stage.cloud.order(DeviceOrder(uid=UID, hostname=NAME, userdata="u"))
    stage.expect()
    first = stage.lists_at(1)
    stage.expect("u-2")
    assert (first, stage.lists_at(15)) == ([0], [10])


def test_an_account_that_is_being_listed_is_not_listed_again() -> None:
    """And an account that is forgotten leaves nothing behind."""
    stage = Stage()
    waiting: list[Any] = []
    stage.job.spawn = waiting.append
    stage.job.turn()
    stage.job.turn()
    assert len(waiting) == 1
    stage.inventory.retain([])
    stage.job.turn()
    assert not stage.job._beats
    waiting[0]()
    assert stage.inventory.snapshot(stage.cloud.account) is None


def test_a_database_that_is_away_costs_only_the_record() -> None:
    """The list is pinned up, and the machines are woken."""

    class Away(ModelStore):
        """A store that cannot write."""

        def record_devices(self, **_: Any) -> None:
            """Refuse."""
            raise StoreUnavailableError("away")

    stage = Stage(store=Away())
    stage.inventory.own(stage.cloud.order(DeviceOrder(uid=UID, hostname=NAME, userdata="u")).device_id, UID)
    stage.job.turn()
    assert stage.woken == [UID]
    assert stage.inventory.snapshot(stage.cloud.account)


def test_a_bug_in_the_adapter_does_not_block_the_account() -> None:
    """It is listed again at its quiet pace."""
    stage = Stage()

    class Broken:
        """An adapter with a bug."""

        account: AccountKey = stage.cloud.account

        def inventory(self) -> Sequence[Device]:
            """Fail in a way that no port knows."""
            raise KeyError("bug")

    stage.inventory.register(Broken())  # type: ignore[arg-type]  # it is only listed
    with pytest.raises(KeyError):
        stage.job.turn()
    stage.inventory.register(stage.cloud)
    assert stage.lists_at(61) == [60]

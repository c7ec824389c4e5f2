"""A whole world in one thread, from one seed: the production engine between a simulated cloud and cluster.

`World` holds what survives a `kill -9` (the store, the cloud, the cluster, and kubelets that join); `Engine` is one
life of the process and is thrown away by a crash. Time is virtual: a step lets it pass, and each of the engine's jobs
takes its turn as often as it would in production.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from engine.clock import Clock
from engine.domain.breakers import Breaker, Limits
from engine.domain.device import Device
from engine.domain.ids import MachineUid
from engine.domain.machine import MachineFilter
from engine.domain.retry import Backoff
from engine.domain.states import ACTIVE_HEALTHY
from engine.domain.wanted import CLOSE_BREAKER_ANNOTATION, MachineObject
from engine.jobs.poll_inventory import Cadence
from engine.ports.provider import DeviceOrder
from engine.ports.store import Store
from engine.providers.equinix.api import EquinixSettings
from engine.providers.equinix.provider import NAME, EquinixMetal
from engine.reconcile.orphans import OrphanPolicy
from engine.simulators.clock import SkewedClock, VirtualClock
from engine.simulators.cluster import SimulatedCluster
from engine.simulators.engine_life import Engine, NeverCameError, Surroundings
from engine.simulators.http import HttpRequest
from engine.simulators.invariants import Invariants, Truth
from engine.simulators.metal import PROJECT_ID, KeySettings, MetalSettings, MetalSimulator, SimulatorAdapter
from engine.simulators.ports import Call, Moment, SimulatedCrash, Tap
from engine.simulators.seed import Seed
from engine.workflow.policy import Policy

TOKEN = "canary-token-6f1e9c"  # noqa: S105 - it opens a simulator only, and must never be seen again
OTHER_TOKEN = "canary-token-b52d04"  # noqa: S105 - a second key to the same project, to rotate to
WRONG_TOKEN = "canary-token-000000"  # noqa: S105 - it opens nothing
USERDATA = "#cloud-config\n# canary-userdata-77ab01\n"
CANARIES = ("canary-token", "canary-userdata")
CLASS = "workers"
SECRET = "workers-key"  # noqa: S105 - a Secret's name
SPEC: dict[str, Any] = {
    "projectID": PROJECT_ID,
    "metro": "da",
    "machineType": "c3.small.x86",
    "billingCycle": "hourly",
    "OS": "ubuntu_22_04",
    "tags": ["kubernetes.io/cluster/shoot", "kubernetes.io/role/node"],
}

__all__ = ["Engine", "NeverCameError", "World", "WorldSettings"]

# Devices live some twenty times as fast as real ones, so that a life is a hundred steps and not a thousand.
QUICK_METAL = MetalSettings(
    keys=(KeySettings(token=TOKEN), KeySettings(token=OTHER_TOKEN)),
    queue_for=timedelta(seconds=3),
    provision_for=timedelta(seconds=15),
    deprovision_for=timedelta(seconds=5),
    wipe_for=timedelta(seconds=10),
)
QUICK_POLICY = Policy(
    creation_timeout=timedelta(minutes=10),
    visibility_window=timedelta(seconds=20),
    capacity_retry=timedelta(seconds=30),
    reservation_cooldown=timedelta(seconds=15),
    release_repeat=timedelta(seconds=30),
    vanished_after=timedelta(minutes=2),
    object_lost_after=timedelta(seconds=60),
    objects_lost_after=timedelta(minutes=5),
    backoff=Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=20)),
    busy_retry=timedelta(seconds=3),
    claim_span=timedelta(seconds=12),
)
WAITING_MAX = 3
"""How many threads wait for calls at once, at most."""
CALL_TAKES = timedelta(milliseconds=50)
QUICK_LIMITS = Limits(list_confirmation=timedelta(minutes=2))
QUICK_ORPHANS = OrphanPolicy()
QUICK_CADENCE = Cadence(fastest=timedelta(seconds=1), expecting_max=timedelta(seconds=4), quiet=timedelta(seconds=10))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSettings:
    """One world."""

    target: bool = True
    """Whether there is a target cluster, with Nodes in it."""
    join_after: timedelta | None = timedelta(seconds=4)
    """How long a Node takes to join once its device is up; None for never."""
    metal: MetalSettings = QUICK_METAL
    spec: dict[str, Any] = field(default_factory=lambda: dict(SPEC))
    """The providerSpec of the class."""
    policy: Policy = QUICK_POLICY
    cadence: Cadence = QUICK_CADENCE
    page_size: int = 100
    """Devices on a page of the cloud's list."""
    lag: timedelta = timedelta(0)
    """How long the watches lag behind."""
    full_every: timedelta = timedelta(seconds=30)
    """Between full comparisons."""
    limits: Limits = QUICK_LIMITS
    """From when on breakers open."""
    orphans: OrphanPolicy = QUICK_ORPHANS
    """When a device without an owner is returned."""
    sweep_every: timedelta = timedelta(seconds=30)
    """Between sweeps for such devices."""
    tick: timedelta = timedelta(seconds=1)
    """How much time a step lets pass while something happens …"""
    tick_max: timedelta = timedelta(seconds=2)
    """… and, doubling, when nothing does."""
    interleaved: float = 0.0
    """At what share of the instants before and after a call another thread of the engine acts."""


class World:
    """Everything there is. The same seed and the same orders give the same trace, byte for byte."""

    def __init__(
        self,
        seed: Seed,
        store: Store,
        settings: WorldSettings | None = None,
        *,
        mishaps: Mapping[int, Moment] | None = None,
        reopen: Callable[[], Store] | None = None,
    ) -> None:
        """Begin with one class and its Secret, and no Machine; the store stays the caller's to close.

        `mishaps` says at which numbered calls something goes wrong; the numbers run on over a crash. `reopen` answers
        the store as a crash left it; without it a crash leaves the store as it is.
        """
        self.settings = settings or WorldSettings()
        self.clock = VirtualClock()
        self.engine_clock = SkewedClock(self.clock)
        """What the engine reads: its wall clock can be wrong while true time goes on."""
        self.store = store
        self.cloud = MetalSimulator(clock=self.clock, seed=seed.child("metal"), settings=self.settings.metal)
        self.cluster = SimulatedCluster(clock=self.clock, seed=seed.child("cluster"), target=self.settings.target)
        self.cluster.lag = self.settings.lag
        self.trace: list[str] = []
        """One line for each numbered call: when, which, and how it ended."""
        self.crashes = 0
        """How often the process was killed."""
        self._mishaps = dict(mishaps or {})
        self._reopen = reopen
        self.silent: set[str] = set()
        """The providerIDs of Nodes that have lost their connection."""
        self.backup: Store | None = None
        """A copy of the store as it once was."""
        self._joined: set[str] = set()
        self._hushed: set[str] = set()
        self._tick = self.settings.tick
        self.meanwhile: deque[Callable[[], None]] = deque()
        """What people do while the engine waits for its next calls, at the latest in the end of the step."""
        self._threads = seed.child("threads")
        self._waiting = 0
        self.invariants = self._watched()
        self.rotate(TOKEN)
        self.cluster.user.make_class(CLASS, secret=SECRET, spec=self.settings.spec)
        self.engine = self._born(first=1)

    @property
    def calls(self) -> int:
        """How many numbered calls were made so far, over all lives of the process."""
        return self.engine.tap.next - 1

    def rotate(self, token: str) -> None:
        """Put this token into the Secret."""
        values = {"apiToken": token.encode(), "userData": USERDATA.encode()}
        self.cluster.user.make_secret(SECRET, values)

    def reclass(self, **spec: Any) -> None:
        """Change the providerSpec of the class."""
        held = self.cluster.machine_class(CLASS)
        changed = {**(held.provider_spec if held and held.provider_spec else self.settings.spec), **spec}
        self.cluster.user.make_class(CLASS, secret=SECRET, spec=changed)

    def order_to_close(self, *breakers: Breaker) -> None:
        """Have an operator annotate the class so that these breakers close; without any, take the order off again."""
        held = self.cluster.machine_class(CLASS)
        text = ",".join(breakers)
        if held and held.annotations.get(CLOSE_BREAKER_ANNOTATION, "") != text:
            orders = {CLOSE_BREAKER_ANNOTATION: text} if text else {}
            spec = held.provider_spec or self.settings.spec
            self.cluster.user.make_class(CLASS, secret=SECRET, spec=spec, annotations=orders)

    def create(self, name: str, **more: Any) -> MachineObject:
        """Want a Machine."""
        return self.cluster.user.make_machine(name, class_name=CLASS, **more)

    def delete(self, name: str) -> None:
        """Want a Machine gone."""
        self.cluster.user.delete(MachineObject, name)

    def buy(self, name: str, uid: MachineUid) -> Device:
        """Have somebody else buy a device with the tag of this Machine."""
        secret = {"apiToken": TOKEN.encode(), "userData": USERDATA.encode()}
        self.invariants.foreign[uid] += 1
        cloud = _metal(self, self.clock).bind(spec=self.settings.spec, secret=secret)
        return cloud.order(DeviceOrder(uid=uid, hostname=name, userdata=USERDATA))

    def mishap(self, number: int, moment: Moment) -> None:
        """Have something go wrong at the call of this number."""
        self._mishaps[number] = moment

    def buy_untagged(self, name: str, **more: Any) -> None:
        """Have the Go controller buy a device for a Machine of this name; `more` goes into the order's body."""
        spec = self.settings.spec
        order = {
            "hostname": name,
            "plan": spec["machineType"],
            "metro": spec["metro"],
            "operating_system": spec["OS"],
            "tags": spec["tags"],
            **more,
        }
        self._ask_cloud("POST", f"projects/{PROJECT_ID}/devices", order)

    def buy_foreign(self, name: str) -> None:
        """Have somebody buy a device in our project that is none of our business."""
        known = {each.id for each in self.cloud.history()}
        self.buy_untagged(name, tags=[])
        self.invariants.strangers |= {each.id for each in self.cloud.history()} - known

    def in_console(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        """Have a human do something to a device in the cloud's console; `path` begins with the device's id."""
        self._ask_cloud(method, f"devices/{path}", body or {})

    def crash(self) -> None:
        """Kill the process, and start it anew on the same store, cloud and cluster."""
        self.engine.tap.kill()
        self.crashes += 1
        self.cluster.stop()
        if self._reopen:
            self.store = self._reopen()
            self.invariants.store_reopened(self.store)
        self.invariants.process_began()
        self.engine = self._born(first=self.engine.tap.next)

    def lose_store(self, empty: Store) -> None:
        """Kill the process, and let it start anew on a database that knows nothing."""
        self.store, self._reopen = empty, None
        self.invariants = self.invariants.continued(self._truth())
        self.crash()

    def step(self) -> None:
        """Let time pass to the next instant, let everybody act, and check every promise."""
        before = self.calls
        self.clock.advance(self._tick)
        self.cluster.deliver()
        self._join()
        try:
            self.engine.turn()
        except SimulatedCrash:
            self.crash()
        while self.meanwhile:
            self.meanwhile.popleft()()
        self.invariants.after_step()
        idle = self.calls == before
        self._tick = min(self._tick * 2, self.settings.tick_max) if idle else self.settings.tick

    def run_until(self, fact: Callable[[], object], *, limit: timedelta = timedelta(minutes=10)) -> timedelta:
        """Step until the fact holds; answer how much time passed. Raises NeverCameError when the limit is over."""
        start = self.clock.now()
        while not fact():
            if self.clock.now() - start > limit:
                raise NeverCameError(f"after {limit}: {'; '.join(self.told())}")
            self.step()
        return self.clock.now() - start

    def run_for(self, span: timedelta) -> None:
        """Step until the span is over."""
        end = self.clock.now() + span
        self.run_until(lambda: self.clock.now() >= end, limit=span * 2)

    def settle(self, *, limit: timedelta = timedelta(minutes=10)) -> timedelta:
        """Step until the world is at rest, and check what must hold then; answer how long it took."""
        passed = self.run_until(self.at_rest, limit=limit)
        self.step()
        self.invariants.at_rest()
        return passed

    def at_rest(self) -> bool:
        """Answer whether every Machine serves, and nothing is left of those that were deleted."""
        machines = self.cluster.user.machines()
        if any(each.deletion_requested_at for each in machines):
            return False
        records = self.store.find(MachineFilter(unfinished_only=True))
        if {each.uid for each in machines} != {each.uid for each in records}:
            return False
        serving = all(each.place == ACTIVE_HEALTHY for each in records)
        quiet = serving and self.invariants.mirrored()
        return quiet and self.invariants.owners() == sorted(each.uid for each in records)

    def places(self) -> dict[str, str]:
        """Answer where each machine that is not finished stands, by name."""
        return {each.name: str(each.place) for each in self.store.find(MachineFilter(unfinished_only=True))}

    def told(self) -> list[str]:
        """Answer the state of the world in lines, for the message of a failure."""
        records = self.store.find(MachineFilter())
        lines = [f"{each.name} {each.place} {each.device_id} {each.problem} due {each.due_at}" for each in records]
        lines += [f"device {each.id} of {each.hostname} {each.state}" for each in self.cloud.devices()]
        lines += [f"object {each.name} {each.finalizers}" for each in self.cluster.user.machines()]
        return lines

    def _tap(self, *, first: int) -> Tap:
        return Tap(
            first=first,
            mishaps=self._mishaps,
            before=self.invariants.before,
            after=self._note,
            between=self._let_others_act if self.settings.interleaved else None,
        )

    def _let_others_act(self) -> None:
        """Time passes in a call: watches tell, people act, and another thread goes on until it waits itself."""
        if self._waiting >= WAITING_MAX or not self._threads.chance(self.settings.interleaved):
            return
        self._waiting += 1
        try:
            self.clock.advance(CALL_TAKES)
            self.cluster.deliver()
            if self.meanwhile:
                self.meanwhile.popleft()()
            else:
                self.engine.interleave(self._threads)
        finally:
            self._waiting -= 1

    def _born(self, *, first: int) -> Engine:
        around = Surroundings(
            clock=self.engine_clock,
            store=self.store,
            cluster=self.cluster,
            provider=_metal(self, self.engine_clock),
            provider_name=NAME,
            policy=self.settings.policy,
            cadence=self.settings.cadence,
            full_every=self.settings.full_every,
            orphans=self.settings.orphans,
            sweep_every=self.settings.sweep_every,
            limits=self.settings.limits,
        )
        return Engine(around, self._tap(first=first))

    def _watched(self) -> Invariants:
        return Invariants(self._truth())

    def _truth(self) -> Truth:
        return Truth(
            store=self.store,
            cluster=self.cluster,
            cloud=self.cloud,
            canaries=tuple(canary.encode() for canary in CANARIES),
            now=self.clock.now,
            orphan_age=self.settings.orphans.age,
        )

    def _ask_cloud(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        text, headers = json.dumps(body).encode(), {"x-auth-token": TOKEN}
        self.cloud.handle(HttpRequest(method=method, path=f"/metal/v1/{path}", headers=headers, body=text))

    def _note(self, call: Call, outcome: str) -> None:
        self.invariants.after(call, outcome)
        self.trace.append(f"{self.clock.monotonic():.3f} {call.number} {call.name} {call.subject} {outcome}")

    def _join(self) -> None:
        """Have the kubelets of devices that are up register, and those of devices that are gone fall silent."""
        if not self.settings.target:
            return
        up = {each.id: each for each in self.cloud.devices() if each.state == "active"}
        for node in self.cluster.user.nodes():
            if node.provider_id in self.silent or node.provider_id.rsplit("/", 1)[-1] not in up:
                self._hushed.add(node.name)
                self.cluster.user.set_ready(node.name, ready=False)
            elif node.name in self._hushed:
                self._hushed.discard(node.name)
                self.cluster.user.set_ready(node.name, ready=True)
        span = self.settings.join_after
        for device in up.values():
            late = span is None or device.active_at is None or device.active_at + span > self.clock.now()
            if not late and device.id not in self._joined and self.cluster.user.machine(device.hostname):
                self._joined.add(device.id)
                self.cluster.user.make_node(device.hostname, provider_id=f"equinixmetal://{device.id}")


def _metal(world: World, clock: Clock) -> EquinixMetal:
    transport = SimulatorAdapter(world.cloud.handle, clock=clock)
    settings = EquinixSettings(page_size=world.settings.page_size)
    return EquinixMetal(clock=clock, settings=settings, transport=transport)

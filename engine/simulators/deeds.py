"""What can be wished and what can go wrong in a simulated world, by name: how it is drawn, begun and ended.

A deed looks at the world only when it begins; one that finds nothing to act upon does nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from engine.domain.wanted import ClassObject, MachineObject, SecretObject
from engine.ports.cluster import ClusterDeniedError, ClusterUnavailableError
from engine.simulators.metal import DeviceView, FaultKind, FaultRule, Operation
from engine.simulators.ports import Moment
from engine.simulators.seed import Seed
from engine.simulators.store import ModelStore
from engine.simulators.world import CLASS, OTHER_TOKEN, SECRET, TOKEN, WRONG_TOKEN, World

Arg = str | int | float
Act = Callable[..., None]

NAMES_MAX: Final = 20
AT_ONCE_MAX: Final = 5
PLANS = ("c3.small.x86", "m3.small.x86")
STALE_SECONDS = 15.0  # less than the visibility window of the worlds
LASTS_MAX = 40  # steps; a minute or two of virtual time, longer than any single wait of the quick policy
PAUSE_SECONDS = 600
JUMP_MINUTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DeedKind:
    """One thing that can be done to a world."""

    weight: int
    begin: Act
    end: Act | None = None
    draw: Callable[[Seed], tuple[Arg, ...]] = lambda _seed: ()
    lasts_max: int = 0
    wish: bool = False
    by_hand: bool = False
    """Whether people do it, to whom it does not matter what the engine is waiting for."""

    @property
    def anytime(self) -> bool:
        """Whether it can happen while the engine waits for a call."""
        return self.wish or self.by_hand


def _pick(*things: Arg) -> Callable[[Seed], tuple[Arg, ...]]:
    return lambda seed: (things[seed.integer(0, len(things) - 1)],)


def _number(seed: Seed) -> tuple[Arg, ...]:
    return (seed.integer(0, NAMES_MAX),)


def _some(seed: Seed) -> tuple[Arg, ...]:
    return (seed.integer(1, NAMES_MAX), seed.integer(1, AT_ONCE_MAX))


def _create(world: World, first: int, number: int) -> None:
    for name in _names(first, number):
        if world.cluster.user.machine(name) is None:
            world.create(name)


def _delete(world: World, first: int, number: int) -> None:
    for name in _names(first, number):
        world.delete(name)


def _names(first: int, number: int) -> list[str]:
    return [f"worker-{first + each}" for each in range(number)]


def _reclass(world: World, plan: str) -> None:
    world.reclass(machineType=plan)


def _rotate(world: World) -> None:
    world.rotate(OTHER_TOKEN)


def _spoil_token(world: World) -> None:
    world.rotate(WRONG_TOKEN)


def _mend_token(world: World) -> None:
    world.rotate(TOKEN)


def _lose_secret(world: World) -> None:
    world.cluster.user.strike_out(SecretObject, SECRET)


def _lose_class(world: World) -> None:
    world.cluster.user.strike_out(ClassObject, CLASS)


def _mend_class(world: World) -> None:
    world.reclass()


def _refuse(world: World, how: str) -> None:
    world.cluster.refusing = ClusterUnavailableError("away") if how == "away" else ClusterDeniedError("no")


def _accept(world: World, *_: Arg) -> None:
    world.cluster.refusing = None


def _lag(world: World, seconds: int) -> None:
    world.cluster.lag = timedelta(seconds=seconds)


def _catch_up(world: World, *_: Arg) -> None:
    world.cluster.lag = world.settings.lag


def _silence(world: World, first: int) -> None:
    """Every Node but the first few loses its connection."""
    world.silent = {node.provider_id for node in world.cluster.user.nodes()[first:]}


def _unsilence(world: World, *_: Arg) -> None:
    world.silent = set()


def _crash_soon(world: World, ahead: int, moment: str) -> None:
    world.mishap(world.calls + ahead, Moment(moment))


def _pause(world: World) -> None:
    world.clock.advance(timedelta(seconds=PAUSE_SECONDS))


def _jump(world: World, minutes: int) -> None:
    world.engine_clock.skew = timedelta(minutes=minutes)


def _jump_back(world: World, *_: Arg) -> None:
    world.engine_clock.skew = timedelta(0)


def _lose_store(world: World) -> None:
    """Not while a device has lost its tag: the database was then the last that knew whose it is."""
    if isinstance(world.store, ModelStore) and not world.invariants.untraceable():
        world.lose_store(ModelStore())


def _back_up(world: World) -> None:
    if isinstance(world.store, ModelStore):
        world.backup = world.store.copy()


def _restore(world: World) -> None:
    """Nobody restores a database faster than a new device shows up in a list, which is what adopting it rests on."""
    if world.backup is not None and not world.invariants.untraceable():
        world.clock.advance(world.settings.policy.visibility_window)
        world.lose_store(world.backup)
        world.backup = None


def _strip_finalizer(world: World, number: int) -> None:
    if machine := _traceable(world, number):
        world.cluster.user.change_machine(machine.name, finalizers=())


def _strike_out(world: World, number: int) -> None:
    """Somebody strips the finalizer and deletes the object before it can be put back."""
    if machine := _traceable(world, number):
        world.cluster.user.strike_out(MachineObject, machine.name)


def _traceable(world: World, number: int) -> MachineObject | None:
    """Some Machine, unless its device has lost its tags: nothing says then whose it is, and only a human can help."""
    machines = world.cluster.user.machines()
    machine = machines[number % len(machines)] if machines else None
    return machine if machine and machine.uid not in world.invariants.untraceable() else None


def _owned(world: World, number: int) -> DeviceView | None:
    """Some device of a Machine that names it and is held; one in doubt cannot be lost to a human as well."""
    held = [each for each in world.cluster.user.machines() if each.provider_id and each.finalizers]
    named = {each.provider_id.rsplit("/", 1)[-1] for each in held}
    owned: Sequence[DeviceView] = [each for each in world.cloud.billing() if each.id in named]
    return owned[number % len(owned)] if owned else None


def _take_device(world: World, number: int) -> None:
    if device := _owned(world, number):
        world.in_console("DELETE", device.id)


def _rename_device(world: World, number: int) -> None:
    if device := _owned(world, number):
        world.in_console("PUT", device.id, {"hostname": f"by-hand-{device.hostname}"})


def _untag_device(world: World, number: int) -> None:
    if device := _owned(world, number):
        world.in_console("PUT", device.id, {"tags": []})


def _power_off(world: World, number: int) -> None:
    if device := _owned(world, number):
        world.in_console("POST", f"{device.id}/actions", {"type": "power_off"})


def power_on(world: World, *_: Arg) -> None:
    """Turn on whatever is off; a device on its way down refuses, and must be asked again."""
    for device in world.cloud.devices():
        if device.state == "inactive":
            world.in_console("POST", f"{device.id}/actions", {"type": "power_on"})


def _buy_foreign(world: World) -> None:
    world.buy_foreign(f"stranger-{len(world.invariants.strangers) + 1}")


def _forget_rule(kind: FaultKind) -> Act:
    return lambda world, *_: world.cloud.faults.remove(kind)


def _cloud(
    kind: FaultKind, *, share: float = 1.0, seconds: float = 0.0, operations: Sequence[Operation] = (), left: int = 0
) -> DeedKind:
    def begin(world: World, operation: str) -> None:
        rule = FaultRule(
            kind=kind,
            share=share,
            seconds=seconds,
            left=left or None,
            operation=Operation(operation) if operation else None,
        )
        world.cloud.faults.add(rule)

    names = [each.value for each in operations] or [""]
    return DeedKind(weight=2, begin=begin, end=_forget_rule(kind), draw=_pick(*names), lasts_max=LASTS_MAX)


def _lose_order(world: World) -> None:
    """The next order is answered to nobody, and its device is not listed at once."""
    lost = FaultRule(kind=FaultKind.LOST_AFTER, left=1, operation=Operation.CREATE)
    world.cloud.faults.add(lost, FaultRule(kind=FaultKind.STALE_LIST, seconds=STALE_SECONDS))


def _find_order(world: World) -> None:
    world.cloud.faults.remove(FaultKind.LOST_AFTER)
    world.cloud.faults.remove(FaultKind.STALE_LIST)


_ASKED = (Operation.CREATE, Operation.GET, Operation.LIST, Operation.DELETE)
CLOUD: dict[str, DeedKind] = {
    FaultKind.LOST_BEFORE.value: _cloud(FaultKind.LOST_BEFORE, share=0.5, operations=_ASKED),
    FaultKind.LOST_AFTER.value: _cloud(FaultKind.LOST_AFTER, share=0.5, operations=_ASKED),
    FaultKind.THROTTLED.value: _cloud(FaultKind.THROTTLED, share=0.5),
    FaultKind.OH_SNAP_BEFORE.value: _cloud(FaultKind.OH_SNAP_BEFORE, share=0.5),
    FaultKind.OH_SNAP_AFTER.value: _cloud(FaultKind.OH_SNAP_AFTER, share=0.5),
    FaultKind.BAD_GATEWAY.value: _cloud(FaultKind.BAD_GATEWAY, share=0.5),
    FaultKind.UNAUTHORIZED.value: _cloud(FaultKind.UNAUTHORIZED),
    FaultKind.FORBIDDEN.value: _cloud(FaultKind.FORBIDDEN, share=0.5),
    FaultKind.STALE_LIST.value: _cloud(FaultKind.STALE_LIST, seconds=STALE_SECONDS),
    FaultKind.LIST_PAGE_ERROR.value: _cloud(FaultKind.LIST_PAGE_ERROR, share=0.5),
    FaultKind.NO_CAPACITY.value: _cloud(FaultKind.NO_CAPACITY, share=0.7),
    FaultKind.FAIL_PROVISIONING.value: _cloud(FaultKind.FAIL_PROVISIONING, left=1),
    FaultKind.FAIL_AND_STAY.value: _cloud(FaultKind.FAIL_AND_STAY, left=1),
    FaultKind.LATENCY.value: _cloud(FaultKind.LATENCY, share=0.3, seconds=40.0),
    FaultKind.LIST_EMPTY.value: _cloud(FaultKind.LIST_EMPTY),
    FaultKind.LIST_TRUNCATED.value: _cloud(FaultKind.LIST_TRUNCATED),
}
DEEDS: dict[str, DeedKind] = {
    "create": DeedKind(weight=14, begin=_create, draw=_some, wish=True),
    "delete": DeedKind(weight=9, begin=_delete, draw=_some, wish=True),
    "reclass": DeedKind(weight=1, begin=_reclass, draw=_pick(*PLANS), wish=True),
    **CLOUD,
    "order_lost": DeedKind(weight=4, begin=_lose_order, end=_find_order, lasts_max=LASTS_MAX),
    "crash": DeedKind(weight=2, begin=lambda world: world.crash()),
    "mishap": DeedKind(
        weight=8, begin=_crash_soon, draw=lambda seed: (seed.integer(1, 12), *_pick(*(m.value for m in Moment))(seed))
    ),
    "rotated": DeedKind(weight=1, begin=_rotate, end=_mend_token, lasts_max=LASTS_MAX),
    "wrong_token": DeedKind(weight=2, begin=_spoil_token, end=_mend_token, lasts_max=LASTS_MAX),
    "secret_gone": DeedKind(weight=2, begin=_lose_secret, end=_mend_token, lasts_max=LASTS_MAX),
    "class_gone": DeedKind(weight=2, begin=_lose_class, end=_mend_class, lasts_max=LASTS_MAX),
    "cluster_refuses": DeedKind(
        weight=2, begin=_refuse, end=_accept, draw=_pick("away", "denied"), lasts_max=LASTS_MAX
    ),
    "cluster_lags": DeedKind(weight=2, begin=_lag, end=_catch_up, draw=_pick(5, 20, 60), lasts_max=LASTS_MAX),
    "nodes_silent": DeedKind(weight=2, begin=_silence, end=_unsilence, draw=_pick(0, 1, 2), lasts_max=LASTS_MAX),
    "paused": DeedKind(weight=1, begin=_pause),
    "clock_jumped": DeedKind(
        weight=1, begin=_jump, end=_jump_back, draw=_pick(-JUMP_MINUTES, JUMP_MINUTES), lasts_max=LASTS_MAX
    ),
    "store_lost": DeedKind(weight=1, begin=_lose_store),
    "store_restored": DeedKind(weight=1, begin=_back_up, end=_restore, lasts_max=LASTS_MAX),
    "device_taken": DeedKind(weight=1, by_hand=True, begin=_take_device, draw=_number),
    "device_renamed": DeedKind(weight=1, by_hand=True, begin=_rename_device, draw=_number),
    "device_untagged": DeedKind(weight=1, by_hand=True, begin=_untag_device, draw=_number),
    "device_off": DeedKind(weight=1, by_hand=True, begin=_power_off, end=power_on, draw=_number, lasts_max=LASTS_MAX),
    "finalizer_stripped": DeedKind(weight=1, by_hand=True, begin=_strip_finalizer, draw=_number),
    "object_lost": DeedKind(weight=1, by_hand=True, begin=_strike_out, draw=_number),
    "foreign_device": DeedKind(weight=1, by_hand=True, begin=_buy_foreign),
}
"""Every deed by its name."""

_LIES = frozenset({FaultKind.LIST_EMPTY.value, FaultKind.LIST_TRUNCATED.value})
_BESIDE_LIES = frozenset(
    {
        FaultKind.THROTTLED.value,
        FaultKind.UNAUTHORIZED.value,
        FaultKind.FORBIDDEN.value,
        FaultKind.NO_CAPACITY.value,
        FaultKind.FAIL_PROVISIONING.value,
        FaultKind.FAIL_AND_STAY.value,
        *("crash", "rotated", "wrong_token", "cluster_refuses", "cluster_lags", "nodes_silent", "clock_jumped"),
        *("finalizer_stripped", "object_lost", "device_taken", "device_renamed", "device_off", "foreign_device"),
    }
)
_FORGETFUL = frozenset({"store_restored"})
_EVERYDAY = frozenset(name for name, kind in DEEDS.items() if not kind.wish) - _LIES - _FORGETFUL
TEMPERS: dict[str, frozenset[str]] = {
    "everyday": _EVERYDAY,
    "lying": _LIES | _BESIDE_LIES,
    "forgetful": _EVERYDAY - {"secret_gone", "class_gone"} | _FORGETFUL,
}
"""Which faults may strike one world together.

Lists that look complete and are not prove nothing, but an order whose answer was lost is looked for in lists alone; and
a database that forgot a purchase can only be told of it by the account, which is lost together with its Secret. Neither
pair is promised to be survived, so neither is drawn together.
"""

MOVES_DATABASE = frozenset({"store_lost", "store_restored"})
"""What puts another database in the place of the one that there is."""


def mend(world: World) -> None:
    """End whatever was begun."""
    world.cloud.faults.replace()
    world.backup = None
    for name, kind in DEEDS.items():
        if kind.end and name not in CLOUD:
            kind.end(world)

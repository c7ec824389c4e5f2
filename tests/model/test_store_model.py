"""Random operations on SQLite and on the naive store: every answer and every snapshot must agree."""

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.intents import IntentResult
from engine.domain.machine import MachineFilter
from engine.domain.outcome import Code, Problem
from engine.domain.states import ACTIVE_HEALTHY, DELETED_REST, FAILED_HALT, PROVISIONING_ORDER, State
from engine.errors import LostClaimError, StoreError
from engine.ports.store import Claim, Commit, HistoryFilter, Resolution, Store
from engine.store import open_store
from tests.contract.store_records import (
    SECOND,
    SPAN,
    START,
    entry,
    full_machine,
    full_orphan,
    intent,
    machine,
    moved,
    observed,
    orphan,
)
from tests.model.model_store import ModelStore

NUMBERS = st.integers(1, 4)
WORKERS = st.sampled_from(["ann", "bob"])
SPANS = st.sampled_from([1, 20, 60]).map(lambda seconds: seconds * SECOND)
PLACES = st.sampled_from([PROVISIONING_ORDER, ACTIVE_HEALTHY, FAILED_HALT])
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
NAMES = st.lists(st.sampled_from(["r-1", "r-2", "r-3"]), unique=True)
ACCOUNTS = st.sampled_from([AccountKey("a"), AccountKey("b")])
STEPS = 50
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "60"))  # the rest of the budget of 25 s is for slow machines


@cache
def empty_database() -> Path:
    """A file with our tables, made once and copied for every example."""
    folder = tempfile.mkdtemp(prefix="model-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "empty.db"
    open_store(f"sqlite:///{path}").close()
    return path


class StoreComparison(RuleBasedStateMachine):
    """Drives both stores; what a rule achieved is counted over the whole run."""

    achieved: ClassVar[Counter[str]] = Counter()

    @initialize()
    def open(self) -> None:
        """Both know one machine, and somebody works on it."""
        self.folder = tempfile.TemporaryDirectory(prefix="model-")
        path = Path(self.folder.name) / "engine.db"
        shutil.copy(empty_database(), path)
        self.url = f"sqlite:///{path}"
        self.real: Store = open_store(self.url)
        self.model: Store = ModelStore()
        self.now = START
        self.claims: list[Claim] = []
        self.age = 0
        self.admit(number=1, name="first", due=True)
        self.claim(number=1, worker="ann", span=SPAN)

    def teardown(self) -> None:
        """Nothing stays open."""
        if hasattr(self, "real"):
            self.real.close()
            self.folder.cleanup()

    @rule(number=NUMBERS, name=TEXTS, due=st.booleans())
    def admit(self, number: int, name: str, *, due: bool) -> None:
        """A machine is seen for the first time, or again."""
        record = machine(
            number, name=name, admitted_at=self.now, place_since=self.now, due_at=self.now if due else None
        )
        new = self._both("admit", lambda store: store.admit(record=record, entry=entry(record)))
        self._achieve("admit" if new else "admit again")

    @rule(number=NUMBERS, worker=WORKERS, span=SPANS)
    def claim(self, number: int, worker: str, span: Any) -> None:
        """Somebody asks for a machine."""
        uid = MachineUid(f"uid-{number}")
        claim = self._both("claim", lambda store: store.claim(uid=uid, worker=worker, now=self.now, span=span))
        if claim is not None:
            self.claims.append(claim)
            self._achieve("claim")

    @rule(which=st.integers(0), place=PLACES, note=TEXTS, release=st.booleans(), full=st.booleans())
    @precondition(lambda self: self.claims)
    def commit(self, which: int, place: Any, note: str, *, release: bool, full: bool) -> None:
        """A worker moves its machine, with a claim that may be lost."""
        index, claim = self._pick(which)
        change = moved(claim, place, at=self.now, release=release)
        change = replace(change, entries=[replace(change.entries[0], note=note, problem=self._trouble(note))])
        if full:
            change = replace(change, record=full_machine(change.record))
        self._commit(index, change, "commit and release" if release else "commit")

    @rule(which=st.integers(0), numbers=st.lists(st.integers(1, 5), min_size=1, max_size=2))
    @precondition(lambda self: self.claims)
    def write_intents(self, which: int, numbers: list[int]) -> None:
        """A worker writes down what it is going to do; a known intent is refused."""
        index, claim = self._pick(which)
        opened = [intent(claim.record.uid, number, written_at=self.now) for number in numbers]
        self._commit(index, moved(claim, at=self.now, opened=opened), "write intents")

    @rule(which=st.integers(0), number=st.integers(1, 5), result=st.sampled_from(IntentResult), device=st.booleans())
    @precondition(lambda self: self.claims)
    def resolve(self, which: int, number: int, result: IntentResult, *, device: bool) -> None:
        """A worker writes down what became of it."""
        index, claim = self._pick(which)
        found = Resolution(
            intent_id=intent(claim.record.uid, number).intent_id,
            result=result,
            at=self.now,
            device_id=DeviceId("device") if device else None,
            problem=self._trouble(result.value),
        )
        known = any(old.intent_id == found.intent_id and old.unresolved for old in self.model.intents(claim.record.uid))
        self._commit(index, Commit(record=claim.record, resolved=[found]), "resolve" if known else "resolve nothing")

    @rule(which=st.integers(0))
    @precondition(lambda self: self.claims)
    def finish(self, which: int) -> None:
        """A life ends."""
        index, claim = self._pick(which)
        self._commit(index, moved(claim, DELETED_REST, at=self.now, release=True), "finish")

    @rule(number=NUMBERS, skip=st.sampled_from([1, 1, 2]))
    def readmit(self, number: int, skip: int) -> None:
        """The object of a machine is back, whose life may be over."""
        known = self.model.get(MachineUid(f"uid-{number}"))
        if known is None:
            return
        record = replace(known, place=FAILED_HALT, version=known.version + skip, due_at=self.now)
        if self._both("readmit", lambda store: store.readmit(record=record, entry=entry(record))):
            self._achieve("readmit")

    @rule(which=st.integers(0), wait=st.sampled_from([None, 0, 5, 100]))
    @precondition(lambda self: self.claims)
    def release(self, which: int, wait: int | None) -> None:
        """A worker gives its machine back, with a claim that may be lost."""
        _, claim = self._pick(which)
        due_at = None if wait is None else self.now + wait * SECOND
        self._both("release", lambda store: store.release(claim=claim, due_at=due_at))
        self._achieve("release")

    @rule(seconds=st.sampled_from([1, 19, 60, -3]))
    def tick(self, seconds: int) -> None:
        """Time passes; once in a while a clock is set back."""
        self.now += seconds * SECOND
        self._achieve("tick")

    @rule(wait=st.sampled_from([61, 0]))
    def reap(self, wait: int) -> None:
        """Expired claims are taken back."""
        self.now += wait * SECOND
        if self._both("reap", lambda store: store.reap(now=self.now)):
            self._achieve("reap")

    @rule(number=NUMBERS, wanted=NAMES, cooldown=SPANS)
    def hold(self, number: int, wanted: list[str], cooldown: Any) -> None:
        """A machine takes a reservation."""
        uid = MachineUid(f"uid-{number}")
        kept = {"uid": uid, "wanted": wanted, "now": self.now, "cooldown": cooldown}
        if self._both("hold", lambda store: store.hold_reservation(**kept)):
            self._achieve("hold")

    @rule(number=NUMBERS, name=st.sampled_from(["r-1", "r-2", "r-3"]), own=st.booleans())
    def free(self, number: int, name: str, *, own: bool) -> None:
        """A machine gives a reservation back; its own one, or any."""
        before = self.model.reservations()
        holders = {held.reservation_id: held.uid for held in before if own}
        uid = holders.get(name, MachineUid(f"uid-{number}"))
        self._both("free", lambda store: store.free_reservation(uid=uid, reservation_id=name, now=self.now))
        if self.model.reservations() != before:
            self._achieve("free")

    @rule(account=ACCOUNTS, seen=st.sets(NUMBERS), gone=st.sets(NUMBERS))
    def observe(self, account: AccountKey, seen: set[int], gone: set[int]) -> None:
        """A list of devices was read."""
        found = [observed(number, at=self.now, account=account) for number in sorted(seen)]
        lost = [DeviceId(f"device-{number}") for number in sorted(gone - seen)]
        self._both("observe", lambda store: store.record_devices(account=account, seen=found, gone=lost, at=self.now))
        if any(known.gone_at == self.now for known in self.model.devices(account=account)):
            self._achieve("observe")

    @rule(seen=st.sets(NUMBERS), gone=st.sets(NUMBERS), full=st.booleans(), reason=TEXTS)
    def sweep(self, seen: set[int], gone: set[int], reason: str, *, full: bool) -> None:
        """Devices that nobody owns were found, or found an owner."""
        found = [orphan(number, reason=reason, first_seen_at=self.now) for number in sorted(seen)]
        found = [full_orphan(each) for each in found] if full else found
        lost = [DeviceId(f"device-{number}") for number in sorted(gone - seen)]
        before = self.model.orphans()
        self._both("sweep", lambda store: store.record_orphans(seen=found, forgotten=lost))
        if self.model.orphans() != before:
            self._achieve("sweep")

    @rule(holder=WORKERS, span=SPANS)
    def lead(self, holder: str, span: Any) -> None:
        """Somebody wants to lead."""
        if self._both("lead", lambda store: store.acquire_lease(name="l", holder=holder, now=self.now, span=span)):
            self._achieve("lead")

    @rule(holder=WORKERS)
    def resign(self, holder: str) -> None:
        """Somebody stops leading, if it leads."""
        self._both("resign", lambda store: store.release_lease(name="l", holder=holder))
        self._achieve("resign")

    @rule(limit=st.integers(1, 2), wait=st.sampled_from([1, 0]))
    def prune(self, limit: int, wait: int) -> None:
        """Old lives are forgotten."""
        self.now += wait * SECOND
        before = self.now
        if self._both("prune", lambda store: store.prune(before=before, limit=limit)):
            self._achieve("prune")

    @rule()
    @precondition(lambda self: self.age >= 10)
    def reopen(self) -> None:
        """The program ends and starts again; claims of before may still be used."""
        self.age = 0
        self.real.close()
        self.real = open_store(self.url)
        self._achieve("reopen")

    @rule(since=st.sampled_from([-60, 0, 30]), limit=st.integers(1, 6), every=st.booleans(), one=st.booleans())
    def look(self, since: int, limit: int, *, every: bool, one: bool) -> None:
        """An operator reads a part."""
        window = HistoryFilter(
            uid=MachineUid("uid-1") if one else None,
            since=self.now + since * SECOND,
            until=self.now + 60 * SECOND,
            triggers=frozenset() if every else frozenset({"admitted", "validated"}),
            limit=limit,
        )
        wanted = MachineFilter(states=frozenset({State.ACTIVE, State.DELETED}), unfinished_only=every)
        if self._both("history", lambda store: list(store.history(window))):
            self._achieve("look")
        self._both("find", lambda store: list(store.find(wanted)))
        self._both("due", lambda store: list(store.due(now=self.now, limit=limit)))

    @invariant()
    def same(self) -> None:
        """Whoever reads everything sees the same."""
        if hasattr(self, "real"):
            assert snapshot(self.real, self.now) == snapshot(self.model, self.now)

    def _pick(self, which: int) -> tuple[int, Claim]:
        # The latest claims are the ones that mostly hold; older ones are tried as well.
        index = -1 - which % min(len(self.claims), 4)
        return index, self.claims[index]

    def _commit(self, index: int, change: Commit, name: str) -> None:
        claim = self.claims[index]
        answer = self._both(name, lambda store: store.commit(claim=claim, commit=change, span=SPAN, now=self.now))
        if isinstance(answer, Claim):
            self.claims[index] = answer
        self._achieve({LostClaimError: "lose the claim", StoreError: "refuse a known intent"}.get(answer, name))

    def _trouble(self, text: str) -> Problem | None:
        return Problem(code=Code.INTERNAL, message=text) if len(text) % 2 else None

    def _both(self, name: str, ask: Callable[[Store], Any]) -> Any:
        real, model = outcome(ask, self.real), outcome(ask, self.model)
        assert real == model, f"{name}: {real} instead of {model}"
        return model

    def _achieve(self, name: str) -> None:
        self.age += 1
        self.achieved[name] += 1


def outcome(ask: Callable[[Store], Any], store: Store) -> Any:
    """What a store answers, or the class of what it raises."""
    try:
        return ask(store)
    except (StoreError, ValueError) as refused:
        return type(refused)


def snapshot(store: Store, now: datetime) -> dict[str, Any]:
    """Everything that a store tells."""
    records = list(store.find(MachineFilter()))
    return {
        "machines": records,
        "history": list(store.history(HistoryFilter())),
        "intents": [list(store.intents(record.uid)) for record in records],
        "due": list(store.due(now=now, limit=100)),
        "reservations": list(store.reservations()),
        "devices": list(store.devices()),
        "orphans": list(store.orphans()),
    }


EVERYTHING = {
    "admit", "admit again", "claim", "commit", "commit and release", "write intents", "refuse a known intent",
    "resolve", "resolve nothing", "finish", "readmit", "lose the claim", "release", "tick", "reap", "hold", "free",
    "observe", "sweep", "lead", "resign", "prune", "reopen", "look",
}  # fmt: skip


@pytest.mark.timeout(300)
def test_sqlite_answers_like_the_model() -> None:
    """After any operations both stores agree, and every kind of operation succeeded at least once in the run."""
    StoreComparison.achieved.clear()
    run_state_machine_as_test(
        StoreComparison,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="MODEL_EXAMPLES" not in os.environ,  # more examples are asked for to find something new
            suppress_health_check=list(HealthCheck),
        ),
    )
    missing = EVERYTHING - set(StoreComparison.achieved)
    assert not missing, f"never succeeded: {sorted(missing)}; {StoreComparison.achieved}"

"""The part of the store's contract that is about finding, histories, intents and pruning."""

from dataclasses import replace

import pytest

from engine.domain.ids import DeviceId, IntentId, MachineUid
from engine.domain.intents import IntentKind, IntentResult
from engine.domain.machine import MachineFilter
from engine.domain.outcome import Code, Problem
from engine.domain.states import DELETED_REST, PROVISIONING_ORDER, State
from engine.errors import LostClaimError, StoreError
from engine.ports.store import HistoryFilter, Resolution, Store
from tests.contract.store_records import (
    SECOND,
    SPAN,
    START,
    admitted,
    claimed,
    finished,
    intent,
    moved,
    versions,
)


class HistoryContract:
    """Histories, intents, finding, pruning."""

    def test_machines_are_found_by_place_and_name(self, store: Store) -> None:
        """Filters narrow; the order is namespace, name, and the newest life last, byte by byte."""
        admitted(store, 1, name="b", admitted_at=START + SECOND)
        admitted(store, 2, name="b")
        admitted(store, 3, name="B")
        admitted(store, 4, name="a-1")
        admitted(store, 5, name="a", namespace="other")
        finished(store, 6)

        def uids(wanted: MachineFilter) -> str:
            return " ".join(record.uid.removeprefix("uid-") for record in store.find(wanted))

        assert uids(MachineFilter()) == "5 3 4 2 1 6"
        assert uids(MachineFilter(namespace="shoot", name="b")) == "2 1"
        assert uids(MachineFilter(states=frozenset({State.DELETED, State.FAILED}))) == "6"
        assert uids(MachineFilter(unfinished_only=True)) == "5 3 4 2 1"

    def test_history_is_filtered(self, store: Store) -> None:
        """A window begins with its first instant and ends before its last; triggers and limits narrow further."""
        for number in (1, 2):
            admitted(store, number)
            claim = claimed(store, number)
            store.commit(claim=claim, commit=moved(claim, at=START + number * SECOND), span=SPAN, now=START)

        def found(wanted: HistoryFilter) -> list[tuple[str, int]]:
            return versions(store.history(wanted))

        assert found(HistoryFilter()) == [("uid-1", 1), ("uid-2", 1), ("uid-1", 2), ("uid-2", 2)]
        assert found(HistoryFilter(limit=1)) == [("uid-2", 2)]
        assert found(HistoryFilter(since=START + SECOND)) == [("uid-1", 2), ("uid-2", 2)]
        assert found(HistoryFilter(since=START + SECOND, until=START + 2 * SECOND)) == [("uid-1", 2)]
        assert found(HistoryFilter(triggers=frozenset({"admitted"}))) == [("uid-1", 1), ("uid-2", 1)]
        both = frozenset({"admitted", "validated", "node-joined"})
        assert found(HistoryFilter(triggers=both, limit=3)) == [("uid-2", 1), ("uid-1", 2), ("uid-2", 2)]
        assert found(HistoryFilter(uid=MachineUid("uid-1"), triggers=both)) == [("uid-1", 1), ("uid-1", 2)]
        assert found(HistoryFilter(uid=MachineUid("uid-1"), limit=1)) == [("uid-1", 2)]

    def test_history_keeps_its_order_when_clocks_disagree(self, store: Store) -> None:
        """An entry with an earlier instant than its predecessor still comes after it."""
        admitted(store, 1)
        admitted(store, 2)
        claim = claimed(store, 1)
        store.commit(claim=claim, commit=moved(claim, at=START - SPAN), span=SPAN, now=START)

        assert versions(store.history(HistoryFilter())) == [("uid-1", 1), ("uid-1", 2), ("uid-2", 1)]
        assert versions(store.history(HistoryFilter(uid=claim.record.uid))) == [("uid-1", 1), ("uid-1", 2)]

    def test_intent_is_resolved_once(self, store: Store) -> None:
        """The first result stays; what the intent knew and the result does not say stays too."""
        uid = admitted(store).uid
        claim = claimed(store)
        order, back = intent(uid), intent(uid, 2, kind=IntentKind.RELEASE, device_id=DeviceId("old"))
        claim = store.commit(claim=claim, commit=moved(claim, opened=[order, back]), span=SPAN, now=START)
        trouble = Problem(code=Code.UNAVAILABLE, message="gone")
        results = [
            Resolution(intent_id=order.intent_id, result=IntentResult.DONE, at=START, device_id=DeviceId("new")),
            Resolution(intent_id=back.intent_id, result=IntentResult.REFUSED, at=START, problem=trouble),
            Resolution(intent_id=order.intent_id, result=IntentResult.REFUSED, at=START + SECOND),
            Resolution(intent_id=IntentId("unknown"), result=IntentResult.DONE, at=START),
        ]

        claim = store.commit(claim=claim, commit=moved(claim, resolved=results), span=SPAN, now=START)
        store.commit(claim=claim, commit=moved(claim, resolved=results[2:]), span=SPAN, now=START)

        done = replace(order, result=IntentResult.DONE, resolved_at=START, device_id=DeviceId("new"))
        refused = replace(back, result=IntentResult.REFUSED, resolved_at=START, problem=trouble)
        assert list(store.intents(uid)) == [done, refused]

    def test_intents_come_in_the_order_of_writing(self, store: Store) -> None:
        """The tenth order comes after the ninth, also when no time passed between them."""
        uid = admitted(store).uid
        claim = claimed(store)
        for number in range(1, 12):
            claim = store.commit(claim=claim, commit=moved(claim, opened=[intent(uid, number)]), span=SPAN, now=START)

        assert [found.intent_id for found in store.intents(uid)] == [f"{uid}/order/{n}" for n in range(1, 12)]

    def test_known_intent_is_not_opened_again(self, store: Store) -> None:
        """An intent that exists is refused with the whole commit."""
        uid = admitted(store).uid
        claim = claimed(store)
        claim = store.commit(claim=claim, commit=moved(claim, opened=[intent(uid)]), span=SPAN, now=START)

        with pytest.raises(StoreError):
            store.commit(claim=claim, commit=moved(claim, opened=[intent(uid)]), span=SPAN, now=START)

        assert store.get(uid) == claim.record
        assert len(store.intents(uid)) == 1

    def test_prune_forgets_old_finished_machines(self, store: Store) -> None:
        """The machines that ended first go first, with all that is kept of them; unfinished ones stay for ever."""
        for number in range(1, 5):
            finished(store, number, at=START + number * SECOND)
        alive = admitted(store, 9, place_since=START - SPAN)
        before = START + 4 * SECOND

        assert store.prune(before=before, limit=2) == 2
        assert [record.uid for record in store.find(MachineFilter())] == ["uid-3", "uid-4", alive.uid]
        assert store.prune(before=before, limit=10) == 1
        assert versions(store.history(HistoryFilter())) == [("uid-4", 1), (alive.uid, 1), ("uid-4", 2)]
        assert store.prune(before=before, limit=10) == 0

    def test_prune_forgets_more_than_one_batch(self, store: Store) -> None:
        """A limit above the size of a transaction is reached by several."""
        for number in range(120):
            finished(store, number)

        assert store.prune(before=START + SECOND, limit=110) == 110
        assert len(store.find(MachineFilter())) == 10

    def test_pruned_machine_is_lost_to_its_claimant(self, store: Store) -> None:
        """A claim on a machine that was forgotten is lost, and its release is no error."""
        admitted(store)
        claim = claimed(store)
        over = store.commit(claim=claim, commit=moved(claim, DELETED_REST), span=SPAN, now=START)
        store.prune(before=START + SECOND, limit=1)

        with pytest.raises(LostClaimError):
            store.commit(claim=over, commit=moved(over, PROVISIONING_ORDER), span=SPAN, now=START)
        store.release(claim=over, due_at=START)

        assert store.get(claim.record.uid) is None

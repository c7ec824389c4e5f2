"""What every store must do. It knows the port and nothing of what is behind it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from engine.domain.ids import AccountKey, DeviceId, IntentId, MachineUid
from engine.domain.intents import IntentKind, IntentResult
from engine.domain.machine import MachineFilter
from engine.domain.outcome import Code, Problem
from engine.domain.states import ACTIVE_HEALTHY, DELETED_REST, PROVISIONING_ORDER, State
from engine.errors import LostClaimError, StoreError
from engine.ports.store import Claim, Commit, HistoryFilter, Resolution, Store
from tests.contract.store_records import (
    ACCOUNT,
    SECOND,
    SPAN,
    START,
    admitted,
    claimed,
    entry,
    finished,
    full_machine,
    intent,
    machine,
    moved,
    observed,
    versions,
)


class MachineContract:
    """Admission, claims, commits."""

    def test_admitted_machine_is_read_back(self, store: Store) -> None:
        """A record with something in every field, and its entry, come back equal, to the microsecond."""
        record = full_machine(machine())
        first = entry(
            record, problem=record.problem, device_id=DeviceId("d"), intent_id="i", actor="somebody", note="n"
        )

        assert store.admit(record=record, entry=first)

        assert store.get(record.uid) == record
        assert list(store.history(HistoryFilter(uid=record.uid))) == [first]

    def test_second_admission_changes_nothing(self, store: Store) -> None:
        """Admitting a known uid answers False and leaves record and history as they were."""
        record = admitted(store)

        assert not store.admit(record=replace(record, name="other"), entry=entry(record, note="again"))

        assert store.get(record.uid) == record
        assert [line.note for line in store.history(HistoryFilter())] == [""]

    def test_admission_at_another_version_is_refused(self, store: Store) -> None:
        """A life begins with version 1."""
        record = machine(version=2)

        with pytest.raises(ValueError, match="uid-1"):
            store.admit(record=record, entry=entry(record))

    def test_unknown_machine_is_none(self, store: Store) -> None:
        """A uid that was never admitted has no record, no claim, no history and no intents."""
        uid = MachineUid("nobody")

        assert store.get(uid) is None
        assert store.claim(uid=uid, worker="w", now=START, span=SPAN) is None
        assert not store.history(HistoryFilter(uid=uid))
        assert not store.intents(uid)

    def test_claimed_machine_is_not_given_twice(self, store: Store) -> None:
        """While a claim lasts nobody gets the machine, not even the same worker; at its end anybody does."""
        admitted(store)
        first = claimed(store, worker="a")

        for worker in ("a", "b"):
            assert store.claim(uid=first.record.uid, worker=worker, now=first.expires_at - SECOND, span=SPAN) is None
        second = claimed(store, worker="b", now=first.expires_at)

        assert second.fence > first.fence
        assert second.expires_at == first.expires_at + SPAN

    def test_finished_machine_is_not_claimed(self, store: Store) -> None:
        """A life that is over has no work: it is neither due nor given to a worker."""
        uid = finished(store, 1)

        assert store.claim(uid=uid, worker="w", now=START + SPAN, span=SPAN) is None
        assert not store.due(now=START + SPAN, limit=10)

    def test_due_machines_come_longest_due_first(self, store: Store) -> None:
        """Who was due first is answered first; who is due later, never, or held is not answered."""
        for number, due_at in enumerate([START, START - SECOND, START + SECOND, None, START - SPAN], start=1):
            admitted(store, number, due_at=due_at)
        claimed(store, 5)

        assert list(store.due(now=START, limit=10)) == ["uid-2", "uid-1"]
        assert list(store.due(now=START, limit=1)) == ["uid-2"]

    def test_commit_writes_record_entries_and_intents(self, store: Store) -> None:
        """After a commit all of it is read back, and the claim carries the new record and a later end."""
        admitted(store)
        claim = claimed(store)
        change = moved(claim, opened=[intent(claim.record.uid)])
        change = replace(change, record=full_machine(change.record))

        renewed = store.commit(claim=claim, commit=change, span=SPAN, now=START + SECOND)

        assert renewed == replace(claim, record=change.record, expires_at=START + SECOND + SPAN)
        assert store.get(claim.record.uid) == change.record
        assert store.history(HistoryFilter(uid=claim.record.uid))[-1] == change.entries[0]
        assert list(store.intents(claim.record.uid)) == [intent(claim.record.uid)]

    def test_commit_extends_the_claim(self, store: Store) -> None:
        """A commit without release holds the machine until its own time plus the span."""
        admitted(store)
        claim = claimed(store)

        store.commit(claim=claim, commit=moved(claim), span=SPAN, now=START + SPAN)

        uid = claim.record.uid
        assert store.claim(uid=uid, worker="b", now=START + 2 * SPAN - SECOND, span=SPAN) is None
        assert store.claim(uid=uid, worker="b", now=START + 2 * SPAN, span=SPAN) is not None

    def test_commit_with_release_gives_the_machine_back(self, store: Store) -> None:
        """A released machine is due when its record says so, and can be claimed at once."""
        admitted(store)
        claim = claimed(store)
        change = moved(claim, release=True)
        change = replace(change, record=replace(change.record, due_at=START + SECOND))

        store.commit(claim=claim, commit=change, span=SPAN, now=START)

        assert not store.due(now=START, limit=1)
        assert list(store.due(now=START + SECOND, limit=1)) == [claim.record.uid]
        assert claimed(store, worker="b").record == change.record

    def test_commits_follow_each_other_on_one_claim(self, store: Store) -> None:
        """Several entries in one commit, and several commits on one claim, keep their numbers without a gap."""
        admitted(store)
        claim = claimed(store)
        for _ in range(3):
            once = moved(claim)
            twice = moved(replace(claim, record=once.record), ACTIVE_HEALTHY)
            both = Commit(record=twice.record, entries=(*once.entries, *twice.entries))
            claim = store.commit(claim=claim, commit=both, span=SPAN, now=START)

        assert [line.version for line in store.history(HistoryFilter(uid=claim.record.uid))] == list(range(1, 8))

    def test_commit_without_entries_changes_the_record(self, store: Store) -> None:
        """Counters change without a line in the history."""
        admitted(store)
        claim = claimed(store)
        changed = replace(claim.record, attempts=7)

        store.commit(claim=claim, commit=Commit(record=changed), span=SPAN, now=START)

        assert store.get(changed.uid) == changed

    def test_commit_of_a_lost_claim_writes_nothing(self, store: Store) -> None:
        """When somebody else claimed since, the commit raises and record, history and intents stay."""
        record = admitted(store)
        late = claimed(store)
        claimed(store, worker="b", now=late.expires_at)

        with pytest.raises(LostClaimError):
            store.commit(claim=late, commit=moved(late, opened=[intent(record.uid)]), span=SPAN, now=START)

        assert store.get(record.uid) == record
        assert len(store.history(HistoryFilter())) == 1
        assert not store.intents(record.uid)

    def test_commit_of_an_old_version_writes_nothing(self, store: Store) -> None:
        """The same claim commits one version once: a repetition raises."""
        admitted(store)
        claim = claimed(store)
        store.commit(claim=claim, commit=moved(claim), span=SPAN, now=START)

        with pytest.raises(LostClaimError):
            store.commit(claim=claim, commit=moved(claim), span=SPAN, now=START)

        assert len(store.history(HistoryFilter())) == 2

    def test_commit_of_an_expired_claim_that_nobody_took_succeeds(self, store: Store) -> None:
        """Lateness alone is no reason to lose work: only a newer claim is."""
        admitted(store)
        claim = claimed(store)

        renewed = store.commit(claim=claim, commit=moved(claim), span=SPAN, now=START + 10 * SPAN)

        assert store.get(claim.record.uid) == renewed.record

    def test_commit_with_a_gap_is_refused(self, store: Store) -> None:
        """Versions that do not fit the entries are the caller's mistake, and nothing is written."""
        record = admitted(store)
        claim = claimed(store)
        change = moved(claim)

        for wrong in (
            replace(change, record=replace(change.record, version=3)),
            replace(change, entries=()),
            replace(change, entries=(replace(change.entries[0], uid=MachineUid("other")),)),
        ):
            with pytest.raises(ValueError, match=r"uid-1|versions|another"):
                store.commit(claim=claim, commit=wrong, span=SPAN, now=START)

        assert store.get(record.uid) == record

    def test_release_sets_when_the_machine_is_due(self, store: Store) -> None:
        """After a release anybody can claim, and only `due_at` differs."""
        record = admitted(store)
        claim = claimed(store)

        store.release(claim=claim, due_at=START + SPAN)

        assert store.get(record.uid) == replace(record, due_at=START + SPAN)
        assert claimed(store, worker="b").fence > claim.fence

    def test_release_of_a_lost_claim_changes_nothing(self, store: Store) -> None:
        """Who comes late takes nothing from the present holder."""
        record = admitted(store)
        late = claimed(store)
        now = late.expires_at
        claimed(store, worker="b", now=now)

        store.release(claim=late, due_at=None)

        assert store.get(record.uid) == record
        assert store.claim(uid=record.uid, worker="c", now=now, span=SPAN) is None

    def test_reap_makes_expired_machines_due(self, store: Store) -> None:
        """A machine whose worker went silent is due again; one whose claim lasts is left alone."""
        for number in (1, 2, 3):
            admitted(store, number, due_at=None)
        claimed(store, 1)
        claimed(store, 2, now=START + SPAN)
        now = START + SPAN + SECOND

        assert list(store.reap(now=now)) == ["uid-1"]

        assert list(store.due(now=now, limit=10)) == ["uid-1"]
        assert not store.reap(now=now)

    def test_two_claimants_at_once_have_one_winner(self, store: Store) -> None:
        """Of many workers that ask at the same time, exactly one gets the machine."""
        for number in range(10):
            admitted(store, number)

        def ask(turn: int) -> Claim | None:
            return store.claim(uid=MachineUid(f"uid-{turn % 10}"), worker=f"w-{turn}", now=START, span=SPAN)

        with ThreadPoolExecutor(8) as pool:
            claims = [claim for claim in pool.map(ask, range(80)) if claim]

        assert sorted(claim.record.uid for claim in claims) == [f"uid-{number}" for number in range(10)]


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


class LedgerContract:
    """Reservations, devices, leases."""

    def test_reservation_is_held_by_one(self, store: Store) -> None:
        """The first free one in the wanted order is given; a repetition answers the same one."""
        a, b = MachineUid("a"), MachineUid("b")

        def hold(uid: MachineUid, *wanted: str) -> str | None:
            return store.hold_reservation(uid=uid, wanted=wanted, now=START, cooldown=SPAN)

        assert hold(a, "r-2", "r-1") == "r-2"
        assert hold(b, "r-2", "r-1") == "r-1"
        assert hold(a, "r-1", "r-2") == "r-2"
        assert hold(a, "r-0", "r-2") == "r-2"
        assert hold(MachineUid("c"), "r-1", "r-2") is None
        assert hold(MachineUid("c")) is None
        assert [(held.reservation_id, held.uid) for held in store.reservations()] == [("r-1", b), ("r-2", a)]

    def test_freed_reservation_cools_down(self, store: Store) -> None:
        """For the cooldown nobody gets it, its last user included; then anybody does."""
        a, b = MachineUid("a"), MachineUid("b")
        store.hold_reservation(uid=a, wanted=["r"], now=START, cooldown=SPAN)
        store.free_reservation(uid=b, reservation_id="r", now=START)
        assert store.reservations()[0].freed_at is None

        store.free_reservation(uid=a, reservation_id="r", now=START)
        store.free_reservation(uid=a, reservation_id="r", now=START + SECOND)

        assert store.reservations()[0].freed_at == START
        for uid in (a, b):
            assert store.hold_reservation(uid=uid, wanted=["r"], now=START + SPAN - SECOND, cooldown=SPAN) is None
        assert store.hold_reservation(uid=b, wanted=["r"], now=START + SPAN, cooldown=SPAN) == "r"
        assert (store.reservations()[0].held_at, store.reservations()[0].freed_at) == (START + SPAN, None)

    def test_reservations_are_given_once_under_contention(self, store: Store) -> None:
        """Many machines that want the same reservations in different orders each get another one."""
        names = [f"r-{number}" for number in range(12)]

        def hold(number: int) -> str | None:
            wanted = names[number:] + names[:number]
            wanted = wanted[::-1] if number % 2 else wanted
            return store.hold_reservation(uid=MachineUid(f"m-{number}"), wanted=wanted, now=START, cooldown=SPAN)

        with ThreadPoolExecutor(6) as pool:
            held = list(pool.map(hold, range(12)))

        assert sorted(name for name in held if name) == sorted(names)

    def test_device_keeps_its_first_sight(self, store: Store) -> None:
        """A device that is seen again shows its new state and its old first sight."""
        later = START + SPAN
        store.record_devices(account=ACCOUNT, seen=[observed(1), observed(2)], gone=[], at=START)
        changed = observed(1, at=later)
        changed = replace(changed, device=replace(changed.device, state_text="off", tags=()), uid=None)

        store.record_devices(account=ACCOUNT, seen=[changed, observed(3, at=later)], gone=[], at=later)

        assert list(store.devices()) == [
            replace(changed, first_seen_at=START),
            observed(2),
            observed(3, at=later),
        ]

    def test_vanished_device_is_marked(self, store: Store) -> None:
        """A device is gone from the first time that it was missed, and back when it is seen again."""
        store.record_devices(account=ACCOUNT, seen=[observed(1), observed(2)], gone=[], at=START)
        missing = [DeviceId("device-1"), DeviceId("never-seen")]

        for at in (START + SECOND, START + SPAN):
            store.record_devices(account=ACCOUNT, seen=[], gone=missing, at=at)
        assert [known.gone_at for known in store.devices()] == [START + SECOND, None]

        store.record_devices(account=ACCOUNT, seen=[observed(1, at=START + SPAN)], gone=[], at=START + SPAN)
        assert [known.gone_at for known in store.devices()] == [None, None]

    def test_accounts_are_apart(self, store: Store) -> None:
        """The same device id in two accounts is two devices; one account can be read alone."""
        other = AccountKey("other")
        store.record_devices(account=ACCOUNT, seen=[observed(1)], gone=[], at=START)
        store.record_devices(account=other, seen=[observed(1, account=other)], gone=[], at=START)
        store.record_devices(account=other, seen=[], gone=[DeviceId("device-1")], at=START)

        assert [known.gone_at for known in store.devices(account=ACCOUNT)] == [None]
        assert [known.account for known in store.devices(account=other)] == [other]
        assert len(store.devices()) == 2

    def test_lease_has_one_holder(self, store: Store) -> None:
        """Renewal keeps the epoch; another holder waits for the end and gets the next one."""
        first = store.acquire_lease(name="l", holder="a", now=START, span=SPAN)
        assert first is not None
        renewed = store.acquire_lease(name="l", holder="a", now=START + SECOND, span=SPAN)
        assert renewed == replace(first, expires_at=START + SECOND + SPAN)

        assert store.acquire_lease(name="l", holder="b", now=START + SPAN, span=SPAN) is None
        taken = store.acquire_lease(name="l", holder="b", now=START + SECOND + SPAN, span=SPAN)

        assert taken is not None
        assert (taken.holder, taken.epoch) == ("b", first.epoch + 1)
        assert store.acquire_lease(name="other", holder="a", now=START, span=SPAN) is not None

    def test_expired_lease_taken_again_has_a_new_epoch(self, store: Store) -> None:
        """Between the end and the new beginning somebody else might have led."""
        first = store.acquire_lease(name="l", holder="a", now=START, span=SPAN)
        again = store.acquire_lease(name="l", holder="a", now=START + SPAN, span=SPAN)

        assert first is not None
        assert again is not None
        assert again.epoch == first.epoch + 1

    def test_released_lease_is_free_at_once(self, store: Store) -> None:
        """Only the holder can end it; the next epoch is greater whoever takes it."""
        store.acquire_lease(name="l", holder="a", now=START, span=SPAN)
        store.release_lease(name="l", holder="b")
        assert store.acquire_lease(name="l", holder="b", now=START, span=SPAN) is None

        store.release_lease(name="l", holder="a")
        store.release_lease(name="l", holder="a")
        taken = store.acquire_lease(name="l", holder="b", now=START + timedelta(0), span=SPAN)

        assert taken is not None
        assert taken.epoch == 2


class StoreContract(MachineContract, HistoryContract, LedgerContract):
    """The whole contract."""

"""What every store must do. It knows the port and nothing of what is behind it."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from engine.domain.ids import DeviceId, MachineUid
from engine.domain.states import ACTIVE_HEALTHY, FAILED_HALT
from engine.domain.triggers import Trigger
from engine.errors import LostClaimError
from engine.ports.store import Claim, Commit, HistoryFilter, Store
from tests.contract.store_history_contract import HistoryContract
from tests.contract.store_ledger_contract import LedgerContract
from tests.contract.store_records import (
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

    def test_finished_machine_lives_on(self, store: Store) -> None:
        """With its next entry it is found, due and claimed again; its history and its intents go on."""
        uid = finished(store, 1)
        over = store.get(uid)
        assert over
        record = replace(over, place=FAILED_HALT, version=over.version + 1, due_at=START)
        line = entry(record, trigger=Trigger.OBJECT_RESTORED, source=over.place, note="It is back.")

        assert store.readmit(record=record, entry=line)
        assert not store.readmit(record=record, entry=line), "safe to repeat"

        assert store.get(uid) == record
        assert list(store.due(now=START, limit=10)) == [uid]
        assert store.history(HistoryFilter(uid=uid))[-1] == line
        assert claimed(store).record == record
        assert store.prune(before=START + SPAN, limit=10) == 0

    def test_only_the_next_version_of_a_finished_machine_lives_on(self, store: Store) -> None:
        """One that lives, one that is unknown, and a version out of order are left as they are."""
        alive, over = admitted(store, 1), store.get(finished(store, 2))
        assert over
        records = (replace(alive, version=2), machine(3, version=2), replace(over, place=FAILED_HALT, version=4))
        for record in records:
            assert not store.readmit(record=record, entry=entry(record))

        assert (store.get(alive.uid), store.get(over.uid), store.get(MachineUid("uid-3"))) == (alive, over, None)
        assert len(store.history(HistoryFilter())) == 3

    def test_a_life_that_goes_on_is_not_over_and_has_one_entry_of_its_own(self, store: Store) -> None:
        """Anything else is a mistake of the caller."""
        over = store.get(finished(store, 1))
        assert over
        later = replace(over, place=FAILED_HALT, version=over.version + 1)
        for record, line in (
            (replace(over, version=over.version + 1), entry(replace(over, version=over.version + 1))),
            (later, entry(over)),
            (later, entry(later, uid=MachineUid("uid-2"))),
        ):
            with pytest.raises(ValueError, match="uid-1"):
                store.readmit(record=record, entry=line)

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


class StoreContract(MachineContract, HistoryContract, LedgerContract):
    """The whole contract."""

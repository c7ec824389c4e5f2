"""The part of the store's contract that is about reservations, devices, orphans and leases."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from engine.domain.ids import AccountKey, DeviceId, MachineUid
from engine.domain.orphans import OrphanState
from engine.ports.store import Store
from tests.contract.store_records import (
    ACCOUNT,
    SECOND,
    SPAN,
    START,
    full_orphan,
    observed,
    orphan,
)


class LedgerContract:
    """Reservations, devices, orphans, leases."""

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

    def test_orphan_is_read_back_in_full(self, store: Store) -> None:
        """Something in every field, nothing in those that may be empty: both come back equal, by first sight."""
        whole = full_orphan(orphan(2))
        store.record_orphans(seen=[whole, orphan(1, first_seen_at=START + SECOND), orphan(3)])

        assert list(store.orphans()) == [whole, orphan(3), orphan(1, first_seen_at=START + SECOND)]

    def test_orphan_is_replaced_or_forgotten(self, store: Store) -> None:
        """The last word about a device counts; forgetting one that is unknown changes nothing."""
        store.record_orphans(seen=[orphan(1), orphan(2), orphan(3)])
        later = orphan(1, sightings=2, state=OrphanState.RELEASING, intended_at=START, last_seen_at=START + SPAN)

        for _ in range(2):
            store.record_orphans(seen=[later], forgotten=[DeviceId("device-2"), DeviceId("unknown")])

        assert list(store.orphans()) == [later, orphan(3)]

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

"""Who owns a device, and when one that nobody owns may be returned."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engine.domain.device import DeviceState
from engine.domain.orphans import Orphan, OrphanState
from engine.domain.states import ACTIVE_HEALTHY, DELETED_REST, DELETING_RELEASE, FAILED_HALT, PENDING_VALIDATE, Place
from engine.reconcile.orphans import Comparison, OrphanPolicy, Stray, Verdict, Watch, judge, orphaned
from tests.unit.workflow.builders import ACCOUNT, MONOTONIC, NOON, ONE, THREE, TWO, UID, device, record

HOUR = timedelta(hours=1)
POLICY = OrphanPolicy(age=HOUR, releases_max=2)
OLD = Watch(since=MONOTONIC - 3601, lists=2)
STRAY = Stray(account=ACCOUNT, device=device(price_per_hour=0.5), uid=UID)
RIPE = Orphan(
    device_id=ONE,
    account=ACCOUNT,
    uid=UID,
    hostname="worker-1",
    reason="nobody",
    first_seen_at=NOON - HOUR - timedelta(seconds=1),
    last_seen_at=NOON,
    sightings=2,
)


def verdict(*orphans: Orphan, **different: Any) -> Verdict:
    """What follows from a new list that shows one device, for which nobody is known."""
    plain: dict[str, Any] = {
        "strays": [STRAY],
        "listed": {ACCOUNT: MONOTONIC - 1},
        "machines": frozenset(),
        "records": {},
        "orphans": {each.device_id: each for each in orphans},
        "watched": {ONE: OLD},
        "now": NOON,
        "monotonic": MONOTONIC,
    }
    return judge(Comparison(**plain | different), POLICY)


@pytest.mark.parametrize("place", [PENDING_VALIDATE, ACTIVE_HEALTHY, DELETING_RELEASE])
def test_a_machine_at_work_owns_its_devices(place: Place) -> None:
    """With an object or without one: its own steps return what is to be returned."""
    assert orphaned(UID, machines=(), record=record(place)) is None


@pytest.mark.parametrize("place", [FAILED_HALT, DELETED_REST, None])
def test_an_object_owns_its_devices_whatever_the_record_says(place: Place | None) -> None:
    """Without an object, the reason why nobody owns them is told in words."""
    known = record(place) if place else None
    assert orphaned(UID, machines=(UID,), record=known) is None
    assert orphaned(UID, machines=(), record=known)


def test_a_new_orphan_is_quarantined_with_its_price() -> None:
    """And nothing else happens to it; one that is leaving already is not taken up."""
    found = verdict()
    assert [each.price_per_hour for each in found.found] == [0.5]
    assert found == Verdict(found=found.found)
    leaving = replace(STRAY, device=device(state=DeviceState.RELEASING))
    assert verdict(strays=[leaving]) == Verdict()


def test_a_ripe_orphan_is_returned() -> None:
    """The last word about it is kept, and it carries one more sighting."""
    kept = verdict(RIPE)
    assert [each.device_id for each in kept.returned] == [ONE]
    assert kept.kept[0].sightings == 3


@pytest.mark.parametrize(
    "unripe",
    [
        {"watched": {}},
        {"watched": {ONE: replace(OLD, lists=1)}},
        {"watched": {ONE: replace(OLD, since=MONOTONIC - 3600)}},
        {"now": NOON - timedelta(seconds=1)},
        {"strays": [replace(STRAY, device=device(state=DeviceState.RELEASING))]},
        {"held_back": "a breaker is open"},
        {"named": {ONE}},
    ],
    ids=["after a start", "one list", "young here", "young in the database", "leaving", "held back", "named"],
)
def test_an_orphan_that_is_not_ripe_is_kept(unripe: dict[str, Any]) -> None:
    """Each condition of the rule alone holds the return back, and only that."""
    kept = verdict(RIPE, **unripe)
    assert (kept.returned, [each.device_id for each in kept.kept]) == ((), [ONE])


def test_no_more_than_the_cap_are_returned() -> None:
    """Those that are known longest go first."""
    ids = (ONE, TWO, THREE)
    known = [replace(RIPE, device_id=each, first_seen_at=RIPE.first_seen_at - n * HOUR) for n, each in enumerate(ids)]
    strays = [replace(STRAY, device=device(each)) for each in ids]
    kept = verdict(*known, strays=strays, watched=dict.fromkeys(ids, OLD))
    assert [each.device_id for each in kept.returned] == [THREE, TWO]


def test_an_owner_lifts_the_quarantine_until_the_cloud_has_accepted() -> None:
    """After that the device is on its way whoever wants it, and the row goes on to tell so."""
    assert verdict(RIPE, machines=frozenset({UID})).owned == (ONE,)
    intended = replace(RIPE, state=OrphanState.RELEASING, intended_at=NOON)
    assert verdict(intended, machines=frozenset({UID})).owned == (ONE,)
    assert verdict(replace(intended, accepted_at=NOON), machines=frozenset({UID})) == Verdict()


def test_an_accepted_return_is_repeated_after_a_while() -> None:
    """Not at once, and not while the device is leaving."""
    asked = replace(RIPE, state=OrphanState.RELEASING, intended_at=NOON, accepted_at=NOON - POLICY.repeat)
    assert verdict(asked).returned == ()
    late = replace(asked, accepted_at=NOON - POLICY.repeat - timedelta(seconds=1))
    assert len(verdict(late).returned) == 1


def test_a_device_that_lists_miss_must_be_proven_gone() -> None:
    """Only a list that began after the acceptance counts; without a list there is nothing to look for."""
    assert verdict(RIPE, strays=[]).missed == (RIPE,)
    assert verdict(RIPE, strays=[], listed={}).missed == ()
    early = {ONE: replace(OLD, accepted=MONOTONIC)}
    assert verdict(RIPE, strays=[], watched=early).missed == ()


def test_what_is_gone_is_remembered_for_a_while() -> None:
    """Then forgotten; and found anew when a list shows it again."""
    gone = replace(RIPE, state=OrphanState.GONE, gone_at=NOON - POLICY.keep_gone)
    assert verdict(gone, strays=[]) == Verdict()
    assert verdict(gone, strays=[], now=NOON + timedelta(seconds=1)).forgotten == (ONE,)
    assert [each.state for each in verdict(gone).found] == [OrphanState.QUARANTINED]

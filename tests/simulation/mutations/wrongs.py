"""Known wrong behaviours of controllers, each switched on by a patch of the production code in this process.

`WRONGS` maps what is wrong, in words, to the patch. Nothing here says how it is noticed: that is `table`'s business.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from engine.domain.intents import Intent, IntentKind, order_id, release_id
from engine.domain.outcome import Code, problem
from engine.domain.states import PROVISIONING_ORDER, State
from engine.domain.triggers import Trigger
from engine.ports.provider import AccessDeniedError, DeviceNotFoundError, ProviderRefusal, UnavailableError
from engine.ports.store import Claim, Commit
from engine.providers.equinix import errors, provider
from engine.providers.equinix.api import Answer, Api, Silence
from engine.reconcile import orphans
from engine.simulators.clock import SkewedClock
from engine.store import statements
from engine.store.schema import machines
from engine.workflow import doubt, presence, program
from engine.workflow.belief import Belief
from engine.workflow.journal import Journal, moved
from engine.workflow.mirror import Mirror
from engine.workflow.policy import Policy
from engine.workflow.runner import Runner
from engine.workflow.step import Advance, Context, ExamineDevice, Held, Order, ReleaseDevice, Remember
from engine.workflow.steps import forget, halt, install, order, release, serve, validate
from tests.simulation.test_disk import weaken

Patch = pytest.MonkeyPatch
WRONGS: dict[str, Callable[[Patch], None]] = {}


def wrong(text: str) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a patch under what is wrong with it."""

    def register(patch: Callable[[Patch], None]) -> Callable[[Patch], None]:
        WRONGS[text] = patch
        return patch

    return register


def _proof(patch: Patch, proves: type[ProviderRefusal] | tuple[type[ProviderRefusal], ...]) -> None:
    for module in (presence, release):
        patch.setattr(module, "proves_gone", lambda _context, _device, outcome: isinstance(outcome, proves))


@wrong("any GET error means gone")
def _any_error(patch: Patch) -> None:
    _proof(patch, ProviderRefusal)


@wrong("403 means gone")
def _denied(patch: Patch) -> None:
    _proof(patch, (DeviceNotFoundError, AccessDeniedError))


@wrong("one page only is read")
def _one_page(patch: Patch) -> None:
    patch.setattr(provider, "read_all", lambda read, **_limits: list(read(1).devices))


@wrong("no intent before an order")
def _no_order_intent(patch: Patch) -> None:
    def unwritten(self: Journal, effect: Order, _summary: object) -> Intent:
        number = self.record.orders + 1
        uid, at = self.record.uid, self.clock.now()
        return Intent(intent_id=order_id(uid, number), uid=uid, kind=IntentKind.ORDER, written_at=at)

    patch.setattr(Journal, "_intend_order", unwritten)


@wrong("no intent before a return")
def _no_release_intent(patch: Patch) -> None:
    def unwritten(self: Journal, device_id: Any) -> Intent:
        uid, at, name = self.record.uid, self.clock.now(), release_id(self.record.uid, device_id, 1)
        return Intent(intent_id=name, uid=uid, kind=IntentKind.RELEASE, written_at=at, device_id=device_id)

    patch.setattr(Journal, "_intend_release", unwritten)


@wrong("a commit is not fenced")
def _unfenced(patch: Patch) -> None:
    named = [sa.bindparam(name, type_=sa.BigInteger()).is_not(None) for name in ("held", "known")]
    patch.setattr(statements, "COMMIT", machines.update().where(machines.c.uid == sa.bindparam("which"), *named))


@wrong("the finalizer goes when the return is accepted")
def _on_accept(patch: Patch) -> None:
    gone = Advance(trigger=Trigger.DEVICE_GONE, note="accepted is as good as gone")
    patch.setattr(release.ReleaseDevices, "_prove", lambda _self, _context, _targets: gone)


@wrong("an empty list is believed")
def _empty_list(patch: Patch) -> None:
    looked = presence.missing

    def believed(context: Context) -> Advance | ExamineDevice | None:
        empty = context.snapshot is not None and not context.snapshot.devices
        if not empty or context.record.device_id is None:
            return looked(context)
        text = "the list is empty"
        return Advance(trigger=Trigger.DEVICE_LOST, note=text, problem=problem(Code.NOT_FOUND, text))

    patch.setattr(install, "missing", believed)
    patch.setattr(serve, "missing", believed)


@wrong("an order is repeated on 5xx and on silence")
def _repeated_post(patch: Patch) -> None:
    once = Api.call

    def twice(self: Api, method: str, path: str, **more: Any) -> Answer | Silence:
        answer = once(self, method, path, **more)
        failed = isinstance(answer, Silence) or answer.status >= 500
        return once(self, method, path, **more) if method == "POST" and failed else answer

    patch.setattr(Api, "call", twice)


@wrong("an order without an answer counts as refused")
def _lost_is_refused(patch: Patch) -> None:
    patch.setattr(errors, "_unfinished", lambda _action, message: UnavailableError(message))


@wrong("no visibility window")
def _no_window(patch: Patch) -> None:
    nothing = property(lambda _self: timedelta(0), lambda _self, _value: None)
    patch.setattr(Policy, "visibility_window", nothing)


@wrong("windows are measured on the wall clock")
def _wall_clock(patch: Patch) -> None:
    patch.setattr(SkewedClock, "monotonic", lambda self: self.now().timestamp())


@wrong("absence from a list alone proves gone")
def _absence_alone(patch: Patch) -> None:
    def proven(self: release.ReleaseDevices, context: Context, targets: list[Any]) -> object:
        since = max([context.released_since.get(each, context.started) for each in targets], default=0.0)
        hidden = context.snapshot and not any(each in context.snapshot.devices for each in targets)
        if context.listed_since(since) and hidden:
            return Advance(trigger=Trigger.DEVICE_GONE, note="the list does not show it")
        return prove(self, context, targets)

    prove = release.ReleaseDevices._prove
    patch.setattr(release.ReleaseDevices, "_prove", proven)


@wrong("a 404 to a return alone proves gone")
def _not_found_alone(patch: Patch) -> None:
    def proven(_self: object, _context: Context, targets: list[Any]) -> object:
        unproven = [each for each in targets if release._gone_at(_context, each) is None]
        gone = Advance(trigger=Trigger.DEVICE_GONE, note="each one was answered with 404")
        return ReleaseDevice(device_id=unproven[0]) if unproven else gone

    def returned(self: provider.EquinixCloud, device_id: Any) -> None:
        answer = self._api.call("DELETE", provider._path(device_id))
        if not errors.succeeded(answer):
            raise errors.refusal(answer, errors.Action.RELEASE, subject=f"device {device_id}")

    patch.setattr(release.ReleaseDevices, "_prove", proven)
    patch.setattr(provider.EquinixCloud, "release", returned)


@wrong("nothing is adopted before an order")
def _no_adoption(patch: Patch) -> None:
    patch.setattr(validate, "_existing", lambda _context, _machine, _cloud: None)
    patch.setattr(order, "_late", lambda _context: None)


@wrong("a second device is ignored")
def _duplicates_ignored(patch: Patch) -> None:
    for module in (install, serve):
        patch.setattr(module, "surplus", lambda _context: None)


@wrong("of two devices the recorded one is returned")
def _wrong_one(patch: Patch) -> None:
    def other(context: Context) -> ReleaseDevice | None:
        kept = context.record.device_id
        return ReleaseDevice(device_id=kept) if kept and len(doubt.held(context)) > 1 else None

    for module in (install, serve):
        patch.setattr(module, "surplus", other)


@wrong("the ledger of reservations is not asked")
def _no_ledger(patch: Patch) -> None:
    patch.setattr(Journal, "_hold", lambda _self, effect: Held(reservation_id=effect.wanted[0]))


@wrong("a status is written before its commit")
def _early_status(patch: Patch) -> None:
    work, advance = Runner._work, Journal.advance
    mirrors: list[Mirror] = []

    def watched(self: Runner, claim: Claim, entries: list[Any], seen: Context | None) -> object:
        mirrors[:] = [self.mirror]
        return work(self, claim, entries, seen)

    def early(self: Journal, step: Advance) -> None:
        mirrors[0].reflect(moved(self.record, step, self.clock.now()))
        advance(self, step)

    patch.setattr(Runner, "_work", watched)
    patch.setattr(Journal, "advance", early)


@wrong("a line of history is skipped")
def _no_history(patch: Patch) -> None:
    advance = Journal.advance

    def quiet(self: Journal, step: Advance) -> None:
        if step.trigger is not Trigger.NODE_JOINED:
            advance(self, step)
            return
        after = moved(self.record, step, self.clock.now())
        self._commit(Commit(record=replace(after, version=self.record.version)), self.clock.now())

    patch.setattr(Journal, "advance", quiet)


@wrong("userdata stands in the intents")
def _userdata_kept(patch: Patch) -> None:
    intend = Journal._intend_order
    patch.setattr(
        Journal, "_intend_order", lambda self, each, summary: intend(self, each, {**summary, "userdata": each.userdata})
    )


@wrong("userdata stands in the history")
def _userdata_told(patch: Patch) -> None:
    ordered = order._ordered

    def told(context: Context, device: Any, intent: Intent) -> Advance:
        return replace(ordered(context, device, intent), note=context.binding.userdata)

    patch.setattr(order, "_ordered", told)


@wrong("a token stands in an error's message")
def _token_told(patch: Patch) -> None:
    def told(answer: Any, action: Any, *, subject: str, secrets: Any = ()) -> ProviderRefusal:
        return errors.refusal(answer, action, subject=f"{subject} with {secrets[0] if secrets else ''}")

    patch.setattr(provider, "refusal", told)


@wrong("what the cloud says is quoted unread")
def _quoted_unread(patch: Patch) -> None:
    patch.setattr(errors, "_repeats", lambda _text, _secrets: False)


@wrong("a deletion ignores an order in doubt")
def _doubt_ignored(patch: Patch) -> None:
    decide = release.ReleaseDevices.decide
    patch.setattr(
        release.ReleaseDevices, "decide", lambda self, context: decide(self, replace(context, open_order=None))
    )


@wrong("the device of another Machine is returned")
def _foreign(patch: Patch) -> None:
    patch.setattr(Context, "is_foreign", lambda _self, _device: False)


@wrong("a missing object is a wish for deletion")
def _missing_is_deleted(patch: Patch) -> None:
    gone = Advance(trigger=Trigger.DELETION_REQUESTED, note="the object is gone")

    def believed(context: Context) -> Advance | None:
        leaving = context.record.state in {State.DELETING, State.PENDING}
        return gone if context.machine is None and not leaving else None

    patch.setattr(program, "_absence", believed)


@wrong("a stripped finalizer stays off")
def _unprotected(patch: Patch) -> None:
    patch.setattr(program, "_unprotected", lambda _context: None)


@wrong("a failed machine orders again by itself")
def _failed_orders(patch: Patch) -> None:
    examined = presence.examined

    def again(context: Context, outcome: Any) -> Any:
        done = examined(context, outcome)
        if not isinstance(done, Advance):
            return done
        clear = {"place": PROVISIONING_ORDER, "device_id": None, "provider_id": ""}
        return Remember(changes={**clear})

    patch.setattr(serve, "examined", again)
    patch.setattr(install, "examined", again)


@wrong("an attempt follows the last at once")
def _no_backoff(patch: Patch) -> None:
    for module in (validate, order, release):
        patch.setattr(module, "paused", lambda _context: None)


@wrong("an orphan is returned at once")
def _young_orphan(patch: Patch) -> None:
    patch.setattr(orphans, "may_return", lambda *_facts, **_times: True)


@wrong("a Node is forgotten by its name alone")
def _any_node(patch: Patch) -> None:
    patch.setattr(forget, "_own_node", lambda context: context.node if context.has_target else None)


@wrong("a database from a backup is believed about what was never bought")
def _backup_believed(patch: Patch) -> None:
    never = doubt.never_bought
    for module in (release, halt):
        patch.setattr(module, "never_bought", lambda context: never(replace(context, admitted_here=True)))


@wrong("an order in doubt is forgotten with its object")
def _doubt_forgotten(patch: Patch) -> None:
    patch.setattr(halt, "_unresolved", lambda _context: None)


@wrong("a list that lost much is believed")
def _shrunk_list(patch: Patch) -> None:
    patch.setattr(Belief, "judge", lambda *_facts: None)


@wrong("the database is not synced")
def _unsynced(patch: Patch) -> None:
    weaken(patch, "NORMAL")

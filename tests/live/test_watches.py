"""What the controller is shown of Kubernetes comes late, is of the past, stops silently, or is forgotten by the server.

Nothing is bought or given back on the strength of it, no status goes back, and in the end everything is noticed.
"""

from collections import defaultdict
from collections.abc import Iterator

import pytest

from engine.simulators.metal import Operation
from tests.acceptance.programs import ControllerProcess, eventually
from tests.controlplane.plane import ControlPlane
from tests.live.relay import Relay
from tests.live.stage import SWEEPING, LiveStage, orphans_of, soak_only, states_of

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(240)]

LAG_SECONDS = 2.0  # A minute beside a visibility window of two; here the window is three seconds.
SILENCE_SECONDS_MAX = 75.0  # A watch that tells nothing is given up after 55 s.
ORDER = ("", "Pending", "Running", "Terminating")
CUTS = 3
SYNC = {"sync_period": "2s"}  # Whatever is compared in full is compared while the wrong is shown.


@pytest.fixture
def relay(stage: LiveStage) -> Iterator[Relay]:
    """A relay between the controller and the API server."""
    with Relay(stage.place.controller_kubeconfig, stage.folder) as relay:
        yield relay


def behind(stage: LiveStage, relay: Relay, **settings: str) -> ControllerProcess:
    """A controller that sees the API server through the relay alone; it does not run yet."""
    own = str(relay.kubeconfig)
    return stage.controller(control_kubeconfig=own, target_kubeconfig=own, **settings)


def assert_no_status_went_back(relay: Relay) -> None:
    """Each status that was written of a Machine is as late in its life as the one before, or later."""
    written: dict[str, list[int]] = defaultdict(list)
    for each in relay.statuses:
        written[each.name].append(ORDER.index(each.phase))
    assert written
    assert all(stations == sorted(stations) for stations in written.values()), relay.statuses


def orders(stage: LiveStage) -> int:
    """How many orders the cloud was sent."""
    return stage.metal.journal.calls[Operation.CREATE]


def test_f08_watch_that_lags_behind_buys_nothing_twice(stage: LiveStage, relay: Relay) -> None:
    """With every event seconds late, Machines come and go, each with one server, and no status goes back."""
    relay.lag_seconds = LAG_SECONDS
    controller = behind(stage, relay, **SYNC).start()
    names = ["late-1", "late-2", "late-3"]
    stage.make_machines(*names)
    stage.await_phase("Running", *names)
    stage.make_machines("brief-1")
    eventually(lambda: stage.devices_of("brief-1"))
    stage.delete_machines("brief-1", "late-1")
    stage.await_gone("brief-1", "late-1")
    assert len(stage.metal.history()) == orders(stage) == len(names) + 1
    stage.balance(controller)
    assert_no_status_went_back(relay)


def test_f08_api_server_that_shows_the_past_is_not_obeyed(stage: LiveStage, relay: Relay) -> None:
    """A list of the past, with a Machine that is gone and without new ones, buys nothing and gives nothing back."""
    controller = behind(stage, relay, **SYNC, **SWEEPING).start()
    stage.make_machines("old-1", "old-2")
    stage.await_phase("Running", "old-1", "old-2")
    past = relay.listed(stage.user.path("machines"))
    stage.make_machines("new-1", "new-2")
    stage.delete_machines("old-2")
    stage.await_phase("Running", "new-1", "new-2")
    stage.await_gone("old-2")
    bought, lists = orders(stage), relay.lists

    relay.show(stage.user.path("machines"), past)

    eventually(lambda: relay.lists > lists)
    stage.make_machines("unseen-1")
    stage.see_lists(6)
    assert orders(stage) == bought
    assert {each.hostname for each in stage.metal.billing()} == {"old-1", "new-1", "new-2"}
    relay.live_now()
    stage.await_phase("Running", "old-1", "new-1", "new-2", "unseen-1")
    stage.balance(controller)
    assert_no_status_went_back(relay)


def test_f09_versions_that_the_server_forgot_lose_no_deletion(
    stage: LiveStage, relay: Relay, controlplane: ControlPlane
) -> None:
    """A deletion that came while watches were silent is noticed although the server has compacted it away since."""
    controller = behind(stage, relay).start()
    stage.make_machines("goes-1", "stays-1")
    stage.await_phase("Running", "goes-1", "stays-1")
    relay.silent = True
    stage.delete_machines("goes-1")
    stage.see_lists(2)
    assert {each.hostname for each in stage.metal.billing()} == {"goes-1", "stays-1"}
    controlplane.compact_etcd()
    controlplane.restart_apiserver()
    expired = relay.expired

    relay.silent = False
    relay.cut_watches()

    stage.await_gone("goes-1")
    assert relay.expired > expired  # Otherwise the server remembered, and nothing was proven.
    assert stage.phases() == {"stays-1": "Running"}
    stage.balance(controller)


def test_f09_connections_that_are_cut_again_and_again_lose_nothing(stage: LiveStage) -> None:
    """While every connection to the API server is cut many times, Machines come and go, each with one server."""
    controller = stage.controller().start()
    names = [f"cut-{number}" for number in range(5)]
    stage.make_machines(*names)
    for cut in range(CUTS):
        stage.see_lists(1)
        stage.delete_machines(*names[cut : cut + 1])
        stage.api.cut()
    stage.await_phase("Running", *names[CUTS:])
    stage.await_gone(*names[:CUTS])
    assert len(stage.metal.history()) <= len(names)
    stage.balance(controller)


@soak_only
def test_f09_connections_that_fall_silent_are_given_up_and_a_deletion_is_noticed(stage: LiveStage) -> None:
    """Connections that stay open and carry nothing any more are given up, and what happened since is noticed."""
    controller = stage.controller(leader_elect="false").start()
    stage.make_machines("goes-1", "stays-1")
    stage.await_phase("Running", "goes-1", "stays-1")
    stage.api.hold(later_ones=False)
    stage.delete_machines("goes-1")
    stage.make_machines("comes-1")
    stage.await_gone("goes-1", seconds_max=SILENCE_SECONDS_MAX)
    stage.await_phase("Running", "comes-1", "stays-1")
    stage.balance(controller)


def test_f10_start_without_the_api_server_waits_and_touches_nothing(stage: LiveStage) -> None:
    """A controller that finds no API server says so, asks the cloud for nothing, and goes on when there is one."""
    controller = stage.controller(**SWEEPING).start()
    stage.make_machines("goes-1", "stays-1")
    stage.await_phase("Running", "goes-1", "stays-1")
    controller.kill()
    stage.api.refuse()
    stage.delete_machines("goes-1")
    calls = stage.metal.journal.calls.total()

    controller.start(ready=False)

    eventually(lambda: "waiting for them" in controller.told())
    assert "does not answer" in controller.told()
    eventually(lambda: controller.answers("/healthz"))
    assert not controller.answers("/readyz")
    assert stage.metal.journal.calls.total() == calls
    stage.api.accept()
    stage.await_gone("goes-1")
    assert stage.phases() == {"stays-1": "Running"}
    stage.balance(controller)


def test_f10_start_without_definitions_waits_and_touches_nothing(stage: LiveStage, relay: Relay) -> None:
    """A controller that finds an API server without Machines says what to apply, and goes on when it is applied."""
    relay.deny("/apis/machine.sapcloud.io/v1alpha1")
    stage.make_machines("comes-1")
    controller = behind(stage, relay).start(ready=False)
    eventually(lambda: "apply kubernetes/crds" in controller.told())
    assert stage.metal.journal.calls.total() == 0
    relay.allow()
    stage.await_phase("Running", "comes-1")
    stage.balance(controller)


def test_f10_start_with_an_empty_list_gives_nothing_back(stage: LiveStage, relay: Relay) -> None:
    """A controller with an empty database that is shown no Machine at all takes their servers for orphans, and waits.

    Nothing is returned on the strength of an empty list, however old the orphans are; with the true list they have
    owners again.
    """
    stage.controller("former", leader_elect="false").start()
    stage.make_machines("kept-1", "kept-2")
    stage.await_phase("Running", "kept-1", "kept-2")
    stage.kill_all()
    machines = stage.user.path("machines")
    relay.show(machines, {**relay.listed(machines), "items": []})

    controller = behind(stage, relay, leader_elect="false", **SYNC, **SWEEPING).start()

    eventually(lambda: {each.hostname for each in orphans_of(controller.database)} == {"kept-1", "kept-2"})
    eventually(lambda: "shows no Machine at all" in controller.told())
    stage.see_lists(6)
    assert stage.metal.journal.calls[Operation.DELETE] == 0
    assert len(stage.metal.billing()) == 2
    relay.expire(machines)
    relay.live_now()
    eventually(lambda: orphans_of(controller.database) == [])
    eventually(lambda: states_of(controller.database) == {"kept-1": "Active", "kept-2": "Active"})
    stage.balance(controller)

"""Two controllers, one of which stands still or cannot see: whoever leads acts alone, and a late one does no harm."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from engine.simulators.metal import FaultKind, FaultRule, Operation
from tests.acceptance.programs import ControllerProcess, eventually
from tests.live.stage import BRIEF_LEASE, SOAK, LiveStage, freeze, soak_only, thaw, wired

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(300)]

LOST_LEASE = 3
REFUSED = 2
CLAIM_SECONDS_MAX = 120.0  # A claim lasts ninety seconds without a commit, and is looked for every ten.


@contextmanager
def replicas(stage: LiveStage, database: str) -> Iterator[tuple[ControllerProcess, ControllerProcess]]:
    """Two controllers of one database, of which the first leads."""
    pair = [stage.controller(name, database=database, **BRIEF_LEASE) for name in ("leader", "rival")]
    for each in pair:
        each.database = database
        each.start()
        eventually(lambda: "leader now" in pair[0].told())
    yield pair[0], pair[1]
    for each in pair:
        each.kill()


def under_way(stage: LiveStage) -> list[str]:
    """In the soak, Machines whose servers are bought already; a claim on one of them has to end by itself."""
    names = ["comes-2", "comes-3"] if SOAK else []
    stage.make_machines(*names)
    eventually(lambda: all(stage.devices_of(name) for name in names))
    return names


def claims(database: str) -> int:
    """How many machines a controller is at work on."""
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT count(*) FROM machines WHERE claimed_by IS NOT NULL").fetchone()
    return int(row[0]) if row else 0


def freeze_at_rest(leader: ControllerProcess, database: str) -> bool:
    """Whether the leader stands still, and, but for the soak, holds no claim that would have to end by itself."""
    freeze(leader)
    if SOAK or not claims(database):
        return True
    thaw(leader)
    return False


def await_takeover(rival: ControllerProcess) -> None:
    """The rival leads, and acts."""
    eventually(lambda: "leader now" in rival.told())


def serve_again(late: ControllerProcess) -> None:
    """Who lost the Lease ended with the code that says so, and runs again as a Deployment has it."""
    assert late.exit_code() == LOST_LEASE
    assert "the Lease was lost" in late.told()
    late.start()


@pytest.mark.postgres
def test_f07_leader_that_stood_still_finds_another_one_and_does_no_harm(postgres_url: str, stage: LiveStage) -> None:
    """While a leader stands still its rival does all the work; awake again, it ends without a deed."""
    with replicas(stage, postgres_url) as (leader, rival):
        stage.make_machines("stays-1", "goes-1")
        stage.await_phase("Running", "stays-1", "goes-1")
        coming = under_way(stage)

        eventually(partial(freeze_at_rest, leader, postgres_url))

        await_takeover(rival)
        stage.delete_machines("goes-1")
        stage.make_machines("comes-1")
        stage.await_phase("Running", "comes-1", *coming, seconds_max=CLAIM_SECONDS_MAX)
        stage.await_gone("goes-1", seconds_max=CLAIM_SECONDS_MAX)
        calls = stage.metal.journal.calls[Operation.CREATE], stage.metal.journal.calls[Operation.DELETE]
        thaw(leader)
        serve_again(leader)
        assert (stage.metal.journal.calls[Operation.CREATE], stage.metal.journal.calls[Operation.DELETE]) == calls
        assert len(stage.metal.history()) == 3 + len(coming)
        stage.balance(leader, rival, databases=(postgres_url,))


@soak_only
@pytest.mark.postgres
def test_f07_leader_that_stood_still_amid_its_purchases_buys_nothing_twice(postgres_url: str, stage: LiveStage) -> None:
    """A leader whose orders were on their way when it stood still leaves each Machine one server, awake or not."""
    stage.metal.faults.add(FaultRule(kind=FaultKind.SLOW, operation=Operation.CREATE, seconds=1.0))
    names = ["slow-1", "slow-2", "slow-3"]
    with replicas(stage, postgres_url) as (leader, rival):
        stage.make_machines(*names)
        eventually(lambda: stage.metal.journal.calls[Operation.CREATE] >= 1)

        freeze(leader)

        await_takeover(rival)
        eventually(partial(_bought, stage))
        thaw(leader)
        serve_again(leader)
        stage.await_phase("Running", *names, seconds_max=CLAIM_SECONDS_MAX)
        assert len(stage.metal.history()) == len(names)
        stage.balance(leader, rival, databases=(postgres_url,))


@pytest.mark.postgres
def test_f07_leader_that_is_cut_off_from_kubernetes_leaves_to_the_other(
    postgres_url: str, stage: LiveStage, tmp_path: Path
) -> None:
    """A leader whose connections to the API server fall silent ends by itself, and its rival does all the work."""
    wire, kubeconfig = wired(stage.place.controller_kubeconfig, tmp_path / "own.kubeconfig")
    own = {"control_kubeconfig": str(kubeconfig), "target_kubeconfig": str(kubeconfig)}
    leader = stage.controller("leader", database=postgres_url, **BRIEF_LEASE, **own).start()
    eventually(lambda: "leader now" in leader.told())
    rival = stage.controller("rival", database=postgres_url, **BRIEF_LEASE).start()
    stage.make_machines("before-1")
    stage.await_phase("Running", "before-1")
    coming = under_way(stage)
    eventually(lambda: SOAK or not claims(postgres_url))

    wire.hold(later_ones=True)

    stage.make_machines("after-1")
    stage.await_phase("Running", "before-1", "after-1", *coming, seconds_max=CLAIM_SECONDS_MAX)
    assert leader.exit_code() == LOST_LEASE
    assert len(stage.metal.history()) == 2 + len(coming)
    wire.refuse()
    stage.balance(rival, databases=(postgres_url,))
    rival.kill()


def test_f07_second_process_is_refused_while_the_first_one_stands_still(stage: LiveStage) -> None:
    """A controller that stands still keeps its SQLite file: a second one is refused, and the first one goes on."""
    first = stage.controller().start()
    stage.make_machines("kept-1")
    stage.await_phase("Running", "kept-1")
    second = ControllerProcess("second", folder=stage.folder, settings={**first.settings, "port": "0"})
    freeze(first)
    stage.make_machines("kept-2")

    second.start(ready=False)

    assert second.exit_code() == REFUSED
    assert "is in use by another controller" in second.told()
    assert len(stage.metal.history()) == 1
    thaw(first)
    stage.await_phase("Running", "kept-1", "kept-2")
    stage.balance(first)


def _bought(stage: LiveStage) -> bool:
    """Whether every order that was sent has come to a server."""
    return len(stage.metal.history()) == stage.metal.journal.calls[Operation.CREATE]

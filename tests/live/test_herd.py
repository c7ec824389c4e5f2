"""Hundreds of Machines wanted at once, and unwanted at once, from a cloud that throttles."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from engine.simulators.http import HttpRequest
from engine.simulators.metal import FaultKind, FaultRule, Operation
from tests.acceptance.programs import ControllerProcess
from tests.live.stage import SOAK, LiveStage, stories_of

HERD = int(os.environ.get("HERD", "1000" if SOAK else "300"))
SECONDS_MAX = 60.0 + 0.3 * HERD

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(60 + 3 * SECONDS_MAX)]

CALLS_PER_SECOND = 200
BURST_SECONDS = 2  # So many seconds' worth of calls may come at once after a rest.
STORM = FaultRule(kind=FaultKind.THROTTLED, share=0.5)
STORM_SECONDS, CALM_SECONDS = 1.0, 2.0
WRITES_MAX = 16  # of Kubernetes for one life; eight is the goal in peace, and in a storm each delay is told, too


@contextmanager
def storms(stage: LiveStage) -> Iterator[None]:
    """Again and again the cloud throttles half of the calls for a while."""
    over = Event()

    def blow() -> None:
        while not over.wait(CALM_SECONDS):
            stage.metal.faults.add(STORM)
            over.wait(STORM_SECONDS)
            stage.metal.faults.remove(FaultKind.THROTTLED)

    thread = Thread(target=blow, name="storms", daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


def test_f22_herd_in_storms_has_one_server_each_and_leaves_none(stage: LiveStage) -> None:
    """Hundreds of Machines at once each have one server, none is left of them, and the pace to the cloud is kept."""
    seconds: Counter[int] = Counter()

    def count(_request: HttpRequest) -> None:
        seconds[int(time.monotonic())] += 1

    stage.lie(count)
    controller = stage.controller(metal_calls_per_second=str(CALLS_PER_SECOND), log_level="INFO").start()
    names = [f"herd-{number:04}" for number in range(HERD)]
    began = time.monotonic()
    with storms(stage):
        stage.make_machines(*names)
        stage.await_phase("Running", *names, seconds_max=SECONDS_MAX)
        assert sorted(each.hostname for each in stage.metal.billing()) == names
        here = time.monotonic()
        stage.delete_machines(*names)
        stage.await_gone(seconds_max=SECONDS_MAX)
    gone = time.monotonic()
    assert len(stage.metal.history()) == HERD
    assert max(seconds.values()) <= (1 + BURST_SECONDS) * CALLS_PER_SECOND
    assert stage.answers["429"]
    assert writes(controller) <= WRITES_MAX * HERD
    assert stories_of(controller.database)["finalized"] == HERD
    calls = stage.metal.journal.calls
    stage.balance(controller)
    print(f"\n{HERD} machines: here in {here - began:.0f} s, gone in {gone - here:.0f} s, {writes(controller)} writes")
    print(f"{calls.total()} cloud calls: {stage.answers['429']} throttled, {calls[Operation.LIST]} lists")


def writes(controller: ControllerProcess) -> int:
    """How many writes to Kubernetes the controller counted."""
    _, text = controller.fetch("/metrics")
    lines = [line for line in text.splitlines() if line.startswith("machine_engine_kubernetes_writes_total{")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))

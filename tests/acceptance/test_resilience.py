"""The controller among outages, rivals, signals and wrong settings."""

import signal
import time

import pytest

from engine.simulators.metal import DeviceView
from tests.acceptance.programs import ControllerProcess, eventually, run_engine
from tests.acceptance.stage import Stage
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(120)]

STOP_SECONDS_MAX = 5.0  # A pod is given thirty; nothing is worth that long a wait here.
REFUSED = 2


def declare(stage: Stage) -> None:
    """Classes and their Secret are there."""
    stage.apply(*stage.sample("machine-class.yaml", "secret.yaml"))


def addresses(device: DeviceView) -> set[str | None]:
    """Where a device can be reached."""
    return {device.public_address, device.private_address}


def test_outage_of_the_api_server_in_the_middle_loses_and_doubles_nothing(
    stage: Stage, controlplane: ControlPlane
) -> None:
    """Machines on their way, and machines being deleted, arrive although the API server was away."""
    declare(stage)
    controller = stage.controller().start()
    names = [f"outage-{number}" for number in range(6)]
    stage.make_machines(*names)
    eventually(stage.metal.billing)

    controlplane.restart_apiserver()

    stage.await_phase("Running", *names)
    assert sorted(device.hostname for device in stage.metal.billing()) == names
    stage.delete_machines(*names)
    eventually(lambda: len(stage.metal.billing()) < len(names))

    controlplane.restart_apiserver()

    stage.await_gone(*names)
    stage.assert_nothing_left()
    assert len(stage.metal.history()) == len(names)
    assert controller.running()
    assert controller.fetch("/healthz") == (200, "OK\n")


def test_second_controller_stands_by_until_the_first_one_ends(stage: Stage) -> None:
    """A rival with a database of its own does nothing while the leader leads, and takes over when it is gone."""
    declare(stage)
    leader, rival = stage.controller("leader").start(), stage.controller("rival")
    stage.make_machines("led-1")
    stage.await_phase("Running", "led-1")
    rival.start()
    stage.make_machines("led-2")
    stage.await_phase("Running", "led-2")
    assert rival.ask_json("machines", "--all") == []
    assert [row["name"] for row in leader.ask_json("machines")] == ["led-1", "led-2"]

    assert leader.terminate() == 0

    stage.make_machines("led-3")
    stage.await_phase("Running", "led-3")
    eventually(lambda: [row["state"] for row in rival.ask_json("machines")] == ["Active"] * 3)
    assert len(stage.metal.history()) == 3
    stage.delete_machines("led-1", "led-2", "led-3")
    stage.await_gone()
    stage.assert_nothing_left()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_controller_that_is_asked_to_end_does_so_soon(stage: Stage, asked: signal.Signals) -> None:
    """A signal ends `serve` with exit code 0 within seconds, also with work under way, which the next life finishes."""
    declare(stage)
    controller = stage.controller().start()
    stage.make_machines("asked-1", "asked-2")
    eventually(stage.metal.billing)
    began = time.monotonic()

    controller.signal(asked)

    assert controller.exit_code() == 0
    assert time.monotonic() - began < STOP_SECONDS_MAX
    assert "Traceback" not in controller.told()
    controller.start()
    stage.await_phase("Running", "asked-1", "asked-2")
    assert len(stage.metal.history()) == 2


def test_second_process_on_the_same_file_is_refused_in_words(stage: Stage) -> None:
    """Two controllers never share an SQLite file: the second one says so and ends."""
    first = stage.controller().start()
    second = ControllerProcess("second", folder=stage.folder, settings={**first.settings, "port": "0"})

    second.start(ready=False)

    assert second.exit_code() == REFUSED
    assert "controller.db is in use by another controller" in second.told()
    assert "stop that one first" in second.told()
    assert "Traceback" not in second.told()
    assert first.running()


def test_machine_without_a_target_cluster_becomes_available_with_its_addresses(stage: Stage) -> None:
    """With the target `none` nobody waits for a Node: an active device makes the Machine Available, and tells where."""
    declare(stage)
    stage.controller(target_kubeconfig="none").start()
    stage.make_machines("lonely-1")

    stage.await_phase("Available", "lonely-1")

    (device,) = stage.metal.billing()
    machine = stage.machines()["lonely-1"]
    assert {each["address"] for each in machine["status"]["addresses"]} >= addresses(device) - {None}
    assert "node" not in machine["metadata"].get("labels", {})
    stage.delete_machines("lonely-1")
    stage.await_gone()
    stage.assert_nothing_left()


def test_console_answers_probes_and_metrics(stage: Stage) -> None:
    """Probes are answered in words, and the metrics count machines, calls to the cloud and writes to Kubernetes."""
    declare(stage)
    controller = stage.controller().start()
    stage.make_machines("counted-1")
    stage.await_phase("Running", "counted-1")

    assert controller.fetch("/healthz") == (200, "OK\n")
    assert controller.fetch("/readyz") == (200, "OK\n")
    status, text = controller.fetch("/metrics")
    assert status == 200
    assert "machine_engine_kubernetes_writes_total{" in text
    assert 'provider="EquinixMetal"' in text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target-kubeconfig=inClusterConfig"], ("'inClusterConfig'", "KUBERNETES_SERVICE_HOST is not set")),
        ([], ("target kubeconfig is empty", "name a kubeconfig file")),
        (["--target-kubeconfig=none"], ("target-kubeconfig is none", "control-kubeconfig must name")),
        (["--target-kubeconfig=nowhere.yaml"], ("nowhere.yaml", "there is no such file")),
        (["--port=99999", "--log-level=LOUD"], ("--port", "99999", "--log-level", "LOUD")),
    ],
)
def test_controller_that_cannot_start_says_why(
    tmp_path_factory: pytest.TempPathFactory, flags: list[str], words: tuple[str, ...]
) -> None:
    """What the operator can mend is one line that names it, and exit code 2."""
    database = f"--database=sqlite:///{tmp_path_factory.mktemp('refused') / 'refused.db'}"

    told = run_engine("serve", database, *flags, code=REFUSED)

    assert all(word in told for word in words), told
    assert told.startswith("machine-engine: ")
    assert len(told.strip().splitlines()) == 1

"""Objects that people spoil, strip, force away or make anew, beside objects that are well."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.domain.orphans import OrphanState
from engine.simulators.metal.settings import PLANS
from tests.acceptance.programs import ControllerProcess, eventually
from tests.acceptance.stage import Json
from tests.live.stage import SOAK, SWEEPING, LiveStage, orphans_of

pytestmark = [pytest.mark.controlplane, pytest.mark.live, pytest.mark.timeout(600)]

HEAVY_BYTES = 250_000  # The API server takes 256 KiB of annotations in all.
PRICE = next(plan.price_hour for plan in PLANS if plan.slug == "c3.small.x86")
LOST_SECONDS_MAX = 420.0  # An object must be missing for five minutes before that is believed.
PLAIN = {"kind": "MachineClass", "name": "plain"}


@pytest.fixture(autouse=True, scope="module")
def books(scene: LiveStage, controller: ControllerProcess) -> Iterator[None]:
    """When all tests of this file are over, everything is deleted and the books balance."""
    yield
    scene.balance(controller)


def machine(name: str, *, spec: Json | None = None, annotations: dict[str, str] | None = None) -> Json:
    """A Machine as somebody writes it."""
    return {
        "apiVersion": "machine.sapcloud.io/v1alpha1",
        "kind": "Machine",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"class": PLAIN} if spec is None else spec,
    }


ODD = [
    machine("heavy", annotations={"example.com/heavy": "x" * HEAVY_BYTES}),
    machine("in-other-letters", annotations={"example.com/text": "Grüße, 世界 \u202e\t🚀"}),
    machine("n" * 63),
    machine("0-1"),
    machine("odd-timeout", spec={"class": PLAIN, "creationTimeout": "soon"}),
]
WRONG = [
    (machine("without-class", spec={}), "spec.class.name is empty"),
    (machine("odd-kind", spec={"class": {"kind": "MachineSet", "name": "plain"}}), "write MachineClass"),
    (machine("bad-class", spec={"class": {"kind": "MachineClass", "name": "bad"}}), "metro is missing"),
    (machine("odd-provider", spec={"class": PLAIN, "providerID": "aws:///a/i-1"}), "'aws:///a/i-1' names no device"),
    (machine("with.dots"), "only a-z, 0-9 and inner dashes are allowed"),
    (machine("l" * 64), "at most 63"),
]


def plain_class(stage: LiveStage, name: str, **different: Any) -> Json:
    """The sample class under another name and with another spec."""
    (found,) = [each for each in stage.sample("machine-class.yaml") if each["metadata"]["name"] == "plain"]
    found["metadata"]["name"] = name
    return found | different


def name_of(each: Json) -> str:
    """The name in a manifest."""
    return str(each["metadata"]["name"])


def force_away(stage: LiveStage, name: str) -> None:
    """Somebody strips the Machine of its finalizers and has it deleted by force."""
    stage.note_unwanted(name)
    stage.kubectl("patch", "machine", name, "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    stage.kubectl("delete", "machine", name, "--force", "--grace-period=0", "--wait=false", "--ignore-not-found")
    eventually(lambda: name not in stage.machines())


def forget_everything(controller: ControllerProcess) -> None:
    """The database of a controller that does not run is gone."""
    path = Path(controller.database.removeprefix("sqlite:///"))
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def test_f21_spoilt_objects_disturb_nobody_and_say_what_is_wrong(
    scene: LiveStage, controller: ControllerProcess
) -> None:
    """Odd Machines run like others, wrong ones say in kubectl what to mend, and all can be deleted."""
    scene.apply(plain_class(scene, "bad", providerSpec={"nonsense": [1, None, {"x": "y"}]}))
    scene.make_machines("well-1", "well-2")
    for each in (*(wrong for wrong, _ in WRONG), *ODD):
        scene.user.request("POST", scene.user.path("machines"), each)
    scene.make_machines("well-3")

    scene.await_phase("Running", "well-1", "well-2", "well-3", *map(name_of, ODD))

    for wrong, words in WRONG:
        scene.await_message(name_of(wrong), words)
        shown = scene.kubectl("get", "machine", name_of(wrong), "--output=yaml")
        assert words in " ".join(yaml.safe_load(shown)["status"]["lastOperation"]["description"].split())
    assert [len(scene.devices_of(name_of(each))) for each in ODD] == [1] * len(ODD)
    assert not [each for each, _ in WRONG if scene.devices_of(name_of(each))]
    assert "Traceback" not in controller.told()


def test_f21_class_that_is_spoilt_later_holds_no_deletion_back(scene: LiveStage) -> None:
    """A class that became nonsense while its Machines run lets them run, and lets them go."""
    scene.apply(plain_class(scene, "spoilt"))
    scene.make_machines("runs-1", "runs-2", class_name="spoilt")
    scene.await_phase("Running", "runs-1", "runs-2")

    scene.user.patch(
        "machineclasses", "spoilt", {"providerSpec": {"metro": None, "tags": ["nobody"], "machineType": 7}}
    )

    scene.see_lists(3)
    assert [scene.phases()[name] for name in ("runs-1", "runs-2")] == ["Running"] * 2
    scene.delete_machines("runs-1")
    scene.await_gone("runs-1")


def test_f17_finalizer_that_is_stripped_by_hand_is_put_back(scene: LiveStage) -> None:
    """A Machine whose finalizers somebody takes off has ours again before it can be deleted past its server."""
    scene.make_machines("stripped-1")
    scene.await_phase("Running", "stripped-1")
    finalizers = scene.machines()["stripped-1"]["metadata"]["finalizers"]
    assert finalizers

    scene.kubectl("patch", "machine", "stripped-1", "--type=merge", '--patch={"metadata":{"finalizers":null}}')

    eventually(lambda: scene.machines()["stripped-1"]["metadata"].get("finalizers") == finalizers)


@pytest.mark.parametrize(
    "remembered", [False, pytest.param(True, marks=pytest.mark.skipif(not SOAK, reason="minutes"))]
)
def test_f17_server_of_an_object_that_was_forced_away_is_told_and_returned(
    stage: LiveStage, *, remembered: bool
) -> None:
    """A server whose Machine was forced away is listed with its price and the reason, and goes back by rule.

    Whether or not the database still knows the Machine; if it does, its object must be missing for five minutes first.
    """
    controller = stage.controller(**SWEEPING).start()
    stage.make_machines("forced-1", "stays-1")
    stage.await_phase("Running", "forced-1", "stays-1")
    controller.kill()
    force_away(stage, "forced-1")
    if not remembered:
        forget_everything(controller)

    controller.start()

    eventually(lambda: orphans_of(controller.database), seconds_max=LOST_SECONDS_MAX)
    (orphan,) = controller.ask_json("orphans", "--all")
    assert (orphan["hostname"], orphan["pricePerHour"]) == ("forced-1", PRICE)
    assert ("vanished" if remembered else "neither Kubernetes nor the database knows Machine") in orphan["reason"]
    eventually(lambda: [each.hostname for each in stage.metal.billing()] == ["stays-1"])
    eventually(lambda: [each.state for each in orphans_of(controller.database)] == [OrphanState.GONE])
    assert stage.phases() == {"stays-1": "Running"}
    stage.balance(controller)


def test_f17_machine_that_is_made_anew_under_its_name_has_a_server_of_its_own(
    scene: LiveStage, controller: ControllerProcess
) -> None:
    """`kubectl replace --force` gives back the server of the old Machine and buys one for the new."""
    scene.make_machines("again-1")
    scene.await_phase("Running", "again-1")
    old = scene.machines()["again-1"]
    scene.note_unwanted("again-1")

    scene.kubectl("replace", "--force", "--filename=-", input=yaml.safe_dump(machine("again-1")))

    scene.await_phase("Running", "again-1")
    new = scene.machines()["again-1"]
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["spec"]["providerID"] != old["spec"]["providerID"]
    assert len(scene.devices_of("again-1")) == 2
    assert scene.device_of("again-1").id in new["spec"]["providerID"]
    lives = [each["state"] for each in controller.ask_json("machines", "--all") if each["name"] == "again-1"]
    assert sorted(lives) == ["Active", "Deleted"]

"""The README's real path, walked with kubectl from the definitions to nothing left, on both control planes."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from engine.simulators.metal import KeySettings, MetalSettings
from engine.simulators.metal.settings import SAMPLE_RESERVATIONS
from tests.acceptance.programs import ControllerProcess, eventually, run_engine
from tests.acceptance.stage import TIME_SCALE, Place, Stage, is_absent

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(180)]

MACHINES = ("plain-1", "facilities-1", "reserved-1")
CLASSES = ("plain", "facilities", "reserved")
RESERVED = {each for group in SAMPLE_RESERVATIONS for each in group.ids}
TOKEN = "canary-token-9c1fd2"
USERDATA_SECRET = "canary-userdata-5be07a"
USERDATA = f"#cloud-config\nhostname: <<MACHINE_NAME>>\npassword: {USERDATA_SECRET}\n"
WORLD = MetalSettings(
    time_scale=TIME_SCALE, reservations=SAMPLE_RESERVATIONS, keys=(KeySettings(token=TOKEN, projects=()),)
)
WHOLE_LIFE = (
    "admitted",
    "validated",
    "device-ordered",
    "node-joined",
    "deletion-requested",
    "release-accepted",
    "device-gone",
    "node-forgotten",
    "finalized",
)


def test_walk_with_the_shipped_rights_leads_from_definitions_to_nothing_left(
    shipped_place: Place, tmp_path: Path
) -> None:
    """On a real API server, with the rights that we ship, the README's path works from the first word to the last."""
    walk(shipped_place, tmp_path)


def test_walk_on_the_embedded_api_server_is_the_same(embedded_place: Place, tmp_path: Path) -> None:
    """The same path, sentence by sentence, on the embedded API server."""
    walk(embedded_place, tmp_path)


def walk(place: Place, folder: Path) -> None:
    """Every step of the path; each leaves the world as the next needs it."""
    with Stage(place, folder=folder, world=WORLD) as stage:
        declare(stage)
        controller = stage.controller().start()
        stage.kubectl("apply", "-f", "kubernetes/machines/")
        stage.await_phase("Running", *MACHINES)
        bought_once(stage)
        shown_by_kubectl(stage)
        read_beside_the_controller(stage, controller)
        public = published(stage, controller)
        delete_everything(stage)
        assert controller.terminate() == 0
        remembered(controller)
        kept_secret(stage, controller, public)


def declare(stage: Stage) -> None:
    """Definitions, classes and the filled-in Secret are there."""
    stage.kubectl("apply", "-f", "kubernetes/crds/")
    stage.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", "kubernetes/crds/")
    stage.kubectl("apply", "-f", "kubernetes/machine-class.yaml")
    (secret,) = stage.sample("secret.yaml")
    secret["stringData"] = {"apiToken": TOKEN, "userData": USERDATA}
    stage.kubectl("apply", "-f", "-", input=yaml.safe_dump(secret))


def bought_once(stage: Stage) -> None:
    """Each Machine has exactly one server, with its userdata; that of `reserved-1` stands on a reservation."""
    machines = stage.machines()
    for name in MACHINES:
        (device,) = stage.devices_of(name)
        assert device.userdata == USERDATA.replace("<<MACHINE_NAME>>", name)
        assert f"machine.sapcloud.io/uid={machines[name]['metadata']['uid']}" in device.tags
        assert {"kubernetes.io/cluster/demo", "kubernetes.io/role/node"} <= set(device.tags)
        assert machines[name]["spec"]["providerID"] == f"equinixmetal://{device.metro}/{device.id}"
        assert machines[name]["metadata"]["labels"]["node"] == name
        assert (device.reservation in RESERVED) == (name == "reserved-1")
    assert {device.hostname: device.metro for device in stage.metal.devices()} == {
        "plain-1": "da",
        "facilities-1": "ny",
        "reserved-1": "da",
    }


def shown_by_kubectl(stage: Stage) -> None:
    """Columns, wide columns, status and Events are what a user sees."""
    rows = [line.split() for line in stage.kubectl("get", "mc").splitlines()]
    assert rows[0] == ["NAME", "STATUS", "AGE", "NODE"]
    assert {row[0]: (row[1], row[3]) for row in rows[1:]} == {name: ("Running", name) for name in MACHINES}
    wide = stage.kubectl("get", "mc", "plain-1", "--output=wide")
    (device,) = stage.devices_of("plain-1")
    assert f"equinixmetal://da/{device.id}" in wide
    machine = json.loads(stage.kubectl("get", "mc", "plain-1", "--output=json"))
    operation = machine["status"]["lastOperation"]
    assert (operation["type"], operation["state"]) == ("Create", "Successful")
    assert "successfully joined the cluster" in operation["description"]
    assert [each["type"] for each in machine["status"]["conditions"]] == ["Ready"]
    described = eventually(
        lambda: (text := stage.kubectl("describe", "mc", "plain-1")) and "NodeJoined" in text and text
    )
    assert device.id in str(described)
    eventually(lambda: "facilities are deprecated" in " ".join(stage.events_of("facilities-1")))


def read_beside_the_controller(stage: Stage, controller: ControllerProcess) -> None:
    """Every verb that reads works while the controller runs, for people and for programs, and changes nothing."""
    table = controller.ask("machines")
    assert all(name in table for name in MACHINES)
    rows = controller.ask_json("machines")
    assert {(row["name"], row["state"], row["step"]) for row in rows} == {
        (name, "Active", "healthy") for name in MACHINES
    }
    shown = controller.ask_json("show", "plain-1")
    (device,) = stage.devices_of("plain-1")
    assert shown["deviceID"] == device.id
    assert [(each["kind"], each["result"]) for each in shown["intents"]] == [("order", "done")]
    assert device.id in controller.ask("show", "plain-1")
    assert "node plain-1 is Ready" in controller.ask("history", "plain-1")
    assert controller.ask("db", "check")
    findings = run_engine("doctor", *controller.flags)
    assert "FAIL" not in findings
    assert controller.ask_json("machines") == rows


def published(stage: Stage, controller: ControllerProcess) -> str:
    """Everything that others may read of a life: objects, Events, pages, records."""
    texts = [stage.kubectl("get", "mc,mcc,events,nodes", "--output=yaml"), stage.kubectl("describe", "mc")]
    for page in ("/metrics", "/healthz", "/readyz"):
        status, text = controller.fetch(page)
        assert status == 200
        texts.append(text)
    for name in MACHINES:
        texts += [controller.ask("history", name, "--output=json"), controller.ask("show", name, "--output=json")]
    return "\n".join(texts)


def delete_everything(stage: Stage) -> None:
    """`kubectl delete` returns only when servers, Nodes and finalizers are gone."""
    classes = {name: stage.user.get("machineclasses", name)["metadata"]["finalizers"] for name in CLASSES}
    assert all(finalizers for finalizers in classes.values())
    assert stage.user.get("secrets", "equinix-metal")["metadata"]["finalizers"]
    stage.kubectl("delete", "-f", "kubernetes/machines/", "--timeout=50s")
    stage.assert_nothing_left()
    assert stage.nodes() == set()
    stage.kubectl("delete", "-f", "kubernetes/machine-class.yaml", "--timeout=20s")
    stage.kubectl("delete", "-f", "kubernetes/secret.yaml", "--timeout=20s")
    assert is_absent(stage.user, "secrets", "equinix-metal")
    assert len(stage.metal.history()) == len(MACHINES)


def remembered(controller: ControllerProcess) -> None:
    """After the Machines are gone, and with no cluster to ask, the database tells each story without a gap."""
    assert controller.ask_json("machines") == []
    assert {row["state"] for row in controller.ask_json("machines", "--all")} == {"Deleted"}
    for name in MACHINES:
        story = controller.ask_json("history", name)
        assert [entry["version"] for entry in story] == list(range(1, len(story) + 1))
        triggers = [entry["trigger"] for entry in story]
        assert [each for each in triggers if each in WHOLE_LIFE] == list(WHOLE_LIFE)
        assert all(earlier["to"] == later["from"] for earlier, later in pairwise(story))
        assert "everything was returned" in controller.ask("history", name)


def kept_secret(stage: Stage, controller: ControllerProcess, public: str) -> None:
    """Neither the API token nor the userdata is in a log, an object, a page, a record or a byte of the database."""
    files = b"".join(path.read_bytes() for path in stage.folder.glob("controller.db*"))
    events = stage.kubectl("get", "events", "--output=yaml")
    for secret in (TOKEN, USERDATA_SECRET):
        assert secret not in public
        assert secret not in events
        assert secret not in controller.told()
        assert secret.encode() not in files

"""A user's mistakes show where the user looks: at the Machine, in words that say what, which and what to do now."""

import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.simulators.metal.settings import SAMPLE_RESERVATIONS
from tests.acceptance.programs import eventually
from tests.acceptance.stage import WORLD, Json, Place, Stage
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.controlplane, pytest.mark.timeout(120)]

SOLD_OUT = "ny/s3.xlarge.x86"
LONG_NAME = "m" * 64
SOON_SECONDS_MAX = 20.0  # A corrected mistake is noticed at once, and not when some timer ends; a boot takes two.
CLOUD = dataclasses.replace(WORLD, capacity={SOLD_OUT: 0})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mistake:
    """What is wrong with a class or its Secret, what the Machine must say, and how the user mends it."""

    words: tuple[str, ...]
    spoil: Callable[[Json, Json], object]
    """Changes the class and the Secret; emptied, an object is not made at all."""
    code: str
    mends: bool = True
    """Whether applying the right class and Secret helps."""


def _without(*keys: str) -> Callable[[Json, Json], object]:
    def spoil(_class: Json, secret: Json) -> None:
        for key in keys:
            secret["stringData"].pop(key)

    return spoil


def _invalid(machine_class: Json, _secret: Json) -> None:
    spec = machine_class["providerSpec"]
    spec.pop("metro")
    spec |= {"billingCycle": "fortnightly", "projectID": "my-project", "tags": ["no-cluster", "no-role"]}


def _sold_out(machine_class: Json, _secret: Json) -> None:
    machine_class["providerSpec"] |= {"metro": "ny", "machineType": "s3.xlarge.x86"}


MISTAKES = {
    "class-unknown": Mistake(
        words=("MachineClass class-unknown", "does not exist", "create it"),
        spoil=lambda machine_class, _secret: machine_class.clear(),
        code="NotFound",
    ),
    "secret-missing": Mistake(
        words=("MachineClass secret-missing", "Secret", "secret-missing does not exist", "create it", "apiToken"),
        spoil=lambda _class, secret: secret.clear(),
        code="NotFound",
    ),
    "token-missing": Mistake(
        words=("MachineClass token-missing", "Secret token-missing", "no key apiToken", "put an API key"),
        spoil=_without("apiToken"),
        code="InvalidArgument",
    ),
    "userdata-missing": Mistake(
        words=("MachineClass userdata-missing", "Secret userdata-missing", "no key userData", "put the user data"),
        spoil=_without("userData"),
        code="InvalidArgument",
    ),
    "all-keys-missing": Mistake(
        words=("no key apiToken", "no key userData"), spoil=_without("apiToken", "userData"), code="InvalidArgument"
    ),
    "spec-invalid": Mistake(
        words=(
            "MachineClass spec-invalid",
            "metro is missing",
            "billingCycle is 'fortnightly'; write one of hourly",
            "projectID must be a UUID",
            "kubernetes.io/cluster/",
            "kubernetes.io/role/",
        ),
        spoil=_invalid,
        code="InvalidArgument",
    ),
    "token-wrong": Mistake(
        words=("Secret token-wrong", "Invalid authentication token", "status 401", "check the API key in the secret"),
        spoil=lambda _class, secret: secret["stringData"].update(apiToken="wrong-token"),
        code="PermissionDenied",
    ),
    "sold-out": Mistake(
        words=(
            "s3.xlarge.x86 in ny for Machine sold-out",
            "aren't available servers",
            "wait, or choose another plan or metro",
        ),
        spoil=_sold_out,
        code="ResourceExhausted",
    ),
}


@pytest.fixture(scope="module")
def crowd(
    controlplane: ControlPlane, controlplane_binaries: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One stage with one controller, in which every test makes its own mistake."""
    admin, namespace = controlplane.kubeconfig(), controlplane.make_namespace()
    binary = controlplane_binaries / "kubectl"
    place = Place(kubectl_binary=binary, kubeconfig=admin, controller_kubeconfig=admin, namespace=namespace)
    with Stage(place, folder=tmp_path_factory.mktemp("mistakes"), world=CLOUD) as stage:
        stage.controller().start()
        yield stage
    controlplane.drop_namespace(namespace)


def right(stage: Stage, name: str, *, sample: str = "plain") -> tuple[Json, Json]:
    """A class and its Secret, both of this name, as they should be."""
    classes = {each["metadata"]["name"]: each for each in stage.sample("machine-class.yaml")}
    machine_class, (secret,) = copy.deepcopy(classes[sample]), stage.sample("secret.yaml")
    machine_class["metadata"]["name"] = secret["metadata"]["name"] = name
    machine_class["secretRef"]["name"] = name
    return machine_class, secret


def error_code(stage: Stage, name: str) -> str:
    """The error code that MCM and the autoscaler read."""
    return str(stage.user.get("machines", name)["status"]["lastOperation"].get("errorCode", ""))


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_told_at_the_machine_and_mended_at_once(crowd: Stage, name: str) -> None:
    """The Machine and an Event say what is wrong, and with the mistake mended the machine goes on by itself."""
    mistake, objects = MISTAKES[name], right(crowd, name)
    mistake.spoil(*objects)
    crowd.apply(*[each for each in objects if each])
    crowd.make_machines(name, class_name=name)

    told = crowd.await_message(name, *mistake.words)

    assert error_code(crowd, name) == mistake.code
    assert crowd.phases()[name] == "CrashLoopBackOff"
    assert told.startswith(f"Cloud provider message - machine codes error: code = [{mistake.code}] message = [")
    eventually(lambda: any(mistake.words[0] in event for event in crowd.events_of(name)))
    assert crowd.devices_of(name) == []

    crowd.apply(*right(crowd, name))

    crowd.await_phase("Running", name, seconds_max=SOON_SECONDS_MAX)
    crowd.delete_machines(name)
    crowd.await_gone(name)
    assert [device for device in crowd.metal.billing() if device.hostname == name] == []


@pytest.mark.parametrize("name", MISTAKES)
def test_machine_with_a_mistake_is_deleted_without_a_trace(crowd: Stage, name: str) -> None:
    """A Machine that never got a server goes at once, whatever is still wrong."""
    machine_name, objects = f"{name}-2", right(crowd, f"{name}-2")
    MISTAKES[name].spoil(*objects)
    crowd.apply(*[each for each in objects if each])
    crowd.make_machines(machine_name, class_name=machine_name)
    eventually(lambda: crowd.message(machine_name))

    crowd.delete_machines(machine_name)

    crowd.await_gone(machine_name, seconds_max=SOON_SECONDS_MAX)
    assert crowd.devices_of(machine_name) == []


def test_name_that_no_server_can_have_is_told_and_the_machine_can_be_deleted(crowd: Stage) -> None:
    """A name longer than a hostname is refused in words before anything is bought."""
    crowd.apply(*right(crowd, "long-names"))
    crowd.make_machines(LONG_NAME, class_name="long-names")

    crowd.await_message(LONG_NAME, f"machine {LONG_NAME}", "has 64 characters", "at most 63", "choose a shorter one")

    assert error_code(crowd, LONG_NAME) == "InvalidArgument"
    crowd.delete_machines(LONG_NAME)
    crowd.await_gone(LONG_NAME, seconds_max=SOON_SECONDS_MAX)
    assert crowd.devices_of(LONG_NAME) == []


def test_machine_waits_in_words_while_every_reservation_is_taken(crowd: Stage) -> None:
    """With two reservations and three Machines, one says so, buys nothing on demand, and goes without a trace."""
    names = ("reserved-a", "reserved-b", "reserved-c")
    crowd.apply(*right(crowd, "reserved", sample="reserved"))
    crowd.make_machines(*names, class_name="reserved")

    eventually(lambda: sorted(_stand(crowd, names)) == ["CrashLoopBackOff", "Running", "Running"])

    (waiting,) = [name for name in names if crowd.phases()[name] != "Running"]
    crowd.await_message(waiting, waiting, "none of its 2 hardware reservations is free", "reservedDevicesOnly: false")
    assert error_code(crowd, waiting) == "ResourceExhausted"
    assert crowd.devices_of(waiting) == []
    held = {device.reservation for name in names for device in crowd.devices_of(name)}
    assert held == {each for group in SAMPLE_RESERVATIONS for each in group.ids}
    crowd.delete_machines(*names)
    crowd.await_gone(*names)
    assert [device for device in crowd.metal.billing() if device.reservation] == []


def _stand(stage: Stage, names: tuple[str, ...]) -> list[str]:
    phases = stage.phases()
    return [phases[name] for name in names]


def test_token_that_goes_bad_holds_a_deletion_back_in_words_until_it_is_mended(crowd: Stage) -> None:
    """A server is never forgotten for want of rights: the deletion says why it waits, and goes on when it can."""
    name = "token-expired"
    machine_class, secret = right(crowd, name)
    crowd.apply(machine_class, secret)
    crowd.make_machines(name, class_name=name)
    crowd.await_phase("Running", name)
    expired = copy.deepcopy(secret)
    expired["stringData"]["apiToken"] = "expired-token"
    crowd.apply(expired)

    crowd.delete_machines(name)

    crowd.await_message(name, "status 401", "check the API key in the secret")
    assert crowd.phases()[name] == "Terminating"
    assert [device.hostname for device in crowd.metal.billing()] == [name]
    crowd.apply(secret)
    crowd.await_gone(name, seconds_max=SOON_SECONDS_MAX)
    crowd.assert_nothing_left()

"""A whole world for one acceptance test: a namespace of a control plane, a simulated cloud, and servers that join."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from engine.clock import SystemClock
from engine.simulators.http import HttpRequest, HttpResponse, HttpServer
from engine.simulators.metal import DeviceView, MetalSettings, MetalSimulator
from engine.simulators.metal.settings import SAMPLE_RESERVATIONS
from engine.simulators.seed import Seed
from tests.acceptance.joiner import NodeJoiner
from tests.acceptance.programs import ROOT, ControllerProcess, Kubectl, eventually
from tests.contract.cluster_user import RefusedError, User

MANIFESTS = ROOT / "kubernetes"
UID_TAG = "machine.sapcloud.io/uid="
TIME_SCALE = 180  # A boot of six minutes takes two seconds.
WORLD = MetalSettings(time_scale=TIME_SCALE, reservations=SAMPLE_RESERVATIONS)
Json = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """Where the play is: an API server's namespace, and whose kubeconfig the controller has."""

    kubectl_binary: Path
    kubeconfig: Path
    controller_kubeconfig: Path
    namespace: str


class Stage:
    """A context manager; when it ends, no process runs and no Node is left."""

    def __init__(self, place: Place, *, folder: Path, world: MetalSettings = WORLD) -> None:
        self.namespace = place.namespace
        self.folder = folder
        self.user = User(place.kubeconfig, place.namespace)
        self.kubectl = Kubectl(place.kubectl_binary, place.kubeconfig, place.namespace, cache=folder / "kubectl-cache")
        self.metal = MetalSimulator(clock=SystemClock(), seed=Seed(1), settings=world)
        self.joiner = NodeJoiner(self.metal, self.user)
        self._server = HttpServer(self._answer)
        self._kubeconfig = place.controller_kubeconfig
        self._controllers: list[ControllerProcess] = []

    def __enter__(self) -> Self:
        self._server.start()
        self.joiner.start()
        return self

    def __exit__(self, *_: object) -> None:
        for controller in self._controllers:
            controller.kill()
        self.joiner.stop()
        self._server.stop()
        self.user.close()

    def controller(self, name: str = "controller", **settings: str) -> ControllerProcess:
        """A controller for this namespace and this cloud, not started yet."""
        given: Mapping[str, str] = {
            "control-kubeconfig": str(self._kubeconfig),
            "target-kubeconfig": str(self._kubeconfig),
            "namespace": self.namespace,
            "metal-api-url": f"{self._server.url}/metal/v1",
            **{key.replace("_", "-"): value for key, value in settings.items()},
        }
        made = ControllerProcess(name, folder=self.folder, settings=given)
        self._controllers.append(made)
        return made

    def sample(self, *names: str) -> list[Json]:
        """The objects of sample manifests, moved to this namespace."""
        objects: list[Json] = []
        for name in names:
            text = (MANIFESTS / name).read_text("utf-8").replace("namespace: default", f"namespace: {self.namespace}")
            objects += [each for each in yaml.safe_load_all(text) if each]
        return objects

    def apply(self, *objects: Json) -> None:
        """The objects are as given."""
        self.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(objects))

    def make_machines(self, *names: str, class_name: str = "plain") -> None:
        """Machines of a class are wanted."""
        for name in names:
            self.user.make_machine(name, spec={"class": {"kind": "MachineClass", "name": class_name}})

    def delete_machines(self, *names: str) -> None:
        """Machines are not wanted any more."""
        for name in names:
            self.user.delete("machines", name)

    def machines(self) -> dict[str, Json]:
        """The Machines that there are, by name."""
        found = self.user.request("GET", self.user.path("machines"))
        return {each["metadata"]["name"]: each for each in found["items"]}

    def phases(self) -> dict[str, str]:
        """Where each Machine stands."""
        return {name: phase_of(machine) for name, machine in self.machines().items()}

    def await_phase(self, phase: str, *names: str, seconds_max: float = 45.0) -> None:
        """All these Machines reached the phase."""

        def reached() -> bool:
            phases = self.phases()
            return all(phases.get(name) == phase for name in names)

        self._await(reached, seconds_max, f"{names} {phase}")

    def await_gone(self, *names: str, seconds_max: float = 45.0) -> None:
        """None of these Machines is left; without names, none at all."""
        self._await(
            lambda: not [name for name in self.machines() if not names or name in names],
            seconds_max,
            f"{names or 'all'} gone",
        )

    def await_message(self, name: str, *words: str, seconds_max: float = 45.0) -> str:
        """The Machine's last operation says all these words: its whole description."""
        self._await(lambda: all(word in self.message(name) for word in words), seconds_max, f"{name} says {words}")
        return self.message(name)

    def message(self, name: str) -> str:
        """What the Machine's last operation says."""
        operation = self.user.get("machines", name).get("status", {}).get("lastOperation", {})
        return str(operation.get("description", ""))

    def events_of(self, name: str) -> list[str]:
        """What the Events about a Machine say."""
        return [str(event.get("message", "")) for event in self.user.events_of(name)]

    def devices_of(self, name: str) -> list[DeviceView]:
        """Every device that was ever bought under this name."""
        return [device for device in self.metal.history() if device.hostname == name]

    def nodes(self) -> set[str]:
        """The Nodes of this stage that are left."""
        found = self.user.request("GET", "/api/v1/nodes")
        return {each["metadata"]["name"] for each in found["items"]} & self.joiner.nodes

    def assert_nothing_left(self) -> None:
        """The cloud holds and bills nothing, and no Machine ever had two servers."""
        assert self.metal.billing() == []
        twice = {tag: most for tag, most in self.metal.most_at_once(tag_prefix=UID_TAG).items() if most > 1}
        assert twice == {}

    def _answer(self, request: HttpRequest) -> HttpResponse:
        """What the cloud says."""
        return self.metal.handle(request)

    def _await(self, fact: Callable[[], bool], seconds_max: float, title: str) -> None:
        try:
            eventually(fact, seconds_max=seconds_max)
        except AssertionError:
            raise AssertionError(f"not within {seconds_max:.0f} s: {title}\n{self._told()}") from None

    def _told(self) -> str:
        lines = [f"{name}: {phase_of(each)}: {_operation(each)}" for name, each in self.machines().items()]
        for controller in self._controllers:
            lines += [f"--- {controller.log.name}", *controller.told().splitlines()[-40:]]
        return "\n".join(lines)


def phase_of(machine: Json) -> str:
    """The phase that others see of a Machine."""
    return str(machine.get("status", {}).get("currentStatus", {}).get("phase", ""))


def is_absent(user: User, resource: str, name: str) -> bool:
    """Whether the object is gone."""
    try:
        user.get(resource, name)
    except RefusedError as refused:
        return refused.status == 404
    return False


def _operation(machine: Json) -> str:
    return str(machine.get("status", {}).get("lastOperation", {}).get("description", ""))

"""F23: canaries in tokens, user data, and in whatever the cloud answers; nobody finds one in anything that is told."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from typer.testing import CliRunner

from engine.cli import app
from engine.console.machines import MachineCollector
from engine.logs import configure
from engine.metrics import REGISTRY
from engine.ports.provider import DeviceOrder
from engine.ports.store import Store
from engine.simulators import engine_life
from engine.simulators.http import HttpRequest, HttpResponse
from engine.simulators.metal import MetalSimulator
from engine.simulators.seed import Seed
from engine.simulators.world import CANARIES, OTHER_TOKEN, TOKEN, USERDATA, WRONG_TOKEN, World
from engine.store import open_store
from engine.workflow.runner import Runner
from engine.workflow.step import Context
from engine.workflow.steps.install import Install
from engine.workflow.steps.order import OrderDevice
from tests.model.model_store import ModelStore
from tests.simulation.faults.stage import MINUTE, SLOW
from tests.simulation.lives import NAME

Handler = Callable[[MetalSimulator, HttpRequest], HttpResponse]


@pytest.fixture(autouse=True)
def silent() -> Iterator[io.StringIO]:
    """Every line of every logger, ours and those of libraries, down to DEBUG, as production writes them."""
    kept, root, stream = structlog.get_config(), logging.getLogger(), io.StringIO()
    before = (list(root.handlers), root.level)
    levels = {name: logging.getLogger(name).level for name in ("transitions", "apscheduler", "urllib3", "alembic")}
    configure(level="DEBUG", style="json", stream=stream)
    structlog.configure(cache_logger_on_first_use=False)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.handlers[:], root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(**kept)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "engine.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """The real store, whose file is searched too."""
    opened = open_store(f"sqlite:///{path}")
    yield opened
    opened.close()


def outputs(world: World, path: Path) -> dict[str, str]:
    """Everything that leaves the engine and that somebody may read, by what it is; the log is looked at beside."""
    told = {
        "metrics": generate_latest(REGISTRY).decode(),
        "machine metrics": repr(list(MachineCollector(world.cluster.user.machines).collect())),
        "events": repr(world.cluster.events),
        "machines": repr(world.cluster.user.machines()),
        "trace": "\n".join(world.trace),
        "reasons": repr(world.engine.breakers.opened()),
    }
    for word in (["machines", "--all"], ["history", NAME], ["show", NAME], ["orphans", "--all"]):
        for form in ("table", "json"):
            answer = CliRunner().invoke(app, [*word, "--output", form, "--database", f"sqlite:///{path}"])
            assert answer.exit_code == 0, answer
            told[f"{word[0]} as {form}"] = answer.stdout
    for file in path.parent.iterdir():
        told[file.name] = file.read_bytes().decode("latin-1")
    return told


def assert_quiet(world: World, path: Path, log: io.StringIO) -> None:
    """No canary stands in any of it."""
    told = outputs(world, path) | {"log": log.getvalue()}
    assert "machine moved" in told["log"]
    leaks = [f"{canary} in {name}" for name, text in told.items() for canary in CANARIES if canary in text]
    assert not leaks


def errors(request: HttpRequest, status: int) -> HttpResponse:
    """The API's own form, with everything it was given in its words."""
    told = f"cannot do {request.body.decode('utf-8', 'replace')} with {dict(request.headers)} for {USERDATA}"
    return HttpResponse(status=status, body=json.dumps({"errors": [told, TOKEN, USERDATA]}).encode())


def error(request: HttpRequest, status: int) -> HttpResponse:
    """The other documented form."""
    told = {"error": f"the device was made with {USERDATA}"}
    return HttpResponse(status=status, headers={"X-Request-Id": "1"}, body=json.dumps(told).encode())


def headers(request: HttpRequest, status: int) -> HttpResponse:
    """Plain words, and the key among the headers."""
    told = {"X-Request-Id": request.headers.get("x-auth-token", ""), "Content-Type": f"text/{TOKEN}"}
    return HttpResponse(status=status, headers=told, body=b'{"errors": ["no"]}')


def page(request: HttpRequest, status: int) -> HttpResponse:
    """A load balancer that shows the whole request."""
    text = f"<html>{request.headers} {request.body!r} {USERDATA}</html>"
    return HttpResponse(status=status, headers={"Content-Type": "text/html"}, body=text.encode())


def echoing(
    monkeypatch: pytest.MonkeyPatch, form: Callable[[HttpRequest, int], HttpResponse], status: int
) -> list[bool]:
    """Have the cloud answer the engine with what it was given, while the switch is not empty."""
    answer, on = MetalSimulator.handle, [True]

    def handle(self: MetalSimulator, request: HttpRequest) -> HttpResponse:
        ours = request.headers.get("user-agent", "").startswith("machine-engine/")
        return form(request, status) if on and ours else answer(self, request)

    monkeypatch.setattr(MetalSimulator, "handle", handle)
    return on


@pytest.mark.parametrize("status", [400, 403, 422, 429, 500])
@pytest.mark.parametrize("form", [errors, error, headers, page])
def test_f23_a_cloud_that_echoes_secrets_is_not_quoted(
    form: Callable[[HttpRequest, int], HttpResponse],
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    silent: io.StringIO,
) -> None:
    """Whatever an answer to an order, a list, a look or a return repeats: the reason is told, and not the secret."""
    on = echoing(monkeypatch, form, status)
    on.clear()
    world = World(Seed("echo"), ModelStore(), SLOW)
    world.create("before")
    world.settle()
    on.append(True)
    world.create(NAME)
    world.delete("before")
    world.run_for(MINUTE)
    on.clear()
    world.run_for(MINUTE / 2)
    on.append(True)
    world.run_for(MINUTE / 2)
    log = silent.getvalue()
    leaks = [canary for canary in CANARIES if canary in log or canary in repr(world.cluster.events)]
    assert not leaks
    on.clear()
    world.run_for(2 * MINUTE)


def test_f23_a_whole_life_tells_no_secret(store: Store, path: Path, silent: io.StringIO) -> None:
    """Keys are wrong and rotated, processes die: nothing of it stands in any output, nor in a byte of the file."""
    world = World(Seed("canaries"), store, SLOW)
    world.create(NAME)
    world.run_for(MINUTE / 4)
    world.rotate(WRONG_TOKEN)
    world.run_for(MINUTE / 4)
    world.crash()
    world.rotate(OTHER_TOKEN)
    world.settle()
    world.rotate(WRONG_TOKEN)
    world.delete(NAME)
    world.run_for(MINUTE / 4)
    assert_quiet(world, path, silent)
    world.rotate(TOKEN)
    world.settle()
    world.create("next")
    world.settle()
    assert_quiet(world, path, silent)


@pytest.mark.parametrize("step", [OrderDevice, Install])
def test_f23_a_fault_that_prints_all_it_has_tells_no_secret(
    step: type[Any], monkeypatch: pytest.MonkeyPatch, store: Store, path: Path, silent: io.StringIO
) -> None:
    """An exception whose text is everything that a step sees: record, object, class, Secret, account and order."""
    plain, bugs = step.decide, [True]

    def decide(self: object, context: Context) -> Any:
        if not bugs:
            return plain(self, context)
        seen = [context, context.binding, context.binding.cloud, context.binding.class_object, vars_of(world)]
        raise RuntimeError(f"{seen!r} {plain(self, context)!r}")

    monkeypatch.setattr(engine_life, "_StrictRunner", Runner)
    monkeypatch.setattr(step, "decide", decide)
    world = World(Seed("repr"), store, SLOW)
    world.create(NAME)
    world.run_for(MINUTE)
    assert "RuntimeError" in silent.getvalue()
    assert_quiet(world, path, silent)
    bugs.clear()
    world.settle()


def vars_of(world: World) -> list[object]:
    """What else a careless message might hold."""
    return [*world.cluster.secrets(), *world.cluster.machine_classes(), *world.engine.inventory.clouds()]


def test_f23_an_order_and_an_account_print_no_secret() -> None:
    """The records that carry user data and tokens leave them out of their text, wherever that is printed."""
    world = World(Seed("print"), ModelStore(), SLOW)
    binding = world.engine.bindings.of_class("workers")
    cloud: Any = binding.cloud
    assert binding.userdata == USERDATA
    order = DeviceOrder(uid=world.create(NAME).uid, hostname=NAME, userdata=USERDATA)
    told = repr([binding, cloud, order, *world.cluster.secrets(), vars(cloud._inside)])
    assert not [canary for canary in CANARIES if canary in told]

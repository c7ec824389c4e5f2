"""The demo world put together: embedded clouds, stand-ins, samples, and the production controller among them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import yaml

from engine.app import Controller
from engine.clock import Clock
from engine.config import Settings
from engine.errors import ConfigurationError
from engine.jobs.prompt import Prompt
from engine.resources import manifests_path
from engine.simulators.demo.cloud import Cloud
from engine.simulators.demo.folder import Folder, Memory, write_whole
from engine.simulators.demo.nodes import Kubelets
from engine.simulators.demo.replicas import Replicas
from engine.simulators.http import Handler, HttpServer
from engine.simulators.kube.simulator import KubeSimulator
from engine.simulators.metal.catalog import PREFIX
from engine.simulators.seed import Seed

_HOST = "127.0.0.1"
_LOOK_EVERY = timedelta(milliseconds=250)  # nobody sees a Node join a quarter of a second late
_DEFINITIONS = "crds/*.yaml"
_SAMPLES = ("secret.yaml", "machine-class.yaml", "machines/*.yaml", "machine-deployment.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A demo world that is served; its controller has not begun yet."""

    folder: Folder
    kube: KubeSimulator
    cloud: Cloud
    controller: Controller
    api_url: str
    metal_url: str


@contextmanager
def opened(folder: Folder, *, port: int, clock: Clock) -> Iterator[World]:
    """Serve the world of the folder until the block ends; `port` is the API server's, 0 for that of last time."""
    memory, seed = folder.recall(), Seed("demo")
    with ExitStack() as stack:
        kube = KubeSimulator(clock=clock, seed=seed.child("kube"), file=folder.objects)
        stack.callback(kube.close)
        cloud = Cloud(clock=clock, seed=seed.child("metal"), file=folder.devices)
        stack.callback(_save, cloud, folder)
        api_url = stack.enter_context(_served(kube.handle, port=port, last_port=memory.api_port))
        metal_url = stack.enter_context(_served(cloud.handle, port=0, last_port=memory.metal_port)) + PREFIX
        write_whole(folder.kubeconfig, yaml.safe_dump(kube.kubeconfig(api_url), sort_keys=False).encode())
        _fill(kube, samples=not memory.samples_applied)
        ports = {"api_port": urlsplit(api_url).port or 0, "metal_port": urlsplit(metal_url).port or 0}
        folder.remember(Memory(**ports, samples_applied=True))
        kubelets = Kubelets(clock=clock, seed=seed.child("nodes"), kube=kube, metal=cloud.simulator)
        stack.enter_context(_repeated("join nodes", kubelets.turn, clock))
        stack.enter_context(_repeated("keep replicas", Replicas(clock=clock, kube=kube).turn, clock))
        controller = Controller(_settings(folder, metal_url), clock=clock)
        stack.callback(controller.stop)
        yield World(folder=folder, kube=kube, cloud=cloud, controller=controller, api_url=api_url, metal_url=metal_url)


def _save(cloud: Cloud, folder: Folder) -> None:
    if folder.exists:
        cloud.save()


@contextmanager
def _served(handle: Handler, *, port: int, last_port: int) -> Iterator[str]:
    """Serve on the port; without one on that of last time, or on a free one if that is taken."""
    with _bound(handle, port, last_port) as server:
        yield server.url


def _bound(handle: Handler, port: int, last_port: int) -> HttpServer:
    if port:
        try:
            return HttpServer(handle, host=_HOST, port=port)
        except OSError as error:
            text = f"port {port} cannot be taken: {error.strerror}; name another with --port, or 0 for a free one"
            raise ConfigurationError(text) from error
    try:
        return HttpServer(handle, host=_HOST, port=last_port)
    except OSError:
        return HttpServer(handle, host=_HOST)


def _fill(kube: KubeSimulator, *, samples: bool) -> None:
    folder = manifests_path()
    for pattern in (_DEFINITIONS, *(_SAMPLES if samples else ())):
        for file in sorted(folder.glob(pattern)):
            manifests: Iterator[Any] = yaml.safe_load_all(file.read_text(encoding="utf-8"))
            for manifest in manifests:
                kube.apply(manifest)


@contextmanager
def _repeated(name: str, turn: Callable[[], None], clock: Clock) -> Iterator[None]:
    job = Prompt(clock=clock, name=name, turn=turn, news=threading.Event(), at_least=_LOOK_EVERY)
    job.start()
    try:
        yield
    finally:
        job.stop()


def _settings(folder: Folder, metal_url: str) -> Settings:
    """Answer the production settings, with waits for a cloud that is 72 times faster than the real one."""
    kubeconfig = str(folder.kubeconfig)
    return Settings(
        control_kubeconfig=kubeconfig,
        target_kubeconfig=kubeconfig,
        database=f"sqlite:///{folder.database}",
        metal_api_url=metal_url,
        metal_calls_per_second=50,
        address=_HOST,
        port=0,
        concurrent_syncs=8,
        resource_exhausted_retry=timedelta(seconds=15),
        visibility_window=timedelta(seconds=5),
        retry_first=timedelta(seconds=1),
        retry_longest=timedelta(seconds=10),
        busy_retry=timedelta(seconds=1),
        reservation_cooldown=timedelta(seconds=10),
        poll_fastest=timedelta(milliseconds=250),
        poll_expecting=timedelta(seconds=1),
        poll_quiet=timedelta(seconds=3),
        sync_period=timedelta(seconds=30),
        leader_elect=False,  # the folder's lock lets in one only
    )

"""/healthz, /readyz and /metrics over plain HTTP, from a thread of their own."""

import threading
from datetime import timedelta

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engine.clock import Clock
from engine.console.health import Health
from engine.errors import ConfigurationError
from engine.metrics import REGISTRY

_START_PATIENCE = timedelta(seconds=10)
_LOOK_EVERY = timedelta(milliseconds=20)


class ConsoleServer:
    """Serves the probes and the metrics."""

    def __init__(self, *, health: Health, machines: Collector, address: str, port: int, clock: Clock) -> None:
        self._machines = CollectorRegistry()
        self._machines.register(machines)
        self._health = health
        self._clock = clock
        self._where = f"{address}:{port}"
        config = uvicorn.Config(
            self._app(), host=address, port=port, log_config=None, access_log=False, lifespan="off", http="httptools"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="console", daemon=True)

    def start(self) -> None:
        """Serve; raises ConfigurationError when the address cannot be taken."""
        self._thread.start()
        end = self._clock.monotonic() + _START_PATIENCE.total_seconds()
        while not self._server.started:
            if not self._thread.is_alive() or self._clock.monotonic() > end:
                raise ConfigurationError(
                    f"cannot serve on {self._where}; is another controller running? Choose another with --port"
                )
            self._clock.sleep(_LOOK_EVERY)

    def stop(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def port(self) -> int:
        """The port that is served; it differs from the setting when that was 0."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def _serve(self) -> None:
        try:
            self._server.run()
        except SystemExit:
            """The library leaves the process when a port is taken; `start` says so instead."""

    def _app(self) -> Starlette:
        routes = [Route("/healthz", self._healthz), Route("/readyz", self._readyz), Route("/metrics", self._metrics)]
        return Starlette(routes=routes)

    def _healthz(self, request: Request) -> Response:  # noqa: ARG002 - the framework's signature
        return _words(self._health.faults())

    def _readyz(self, request: Request) -> Response:  # noqa: ARG002 - the framework's signature
        return _words(self._health.unready())

    def _metrics(self, request: Request) -> Response:  # noqa: ARG002 - the framework's signature
        return Response(generate_latest(REGISTRY) + generate_latest(self._machines), media_type=CONTENT_TYPE_LATEST)


def _words(faults: list[str]) -> Response:
    return PlainTextResponse("OK\n" if not faults else "\n".join(faults) + "\n", status_code=503 if faults else 200)

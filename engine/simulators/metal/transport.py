"""The simulator as a transport of `requests`: a session talks to it in process, without a socket."""

from collections.abc import Mapping
from datetime import timedelta
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPResponse

from engine.clock import Clock
from engine.simulators.http import Handler, HttpRequest, HttpResponse

Timeout = float | tuple[float | None, float | None] | None


class SimulatorAdapter(BaseAdapter):
    """Carries the requests of a session to a handler: `session.mount("https://", SimulatorAdapter(...))`.

    A delay passes on the clock. An answer that would take longer than the time-out is a time-out; a connection that is
    cut is a connection error.
    """

    def __init__(self, handle: Handler, *, clock: Clock) -> None:
        super().__init__()
        self._handle = handle
        self._clock = clock
        self._builder = HTTPAdapter()

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002, FBT001, FBT002 - the base class asks for it
        timeout: Timeout = None,
        verify: bool | str = True,  # noqa: ARG002, FBT001, FBT002 - as above
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,  # noqa: ARG002 - as above
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002 - as above
    ) -> requests.Response:
        """Answer what the simulator answers.

        Raises ConnectionError when the connection is cut and ReadTimeout when the answer comes too late.
        """
        response = self._handle(_read(request))
        self._pass(response.delay, timeout, request)
        if response.hang_up:
            raise requests.ConnectionError("the simulator hung up", request=request)
        return self._builder.build_response(request, _raw(response))

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _pass(self, delay: timedelta, timeout: Timeout, request: requests.PreparedRequest) -> None:
        seconds = timeout[1] if isinstance(timeout, tuple) else timeout
        limit = timedelta(seconds=seconds) if seconds is not None else None
        if limit is not None and delay > limit:
            self._clock.sleep(limit)
            raise requests.ReadTimeout("the simulator did not answer in time", request=request)
        if delay:
            self._clock.sleep(delay)


def _read(request: requests.PreparedRequest) -> HttpRequest:
    url = urlsplit(request.url or "")
    body = request.body or b""
    if not isinstance(body, str | bytes):
        body = b"".join(body)
    return HttpRequest(
        method=request.method or "GET",
        path=url.path,
        query=parse_qs(url.query, keep_blank_values=True),
        headers=dict(request.headers.lower_items()),
        body=body.encode() if isinstance(body, str) else body,
    )


def _raw(response: HttpResponse) -> HTTPResponse:
    body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
    return HTTPResponse(body=BytesIO(body), headers=response.headers, status=response.status, preload_content=False)

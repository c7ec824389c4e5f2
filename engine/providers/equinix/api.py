"""Requests to the Metal API and what comes back: an answer, or silence. It judges neither; `errors` does.

The only module that knows `requests`. Nothing is retried and nothing redirected here, nothing secret is put into an
URL, and no exception leaves it, because those of `requests` carry the token and the body of the request.
"""

import http.cookiejar
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from engine import __version__
from engine.clock import Clock
from engine.errors import ConfigurationError
from engine.providers.equinix.deadline import PlainPool, SecurePool, deadline
from engine.providers.pace import Pace, PaceSettings

Transport = BaseAdapter
"""What carries requests; a simulator hands in its own."""

DEFAULT_BASE_URL = "https://api.equinix.com/metal/v1"
AGENT = f"machine-engine/{__version__}"
CHUNK_BYTES = 65_536
CAUSES_MAX = 16  # how many causes of an exception are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class EquinixSettings:
    """How the Metal API is called."""

    base_url: str = DEFAULT_BASE_URL
    """Where the API is; a simulator has its own address."""
    connect_seconds: float = 5.0
    """How long a connection may take; the engine tries again soon."""
    call_seconds: float = 30.0
    """How long a call may take from its start to the last byte; an order takes some seconds."""
    page_size: int = 100
    """Devices on a page. The documents promise 100 everywhere and 1,000 in places."""
    pages_max: int = 500
    """Pages that one list may cost: 50,000 devices."""
    body_bytes_max: int = 64 * 1024 * 1024
    """Answers are read up to this size: a page repeats the user data of each device, up to 64 KiB by rumour."""
    connections_max: int = 32
    """Idle connections kept for each account: one for each worker thread."""
    accounts_max: int = 64
    """API keys whose connections are kept; the one unused for longest is dropped."""
    ca_file: str | None = None
    """A file of certificates to trust instead of the usual ones; for a gateway with a certificate of its own."""
    pace: PaceSettings = field(default_factory=PaceSettings)
    """How fast one API key is used."""

    def check(self) -> None:
        """Raise ConfigurationError when these settings cannot work."""
        url = urlsplit(self.base_url)
        if url.scheme not in {"http", "https"} or not url.hostname or url.username or url.query:
            raise ConfigurationError(
                f"the address of the Metal API must look like {DEFAULT_BASE_URL}, without user and query"
            )
        least = min(self.connect_seconds, self.call_seconds, self.pace.calls_per_second)
        if least <= 0 or min(self.page_size, self.pages_max, self.pace.burst) < 1:
            raise ConfigurationError(
                "time-outs, page size, page number, pace and burst of the Metal API must be positive"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API, or something between it and us, said; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False, default=b"")
    retry_at: datetime | None = None
    """Until when calls are refused, when this answer is such a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No usable answer came."""

    reason: str
    sent: bool
    """Whether the request may have reached the API."""


class Api:
    """The API with one key. Safe from threads; they share its connections and its pace."""

    def __init__(self, *, token: str, clock: Clock, settings: EquinixSettings, transport: Transport | None) -> None:
        self._clock = clock
        self._settings = settings
        self._base_url = settings.base_url.rstrip("/")
        self._pace = Pace(clock=clock, settings=settings.pace)
        self._session = _session(token, settings, transport)
        self._pattern: requests.PreparedRequest | None = None

    def call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer | Silence:
        """Send one request and answer what came back.

        Raises ThrottledError, with nothing sent, when it is not this key's turn.
        """
        self._pace.take_turn()
        content = msgspec.json.encode(body) if body is not None else None
        try:
            with deadline(self._clock, self._settings.call_seconds):
                answer = self._exchange(method, path, query, content)
        except (OSError, HTTPError) as error:  # every exception of requests is an OSError
            return self._silence(error)
        if isinstance(answer, Silence):
            return answer
        retry_at = self._pace.learn(answer.status, answer.headers)
        return replace(answer, retry_at=retry_at) if retry_at else answer

    def close(self) -> None:
        """Let go of the idle connections; calls under way end as if nothing had happened."""
        self._session.close()

    def _exchange(
        self, method: str, path: str, query: Mapping[str, str] | None, content: bytes | None
    ) -> Answer | Silence:
        with self._session.send(
            self._prepared(method, path, query, content),
            timeout=(self._settings.connect_seconds, self._settings.call_seconds),
            allow_redirects=False,
            stream=True,
            proxies={},
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(CHUNK_BYTES):
                body += chunk
                if len(body) > self._settings.body_bytes_max:
                    return Silence(reason=f"the answer is larger than {self._settings.body_bytes_max} bytes", sent=True)
            headers = dict(response.headers.lower_items())
            return Answer(status=response.status_code, headers=headers, body=bytes(body))

    def _prepared(
        self, method: str, path: str, query: Mapping[str, str] | None, content: bytes | None
    ) -> requests.PreparedRequest:
        """Answer the request. What all have in common is prepared and checked once: that is half the cost of a call."""
        if self._pattern is None:
            self._pattern = self._session.prepare_request(requests.Request("GET", self._base_url))
        prepared = self._pattern.copy()
        prepared.method = method
        prepared.url = f"{self._base_url}{path}?{urlencode(query)}" if query else f"{self._base_url}{path}"
        prepared.body = content
        if content is not None:
            prepared.headers["Content-Type"] = "application/json"
        if method != "GET":
            prepared.headers["Content-Length"] = str(len(content or b""))
        return prepared

    def _silence(self, error: Exception) -> Silence:
        # The exception's own text is left out: it is long, and nobody promises what is in it.
        causes = list(_causes(error))
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return Silence(reason="the certificate of the API is not trusted", sent=False)
        if any(isinstance(cause, _NOT_SENT) for cause in causes):
            return Silence(reason="no connection to the API could be made", sent=False)
        if any(isinstance(cause, _TOO_LATE) for cause in causes):
            return Silence(reason=f"no complete answer came within {self._settings.call_seconds:g} s", sent=True)
        return Silence(reason=f"the connection was cut ({type(causes[-1]).__name__})", sent=True)


_NOT_SENT = (
    NewConnectionError,  # refused, unreachable, or the name has no address
    ConnectTimeoutError,
    requests.ConnectTimeout,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
)
_TOO_LATE = (ReadTimeoutError, requests.ReadTimeout, TimeoutError)


def _session(token: str, settings: EquinixSettings, transport: Transport | None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # neither .netrc nor proxies of the environment
    session.verify = settings.ca_file or True
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update(
        {
            "Accept": "application/json",
            "User-Agent": AGENT,
            "X-Consumer-Token": AGENT,
            "X-Auth-Token": token,
        }
    )
    carrier = transport or _BoundedAdapter(pool_connections=1, pool_maxsize=settings.connections_max)
    for scheme in ("http://", "https://"):
        session.mount(scheme, carrier)
    return session


class _BoundedAdapter(HTTPAdapter):
    """Connections whose answers obey the deadline of the call; nothing is retried, that is for the engine to decide."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it wraps, in the several ways in which `requests` and `urllib3` wrap."""
    found: list[BaseException] = [error]
    for cause in found:
        yield cause
        inner = [cause.__cause__, getattr(cause, "reason", None), *cause.args]
        known = {id(other) for other in found}
        found += [other for other in inner if isinstance(other, BaseException) and id(other) not in known]
        if len(found) > CAUSES_MAX:
            return

"""Requests to the Metal API on real sockets: what is sent, and what becomes of answers that are cut, slow or odd."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from pytest_httpserver import HTTPServer

from engine import __version__
from engine.clock import SystemClock
from engine.errors import ConfigurationError
from engine.ports.provider import ThrottledError
from engine.providers.equinix.api import Answer, Api, EquinixSettings, Silence
from engine.providers.pace import PaceSettings

TOKEN = "canary-token"
PATIENCE_SECONDS = 5.0  # how long a slow server goes on; far longer than a call may take


def api(url: str, **changes: float) -> Api:
    """Answer an API at this address whose calls may take half a second."""
    settings = EquinixSettings(
        base_url=url,
        call_seconds=changes.pop("call_seconds", 0.5),
        body_bytes_max=int(changes.pop("body_bytes_max", 1_000_000)),
        pace=PaceSettings(calls_per_second=1_000, burst=1_000),
    )
    return Api(token=TOKEN, clock=SystemClock(), settings=settings, transport=None)


Behaviour = Callable[[socket.socket], None]


@pytest.fixture
def rude_server() -> Iterator[Callable[[Behaviour], str]]:
    """Starts a server that reads a request and then does with the connection what it is told."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE_SECONDS)

    def start(behave: Behaviour) -> str:
        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with closing(connection):
                    connection.recv(65_536)
                    behave(connection)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    listener.close()


def drip(text: bytes) -> Behaviour:
    """Send one byte after the other, each well within a socket's time-out."""

    def behave(connection: socket.socket) -> None:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    return behave


def test_request_carries_the_token_and_who_we_are(httpserver: HTTPServer) -> None:
    """Each request names the client and carries the token in a header; bodies are JSON."""
    httpserver.expect_request("/metal/v1/x", method="POST").respond_with_data('{"id": 1}', 201)

    answer = api(httpserver.url_for("/metal/v1/")).call("POST", "/x", body={"a": "ü"})

    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (201, b'{"id": 1}')
    request = httpserver.log[0][0]
    headers = request.headers
    assert headers["X-Auth-Token"] == TOKEN
    assert headers["User-Agent"] == headers["X-Consumer-Token"] == f"machine-engine/{__version__}"
    assert headers["Content-Type"] == "application/json"
    assert request.get_data() == '{"a":"ü"}'.encode()
    assert TOKEN not in request.url


def test_redirect_is_an_answer_and_not_followed(httpserver: HTTPServer) -> None:
    """A redirect would carry the token elsewhere; it is handed back as it is."""
    httpserver.expect_request("/x").respond_with_data("", 302, {"Location": httpserver.url_for("/elsewhere")})

    answer = api(httpserver.url_for("")).call("GET", "/x")

    assert isinstance(answer, Answer)
    assert answer.status == 302
    assert len(httpserver.log) == 1


def test_failure_is_not_repeated(httpserver: HTTPServer) -> None:
    """A 503 with Retry-After is one request: the engine decides what to repeat, and when."""
    httpserver.expect_request("/x").respond_with_data("busy", 503, {"Retry-After": "0"})

    answer = api(httpserver.url_for("")).call("GET", "/x")

    assert isinstance(answer, Answer)
    assert len(httpserver.log) == 1


def test_cookies_are_not_kept(httpserver: HTTPServer) -> None:
    """A cookie of one answer is not sent with the next request."""
    httpserver.expect_request("/x").respond_with_data("{}", headers={"Set-Cookie": "session=1; Path=/"})
    metal = api(httpserver.url_for(""))

    metal.call("GET", "/x")
    metal.call("GET", "/x")

    assert "Cookie" not in httpserver.log[1][0].headers


def test_connection_is_used_again() -> None:
    """Calls of one key share a connection while it is free."""
    accepted: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                accepted.append(connection)
                while connection.recv(65_536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    threading.Thread(target=serve, daemon=True).start()
    metal = api(f"http://127.0.0.1:{listener.getsockname()[1]}")

    answers = [metal.call("GET", "/x") for _ in range(5)]

    assert all(isinstance(answer, Answer) for answer in answers)
    assert len(accepted) == 1
    metal.close()
    listener.close()
    accepted[0].close()


@pytest.mark.parametrize("start", [b"", b"HTTP/1", b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id"'])
def test_cut_connection_is_silence(rude_server: Callable[[Behaviour], str], start: bytes) -> None:
    """A connection that is cut before, in or after the headers is silence after a request that was sent."""
    url = rude_server(lambda connection: connection.sendall(start))

    answer = api(url).call("POST", "/x", body={})

    assert isinstance(answer, Silence)
    assert answer.sent
    assert "cut" in answer.reason


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 200,
        b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40,
    ],
)
def test_dripping_answer_ends_at_the_deadline(rude_server: Callable[[Behaviour], str], text: bytes) -> None:
    """A server that sends a byte now and then, in headers or body, cannot hold a call beyond its deadline."""
    url = rude_server(drip(text))
    begin = time.monotonic()

    answer = api(url).call("GET", "/x")

    assert time.monotonic() - begin < 2.5  # the deadline is 0.5 s, and the machine may be busy
    assert isinstance(answer, Silence)
    assert answer.sent
    assert "within 0.5 s" in answer.reason


def test_slow_answer_within_the_deadline_is_read(rude_server: Callable[[Behaviour], str]) -> None:
    """An answer that drips but is complete in time is an answer."""
    url = rude_server(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))

    answer = api(url, call_seconds=10).call("GET", "/x")

    assert isinstance(answer, Answer)
    assert answer.body == b"{}"


def test_refused_connection_was_never_sent() -> None:
    """When nobody listens, the request has not left."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    answer = api(f"http://127.0.0.1:{port}").call("POST", "/x", body={})

    assert answer == Silence(reason="no connection to the API could be made", sent=False)


def test_name_without_address_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the name cannot be resolved, the request has not left."""

    def fail(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)

    answer = api("http://metal.example").call("POST", "/x", body={})

    assert answer == Silence(reason="no connection to the API could be made", sent=False)


def test_plain_text_where_tls_is_expected_is_silence(httpserver: HTTPServer) -> None:
    """A server without TLS at an https address is silence, not a crash."""
    httpserver.expect_request("/x").respond_with_data("{}")

    answer = api(httpserver.url_for("").replace("http://", "https://")).call("GET", "/x")

    assert isinstance(answer, Silence)


def test_oversized_answer_is_silence(httpserver: HTTPServer) -> None:
    """An answer larger than allowed is not read to its end."""
    httpserver.expect_request("/x").respond_with_data("x" * 1_000)

    answer = api(httpserver.url_for(""), body_bytes_max=999).call("GET", "/x")

    assert isinstance(answer, Silence)
    assert "larger than 999 bytes" in answer.reason


def test_refusal_of_calls_holds_for_the_whole_key(httpserver: HTTPServer) -> None:
    """After a 429 the next call of the key is refused without a request, until the provider's instant."""
    httpserver.expect_request("/x").respond_with_data("{}", 429, {"Retry-After": "7"})
    metal = api(httpserver.url_for(""))

    answer = metal.call("GET", "/x")

    assert isinstance(answer, Answer)
    assert answer.retry_at
    with pytest.raises(ThrottledError) as refused:
        metal.call("POST", "/y", body={})
    assert refused.value.retry_at
    assert abs((refused.value.retry_at - answer.retry_at).total_seconds()) < 1
    assert len(httpserver.log) == 1


@pytest.mark.parametrize(
    "settings",
    [
        EquinixSettings(base_url="metal.example"),
        EquinixSettings(base_url="ftp://metal.example"),
        EquinixSettings(base_url="https://user:secret@metal.example"),
        EquinixSettings(call_seconds=0),
        EquinixSettings(page_size=0),
        EquinixSettings(pace=PaceSettings(calls_per_second=0)),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: EquinixSettings) -> None:
    """A wrong address or a number that makes no sense stops the start."""
    with pytest.raises(ConfigurationError, match="Metal API"):
        settings.check()


def test_default_settings_work() -> None:
    """The defaults pass their own check."""
    EquinixSettings().check()

"""One thread a kind that keeps a cache up to date: a paged list, then a watch from there, and again when it breaks.

Nothing that a server does ends the thread or makes it spin: each failure waits longer than the one before, and an
answer that ends at once counts as a failure.
"""

import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

import msgspec
import urllib3

from engine.clock import Clock
from engine.cluster import wire
from engine.cluster.api import ApiServer
from engine.cluster.cache import Cache, Change, Versioned
from engine.cluster.errors import ExpiredError
from engine.errors import ClusterError
from engine.ports.cluster import ClusterUnavailableError, Kind, ObjectRefusedError

PAGE_SIZE = 500  # measured: 10,000 objects in 0.3 s, without a peak in memory
PAGES_MAX = 2_000  # a million objects; a server that pages without end is broken
WATCH_SECONDS = (40, 50)
"""How long one watch lasts, drawn between the two so that kinds and replicas do not knock together.

Short, because a server says nothing while nothing happens (bookmarks come once a minute): the end of a watch is the
sign of life, and the next watch, which starts at the present version, costs the server nothing."""
SILENCE_SECONDS = 55.0  # the longest watch and a slow answer: after that, the connection is dead, however it looks
RELIST_SPAN = timedelta(hours=1)  # a server restored from a backup counts versions anew, and no watch tells
SHORT_SECONDS = 5.0  # a watch that ends sooner did not do its work; one in health lasts at least 40 s
BACKOFF_SECONDS = 0.2
BACKOFF_SECONDS_MAX = 30.0  # with a dead server, two requests a minute and kind
LINE_BYTES_MAX = 16 * 1024 * 1024  # ten times the largest object that etcd takes
CHUNK_BYTES = 64 * 1024

T = TypeVar("T", bound=Versioned)
UNREADABLE = (msgspec.DecodeError, ValueError, TypeError, OverflowError)
"""What reading an odd object may raise."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Generic[T]):
    """What is watched: the kind, where it is listed, and how one object is read."""

    kind: Kind
    path: str
    read: Callable[[bytes], T]


class Reflector(Generic[T]):
    """Feeds one cache from one API server and tells of each change."""

    def __init__(
        self,
        source: Source[T],
        *,
        api: ApiServer,
        cache: Cache[T],
        clock: Clock,
        tell: Callable[[Kind, Change], None],
    ) -> None:
        self._source = source
        self._api = api
        self._cache = cache
        self._clock = clock
        self._tell = tell
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._response: urllib3.BaseHTTPResponse | None = None
        self._version = ""
        """Where the next watch starts; empty when a list is due."""
        self._listed_at = 0.0
        self._heard_at = clock.monotonic()
        self._draws = 0
        self._failures = 0
        self._unreadable: dict[str, str] = {}
        self.synced = threading.Event()
        """Set when the kind was listed completely at least once."""

    @property
    def unreadable(self) -> frozenset[str]:
        """Names of objects that are there but could not be read when they were last seen."""
        return frozenset(self._unreadable)

    def start(self) -> None:
        """Begin, in a thread."""
        self._heard_at = self._clock.monotonic()
        self._thread = threading.Thread(target=self.run, name=f"watch-{self._source.kind}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; a read that waits is cut."""
        self._stopping.set()
        response = self._response
        if response:
            try:
                response.shutdown()
            except (ValueError, RuntimeError, OSError):  # It ended by itself in between.
                log.debug("watch had ended already", extra={"kind": self._source.kind})

    def join(self, span: timedelta) -> bool:
        """Wait for the thread's end; answer whether it came."""
        if self._thread:
            self._thread.join(span.total_seconds())
        return not (self._thread and self._thread.is_alive())

    def blind_for(self) -> timedelta:
        """Answer how long ago the API server last said anything."""
        return timedelta(seconds=self._clock.monotonic() - self._heard_at)

    def run(self) -> None:
        """List and watch until asked to stop."""
        while not self._stopping.is_set():
            try:
                seconds = self._turn()
            except Exception as error:  # noqa: BLE001 - a dead watch blinds the engine, whatever killed it
                if not self._stopping.is_set():
                    self._fail(error)
            else:
                self._finish(seconds)

    def _turn(self) -> float:
        """Answer how many seconds the watch lasted."""
        if not self._version or self._clock.monotonic() - self._listed_at > RELIST_SPAN.total_seconds():
            self._list()
        started_at = self._clock.monotonic()
        self._watch()
        return self._clock.monotonic() - started_at

    def _list(self) -> None:
        found: dict[str, T] = {}
        unreadable: dict[str, str] = {}
        version = ""
        for page in self._pages():
            version = page.metadata.resource_version
            for raw in page.items or ():
                item = self._read(raw, unreadable)
                if item:
                    found[item.name] = item
        self._unreadable = unreadable
        # An object that hides even its name could be any of those we know: then nothing counts as gone.
        kept = [known.name for known in self._cache.all()] if "" in unreadable else unreadable
        changes = self._cache.replace(found, version=version, unreadable=kept)
        self._version, self._listed_at = version, self._clock.monotonic()
        self.synced.set()
        for change in changes:
            self._tell(self._source.kind, change)

    def _pages(self) -> Iterator[wire.Page]:
        query = {"limit": str(PAGE_SIZE)}
        for _ in range(PAGES_MAX):
            page = self._decode_page(self._api.call("GET", self._source.path, query=query))
            self._heard()
            yield page
            if self._stopping.is_set() or not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        else:
            raise ClusterUnavailableError(f"list of {self._source.path}: more than {PAGES_MAX} pages; giving up")
        if self._stopping.is_set():
            raise ClusterUnavailableError(f"list of {self._source.path}: stopped")

    def _decode_page(self, body: bytes) -> wire.Page:
        try:
            return wire.read_page(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClusterUnavailableError(f"list of {self._source.path}: this is no list: {error}") from error

    def _watch(self) -> None:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(round(self._draw(*WATCH_SECONDS))),
        }
        try:
            with self._api.stream(self._source.path, query, read_seconds=SILENCE_SECONDS) as response:
                self._response = response
                self._heard()
                if self._stopping.is_set():  # `stop` may have come too early to find the response.
                    return
                for line in self._lines(response):
                    self._take(line)
        except (ExpiredError, ObjectRefusedError):
            self._version = ""
            raise
        finally:
            self._response = None

    def _lines(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        rest = b""
        for chunk in response.stream(CHUNK_BYTES):
            if self._stopping.is_set():
                return
            self._heard()
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line for line in lines if line.strip())
            if len(rest) > LINE_BYTES_MAX:
                raise ClusterUnavailableError(
                    f"watch of {self._source.path}: a line of more than {LINE_BYTES_MAX} bytes"
                )

    def _take(self, line: bytes) -> None:
        try:
            event = wire.read_event(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ClusterUnavailableError(f"watch of {self._source.path}: this is no event: {error}") from error
        match event.type:
            case "ADDED" | "MODIFIED":
                self._changed(event.object)
            case "DELETED":
                self._deleted(event.object)
            case "BOOKMARK":
                self._advance(_peek(event.object))
            case "ERROR":
                self._refused(event.object)
            case _:
                log.warning("watch event of a kind that nobody knows", extra={"type": event.type})

    def _changed(self, raw: bytes) -> None:
        item = self._read(raw, self._unreadable)
        if item is None:
            self._advance(_peek(raw))
            return
        self._unreadable.pop(item.name, None)
        change = self._cache.apply(item)
        self._version = item.resource_version
        if change:
            self._tell(self._source.kind, change)

    def _deleted(self, raw: bytes) -> None:
        meta = _peek(raw)
        self._unreadable.pop(meta.name, None)
        change = self._cache.drop(meta.name, meta.uid)
        self._advance(meta)
        if change:
            self._tell(self._source.kind, change)

    def _refused(self, raw: bytes) -> None:
        """The watch ends with a reason; whatever it is, a list settles it."""
        self._version = ""
        status = wire.read_status(raw)
        raise ExpiredError(f"watch of {self._source.path} ended: {status.code} {status.message or 'no reason given'}")

    def _read(self, raw: bytes, unreadable: dict[str, str]) -> T | None:
        try:
            return self._source.read(raw)
        except UNREADABLE as error:
            meta = _peek(raw)
            reason = str(error)
            if self._unreadable.get(meta.name) != reason:
                fields = {"kind": self._source.kind, "object": meta.name, "error": reason}
                log.error("object cannot be read; what was known of it stays", extra=fields)  # noqa: TRY400 - no bug of ours
            unreadable[meta.name] = reason
            return None

    def _advance(self, meta: wire.Meta) -> None:
        self._version = meta.resource_version or self._version

    def _heard(self) -> None:
        self._heard_at = self._clock.monotonic()

    def _finish(self, seconds: float) -> None:
        """A watch has ended in peace; one that ended at once is as good as failed."""
        if seconds < SHORT_SECONDS:
            self._fail(None)
            return
        if self._failures:
            log.info("watch works again", extra={"kind": self._source.kind, "failures": self._failures})
        self._failures = 0

    def _fail(self, error: Exception | None) -> None:
        self._failures += 1
        fields = {"kind": self._source.kind, "error": str(error) if error else "it ended at once"}
        if error and not isinstance(error, ClusterError):
            log.error("watch met an error that nobody expected", exc_info=error, extra=fields)
        elif error and self._failures == 1 and not isinstance(error, ExpiredError):
            log.warning("watch failed; it is tried again, less and less often", extra=fields)
        span = min(BACKOFF_SECONDS * 2 ** min(self._failures - 1, 16), BACKOFF_SECONDS_MAX)
        self._clock.wait(self._stopping, timedelta(seconds=self._draw(span / 2, span)))

    def _draw(self, low: float, high: float) -> float:
        """Answer a number between the two that differs from kind to kind, namespace to namespace and time to time."""
        self._draws += 1
        share = zlib.crc32(f"{self._source.path}/{self._draws}".encode()) / 2**32
        return low + (high - low) * share


def _peek(raw: bytes) -> wire.Meta:
    try:
        return wire.read_peek(raw).metadata
    except (msgspec.DecodeError, UnicodeDecodeError):
        return wire.Meta()

"""Wrappers that number the calls at the ports, and kill the process, or lose an answer, at a chosen one.

Only calls that may change the world, or that cross a network, are numbered: a crash at a read of memory is a crash
after the call before it. A `Tap` stands for one life of the process: after its crash every call of that life raises,
so that no clean-up can do what a killed process cannot.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from inspect import ismethod
from typing import Any, cast

from engine.errors import EngineError, StoreUnavailableError
from engine.ports.cluster import Cluster, ClusterUnavailableError, MachineEvent
from engine.ports.provider import Cloud, OutcomeUnknownError, Provider, UnavailableError
from engine.ports.store import Store

STORE_CALLS = frozenset(
    {
        "admit",
        "readmit",
        "claim",
        "commit",
        "release",
        "reap",
        "hold_reservation",
        "free_reservation",
        "record_devices",
        "prune",
        "record_orphans",
    }
)
CLUSTER_CALLS = frozenset(
    {"patch_machine", "write_status", "drop_finalizer", "protect_class", "protect_secret", "delete_node", "announce"}
)
CLOUD_CALLS = frozenset({"order", "inventory", "device", "release"})
_NEVER_RAISES = frozenset({"cluster.announce"})


class SimulatedCrash(BaseException):
    """The process was killed."""


class Moment(Enum):
    """When, around a call, it goes wrong."""

    BEFORE = "before"
    """Killed before anything happened."""
    AFTER = "after"
    """Killed when it had happened, before anybody knew."""
    LOST = "lost"
    """It happened, and the answer is lost; the process lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call at a port."""

    number: int
    name: str
    """The port and the method, such as `cloud.order`."""
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def subject(self) -> str:
        """What it is about, in a word: the uid of a machine, the key of an Event, the id of a device."""
        first = self.arguments[0] if self.arguments else next(iter(self.named.values()), "")
        if isinstance(first, str):
            return first
        if isinstance(first, MachineEvent):
            return first.key
        return str(getattr(first, "uid", None) or getattr(getattr(first, "record", None), "uid", None) or first)[:80]


class Tap:
    """Numbers the calls of one life of the process."""

    def __init__(
        self,
        *,
        first: int = 1,
        mishaps: Mapping[int, Moment] | None = None,
        before: Callable[[Call], None] | None = None,
        after: Callable[[Call, str], None] | None = None,
        between: Callable[[], None] | None = None,
    ) -> None:
        """`before` and `after` see each call; `between` lets others act while the caller waits for it."""
        self.next = first
        """The number of the next call."""
        self.dead = False
        self._mishaps: Mapping[int, Moment] = {} if mishaps is None else mishaps
        self._before = before or (lambda _call: None)
        self._after = after or (lambda _call, _outcome: None)
        self._between = between

    def kill(self) -> None:
        """Let this life end: every call from now on raises."""
        self.dead = True

    def store(self, store: Store) -> Store:
        """Answer the store, with its changes numbered."""
        return cast("Store", _Tapped(store, "store", STORE_CALLS, self))

    def cluster(self, cluster: Cluster) -> Cluster:
        """Answer the cluster, with its writes numbered."""
        return cast("Cluster", _Tapped(cluster, "cluster", CLUSTER_CALLS, self))

    def provider(self, provider: Provider) -> Provider:
        """Answer the provider; the calls of its clouds are numbered."""
        return cast("Provider", _TappedProvider(provider, self))

    def call(self, name: str, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Make the call, unless the process is dead or dies here."""
        self._wait(name)
        call = Call(number=self.next, name=name, arguments=arguments, named=named)
        self.next += 1
        moment = self._mishaps.get(call.number)
        if moment is Moment.BEFORE:
            self._die(call, "killed before")
        self._before(call)
        answer, outcome = self._made(call, act)
        if moment is Moment.AFTER:
            self._die(call, f"{outcome}, killed after")
        if moment is Moment.LOST and name not in _NEVER_RAISES:
            self._after(call, f"{outcome}, lost")
            raise _loss(name)
        self._after(call, outcome)
        self._wait(name)
        if isinstance(answer, EngineError):
            raise answer
        return answer

    def _wait(self, name: str) -> None:
        if self._between and not self.dead:
            self._between()
        if self.dead:
            raise SimulatedCrash(name)

    def _made(self, call: Call, act: Callable[..., Any]) -> tuple[Any, str]:
        try:
            return act(*call.arguments, **call.named), "done"
        except EngineError as error:
            return error, type(error).__name__

    def _die(self, call: Call, how: str) -> None:
        self._after(call, how)
        self.kill()
        raise SimulatedCrash(call.name)


class _Tapped:
    """Anything with methods, some of which are numbered."""

    def __init__(self, inside: object, port: str, numbered: frozenset[str], tap: Tap) -> None:
        self._inside = inside
        self._port = port
        self._numbered = numbered
        self._tap = tap

    def __getattr__(self, name: str) -> Any:
        """Answer what is inside; its own methods are asked for once, and values every time."""
        member = getattr(self._inside, name)
        known = ismethod(member) and member.__self__ is self._inside
        if name in self._numbered:
            member = partial(self._tap.call, f"{self._port}.{name}", member)
        if known:
            self.__dict__[name] = member
        return member


class _TappedProvider(_Tapped):
    def __init__(self, provider: Provider, tap: Tap) -> None:
        super().__init__(provider, "provider", frozenset(), tap)
        self._provider = provider

    def bind(self, **named: Any) -> Cloud:
        return self._tapped(self._provider.bind(**named))

    def bind_for_release(self, **named: Any) -> Cloud:
        return self._tapped(self._provider.bind_for_release(**named))

    def _tapped(self, cloud: Cloud) -> Cloud:
        return cast("Cloud", _Tapped(cloud, "cloud", CLOUD_CALLS, self._tap))


def _loss(name: str) -> EngineError:
    if name == "cloud.order":
        return OutcomeUnknownError("the answer to the order was lost")
    if name.startswith("cloud."):
        return UnavailableError("the answer was lost")
    if name.startswith("cluster."):
        return ClusterUnavailableError("the answer was lost")
    return StoreUnavailableError("the answer was lost")

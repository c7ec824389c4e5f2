"""What `machine-engine doctor` looks at: settings, database, clusters, permissions, classes. It changes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial

from engine.app import cluster_options
from engine.clock import SystemClock
from engine.cluster.checks import check_start, missing_permissions
from engine.cluster.connect import ApiServers, connect
from engine.config import Settings
from engine.errors import EngineError, StoreUnfitError
from engine.store.opening import check

_WARNING = "warning: "  # begins a line about the database that is worth knowing and stops nothing


class Verdict(Enum):
    """What a finding comes to."""

    FINE = "ok"
    WARNING = "warn"
    """Worth knowing; the controller works."""
    FAULT = "FAIL"
    """To be mended before the controller can work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    text: str


def diagnose(settings: Settings) -> list[Finding]:
    """Answer everything that was looked at; a fault does not keep the rest from being looked at."""
    findings = list(_looked("database", partial(_database, settings)))
    try:
        servers = connect(cluster_options(settings), clock=SystemClock())
    except EngineError as fault:
        return [*findings, Finding(subject="clusters", verdict=Verdict.FAULT, text=str(fault))]
    findings += _looked("clusters", partial(_clusters, servers))
    findings += _looked("permissions", partial(_permissions, servers, settings))
    servers.close()
    return findings


def _looked(subject: str, look: Callable[[], list[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except EngineError as fault:
        yield Finding(subject=subject, verdict=Verdict.FAULT, text=str(fault))


def _database(settings: Settings) -> list[Finding]:
    try:
        lines = check(settings.database)
    except StoreUnfitError as unfit:
        return [Finding(subject="database", verdict=Verdict.FAULT, text=str(unfit))]
    return [
        Finding(
            subject="database",
            verdict=Verdict.WARNING if line.startswith(_WARNING) else Verdict.FINE,
            text=line.removeprefix(_WARNING),
        )
        for line in lines
    ]


def _clusters(servers: ApiServers) -> list[Finding]:
    check_start(servers)
    target = "is there" if servers.target else "is not wanted"
    return [
        Finding(subject="clusters", verdict=Verdict.FINE, text=f"the Machine API answers; a target cluster {target}")
    ]


def _permissions(servers: ApiServers, settings: Settings) -> list[Finding]:
    missing = missing_permissions(servers, namespace=settings.namespace)
    if not missing:
        return [
            Finding(subject="permissions", verdict=Verdict.FINE, text="everything that the controller does is allowed")
        ]
    return [Finding(subject="permissions", verdict=Verdict.FAULT, text=text) for text in missing]

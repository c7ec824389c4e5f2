"""The numbers that decisions depend on; handed down as values from the settings."""

from dataclasses import dataclass
from datetime import timedelta

from engine.domain.retry import Backoff

_BACKOFF = Backoff(first=timedelta(seconds=2), longest=timedelta(minutes=3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long things may take, and how long to wait between attempts."""

    creation_timeout: timedelta = timedelta(minutes=20)
    """From the Machine's creation to its Node; the Machine may override it."""
    visibility_window: timedelta = timedelta(minutes=2)
    """How long a new device may be missing from the cloud's list; nothing is bought again before it is over."""
    capacity_retry: timedelta = timedelta(minutes=10)
    """How long to wait when the cloud has no such hardware."""
    reservation_cooldown: timedelta = timedelta(minutes=5)
    """How long a reservation is wiped after its device went; about 4 minutes were seen."""
    release_repeat: timedelta = timedelta(minutes=5)
    """A device that is still held this long after its return was accepted is asked for again."""
    vanished_after: timedelta = timedelta(minutes=2)
    """How long complete lists must miss a device, and a look at it be denied, before we believe that it is gone."""
    object_lost_after: timedelta = timedelta(minutes=5)
    """How long a Machine object must be missing from complete lists before we believe it."""
    objects_lost_after: timedelta = timedelta(hours=1)
    """The same while not a single Machine is shown: such an answer is more often wrong than true."""
    object_restored_after: timedelta = timedelta(minutes=5)
    """How long the object of a life that is over must be shown before we believe it; watches lag less than that."""
    backoff: Backoff = _BACKOFF
    """Between failed attempts."""
    busy_retry: timedelta = timedelta(seconds=10)
    """Between attempts to return a device that is still being installed."""
    claim_span: timedelta = timedelta(seconds=90)
    """How long a claim lasts without a commit: three times the deadline of the longest cloud call."""

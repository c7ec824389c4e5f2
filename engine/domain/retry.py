"""How long to wait before the next attempt: exponential, bounded, with jitter that a seed need not provide."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

_EXPONENT_MAX = 16  # beyond this the bound has long been reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """A schedule: the first wait, its bound, and the factor between."""

    first: timedelta
    longest: timedelta
    factor: float = 2.0

    def wait(self, *, key: str, attempt: int) -> timedelta:
        """Answer the wait before attempt number `attempt` + 1; attempts count from 1.

        The jitter (75 % to 125 %) is a hash of the key and the attempt: machines that failed together do not return
        together, and the same machine waits equally long in every replay.
        """
        plain = self.first * self.factor ** min(max(attempt - 1, 0), _EXPONENT_MAX)
        digest = hashlib.blake2b(f"{key}/{attempt}".encode(), digest_size=4).digest()
        jitter = 0.75 + 0.5 * int.from_bytes(digest) / 0xFFFFFFFF
        return min(plain, self.longest) * jitter

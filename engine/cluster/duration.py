"""Go's spelling of durations, as Kubernetes objects carry them: `20m0s`, `1.5h`, `300ms`, `-2µs`, `0`."""

import re
from datetime import timedelta

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # the micro sign
    "μs": 1_000,  # the Greek letter; Go takes both
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS_MAX = 2**63 - 1  # Go keeps a duration in an int64, some 292 years
_LENGTH_MAX = 100  # no honest duration is longer; keeps a hostile one from costing time


def parse_duration(text: str) -> timedelta:
    """Answer the span that Go's `time.ParseDuration` would read, cut to whole microseconds.

    Raises ValueError for everything that Go refuses.
    """
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return timedelta(0)
    if not rest or len(text) > _LENGTH_MAX:
        raise ValueError(f"not a duration: {text[:_LENGTH_MAX]!r}; write one such as 20m0s or 1.5h")
    span = timedelta(microseconds=_nanoseconds(rest) // 1_000)
    return -span if negative else span


def _nanoseconds(text: str) -> int:
    total, at = 0, 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None or not (part[1] or part[2]):
            raise ValueError(f"not a duration: {text!r}; write one such as 20m0s or 1.5h")
        unit, fraction = _NANOSECONDS[part[3]], part[2] or ""
        total += int(part[1] or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        at = part.end()
    if total > _NANOSECONDS_MAX:
        raise ValueError(f"not a duration: {text!r}; it is longer than 292 years")
    return total

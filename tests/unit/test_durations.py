"""Go durations, compared with exact arithmetic."""

import contextlib
from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.durations import parse_duration

UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20m0s", 1200),
        ("1.5h", 5400),
        ("300ms", 0.3),
        ("1h30m10s", 5410),
        ("-5m", -300),
        ("+5m", 300),
        ("0", 0),
        ("0s", 0),
        ("-0", 0),
        (".5s", 0.5),
        ("5.s", 5),
        ("2µs", 0.000002),
        ("2μs", 0.000002),
        ("2us", 0.000002),
        ("1500ns", 0.000001),
        ("1m1m", 120),
        ("2540400h", 9145440000),
    ],
)
def test_spellings_of_go_are_read(text: str, seconds: float) -> None:
    """Every spelling that Go takes gives the span that Go would give."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "-", "+", "20", "m", ".s", "5 m", "5m ", " 5m", "--5m", "1e3s", "5d", "1,5h", "3000000h", "٣s", "5m" * 60],
)
def test_what_go_refuses_is_refused(text: str) -> None:
    """A spelling that Go does not take is a ValueError that says what to write instead."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.text(alphabet="0123456789.+-hmsunµ ", max_size=30))
def test_any_text_is_a_span_or_a_value_error(text: str) -> None:
    """No text brings anything but a span or a ValueError."""
    with contextlib.suppress(ValueError):
        assert isinstance(parse_duration(text), timedelta)


@given(
    st.lists(
        st.tuples(st.integers(0, 999), st.text(alphabet="0123456789", max_size=4), st.sampled_from(sorted(UNITS))),
        min_size=1,
        max_size=4,
    ),
    st.booleans(),
)
def test_parts_add_up(parts: list[tuple[int, str, str]], negative: bool) -> None:  # noqa: FBT001 - hypothesis hands it in
    """Whole parts, fractions and units add up as exact arithmetic says, cut to microseconds."""
    text = "".join(f"{whole}{'.' + fraction if fraction else ''}{unit}" for whole, fraction, unit in parts)
    exact = sum(Fraction(f"{whole}.{fraction or 0}") * UNITS[unit] for whole, fraction, unit in parts)
    span = parse_duration(f"{'-' if negative else ''}{text}")
    # Each part is cut to nanoseconds, the sum to microseconds.
    assert abs(abs(span) / timedelta(microseconds=1) - float(exact / 1000)) <= 1.01

"""The text in which other programs read our problems."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.outcome import MESSAGE_LENGTH_MAX, Code, problem


def decode(text: str) -> tuple[str, str]:
    """Code and message as the Go decoder finds them: the first two groups of brackets at depth zero."""
    groups, depth, start = [], 0, 0
    for position, letter in enumerate(text):
        if letter == "[":
            start = position + 1 if depth == 0 else start
            depth += 1
        elif letter == "]":
            depth -= 1
            if depth == 0:
                groups.append(text[start:position])
    assert depth == 0, "unbalanced brackets cannot be decoded"
    code, message = groups
    return code, message


def test_envelope_is_spelled_as_the_contract_says() -> None:
    """The envelope is the one that Gardener's regular expressions match."""
    refused = problem(Code.RESOURCE_EXHAUSTED, "no c3.small in am")
    assert refused.envelope() == "machine codes error: code = [ResourceExhausted] message = [no c3.small in am]"


@settings(deadline=None)
@given(code=st.sampled_from(Code), message=st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_envelope_of_any_message_is_decoded(code: Code, message: str) -> None:
    """Whatever brackets a cloud's message holds, the Go decoder finds our code, and the message with round ones."""
    round_ones = message.replace("[", "(").replace("]", ")")
    assert decode(problem(code, message).envelope()) == (code.value, round_ones)


@pytest.mark.parametrize("length", [0, 1, MESSAGE_LENGTH_MAX - 1, MESSAGE_LENGTH_MAX])
def test_message_within_the_limit_stays_whole(length: int) -> None:
    """A message that fits is not touched."""
    assert problem(Code.UNKNOWN, "x" * length).message == "x" * length


def test_message_beyond_the_limit_is_cut_and_says_so() -> None:
    """A message that does not fit ends in an ellipsis at exactly the limit."""
    cut = problem(Code.UNKNOWN, "x" * (MESSAGE_LENGTH_MAX + 1)).message
    assert len(cut) == MESSAGE_LENGTH_MAX
    assert cut.endswith("x…")

"""When two bodies ask for the same."""

from typing import Any

import msgspec
import pytest

from processors.dedupe.fingerprint import BYTES, fingerprint_of, is_deterministic
from topics.bodies import CHAT, COMPLETIONS, decode_body


def a_chat(**fields: Any) -> Any:
    return decode_body(CHAT, msgspec.json.encode({"messages": [{"role": "user", "content": "Hi"}], **fields}))


def _fingerprint(body: Any) -> bytes:
    return fingerprint_of(body, is_shared=is_deterministic(body))


@pytest.mark.parametrize(
    "other",
    [
        {"stream": True},
        {"user": "alice"},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"top_p": None},
        {"presence_penalty": 0},
        {"nobody_knows_this": 1},
    ],
)
@pytest.mark.parametrize("temperature", [0, 1])
def test_what_the_answer_does_not_depend_on_makes_no_difference(other: dict[str, Any], temperature: int) -> None:
    plain = _fingerprint(a_chat(temperature=temperature))
    assert _fingerprint(a_chat(temperature=temperature, **other)) == plain
    assert len(plain) == BYTES


@pytest.mark.parametrize("other", [{"max_tokens": 5}, {"seed": 1}, {"stop": "x"}, {"temperature": 1}, {"top_k": 4}])
def test_what_the_answer_depends_on_makes_one(other: dict[str, Any]) -> None:
    assert _fingerprint(a_chat(**{"temperature": 0, **other})) != _fingerprint(a_chat(temperature=0))


def test_the_order_of_fields_makes_no_difference_and_the_endpoint_does() -> None:
    one = decode_body(COMPLETIONS, b'{"prompt":"Hi","temperature":0,"max_tokens":4}')
    same = decode_body(COMPLETIONS, b'{ "max_tokens": 4, "temperature": 0.0, "prompt": "Hi" }')
    assert _fingerprint(one) == _fingerprint(same)
    assert _fingerprint(one) != _fingerprint(a_chat(temperature=0, max_tokens=4))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"temperature": 0}, True),
        ({"seed": 7, "temperature": 1}, True),
        ({"temperature": 0, "n": 2}, False),
        ({"temperature": 0.1}, False),
        ({}, False),
    ],
)
def test_greedy_or_seeded_with_one_choice_is_deterministic(fields: dict[str, Any], expected: bool) -> None:
    assert is_deterministic(a_chat(**fields)) is expected

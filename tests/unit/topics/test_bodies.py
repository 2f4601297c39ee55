"""OpenAI bodies, validated."""

import json
from typing import Any

import pytest

from topics.bodies import CHAT, COMPLETIONS, Body, ChatBody, CompletionBody, Endpoint, decode_body, endpoint_of
from topics.errors import InvalidRequest, UnknownEndpoint

HELLO = [{"role": "user", "content": "Hello"}]


def _chat(**fields: Any) -> Body:
    return decode_body(CHAT, json.dumps({"messages": HELLO, **fields}).encode())


def _completion(**fields: Any) -> Body:
    return decode_body(COMPLETIONS, json.dumps({"prompt": "Hello", **fields}).encode())


@pytest.mark.parametrize(
    ("body", "endpoint"),
    [({"messages": HELLO}, CHAT), ({"prompt": "x"}, COMPLETIONS), ({"prompt": [1, 2]}, COMPLETIONS)],
)
def test_the_endpoint_follows_from_the_keys(body: dict[str, Any], endpoint: Endpoint) -> None:
    assert endpoint_of(json.dumps(body).encode()) == endpoint


def test_a_body_without_a_telling_key_has_no_endpoint() -> None:
    with pytest.raises(UnknownEndpoint, match="'messages' nor 'prompt'"):
        endpoint_of(b'{"input": "x"}')


@pytest.mark.parametrize("body", [b"[]", b"3", b"{", b'"x"'])
def test_a_body_that_is_no_object_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a JSON object"):
        endpoint_of(body)


def test_defaults_are_those_of_openai() -> None:
    body = _chat()
    assert isinstance(body, ChatBody)
    assert (body.n, body.stream, body.temperature, body.token_limit, body.stops) == (1, False, None, None, [])


def test_fields_that_nobody_knows_are_ignored() -> None:
    assert _chat(store=True, metadata={"a": "b"}) == _chat()


def test_the_newer_name_of_the_token_limit_wins() -> None:
    assert _chat(max_tokens=5, max_completion_tokens=7).token_limit == 7
    assert _chat(max_tokens=5).token_limit == 5


@pytest.mark.parametrize(("stop", "stops"), [(None, []), ("x", ["x"]), (["a", "b"], ["a", "b"])])
def test_stops_are_a_list(stop: object, stops: list[str]) -> None:
    assert _completion(stop=stop).stops == stops


def test_prompt_characters_are_those_of_all_text() -> None:
    parts = [{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {"url": "http://x"}}]
    body = decode_body(CHAT, json.dumps({"messages": [*HELLO, {"role": "user", "content": parts}]}).encode())
    assert body.prompt_chars == len("Hello") + 3
    assert _completion(prompt=[1, 2, 3]).prompt_chars == 12
    assert isinstance(_completion(), CompletionBody) and _completion().prompt_chars == 5


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "body.temperature"),
        ({"top_p": 0}, "body.top_p"),
        ({"n": 0}, "body.n"),
        ({"max_tokens": 0}, "body.max_tokens"),
        ({"stop": ["x"] * 17}, "body.stop"),
        ({"stream": "yes"}, "body.stream"),
        ({"messages": []}, "body.messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "body.messages[0].role"),
        ({"top_logprobs": 21}, "body.top_logprobs"),
        ({"seed": 2**63}, "body.seed"),
    ],
)
def test_a_value_out_of_range_names_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _chat(**fields)
    assert caught.value.param == param


def test_a_missing_prompt_is_the_bodys_fault() -> None:
    with pytest.raises(InvalidRequest, match="prompt") as caught:
        decode_body(COMPLETIONS, b"{}")
    assert caught.value.param == "body"

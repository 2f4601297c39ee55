"""What comes out of a real engine for what goes in."""

import json
from typing import Any

import pytest

from tests.integration.vllm.client import RemoteEngine, chat, completion

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(300)]

STORY = "Tell me a story about a miller and a river."
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "adult": {"type": "boolean"}},
    "required": ["name", "adult"],
    "additionalProperties": False,
}


def test_chat_is_answered_in_english_with_usage(engine: RemoteEngine) -> None:
    answer = engine.ask(chat("What is the capital of France?", max_tokens=32))

    assert "Paris" in answer.text
    assert answer.last["finish_reason"] == "stop"
    assert answer.usage["completion_tokens"] == len(answer.tokens)
    assert answer.usage["total_tokens"] == answer.usage["prompt_tokens"] + len(answer.tokens)
    assert answer.last["gpu_ns"] > 0


def test_deltas_carry_one_token_each_and_only_the_last_an_end(engine: RemoteEngine) -> None:
    answer = engine.ask(chat(STORY, max_tokens=12))

    assert [len(output["token_ids"]) for output in answer.outputs] == [1] * 12
    assert [output["finish_reason"] for output in answer.outputs] == [None] * 11 + ["length"]
    assert [output["usage"] for output in answer.outputs[:-1]] == [None] * 11


def test_completion_goes_on_with_a_text_and_with_its_token_ids_alike(engine: RemoteEngine) -> None:
    whole = engine.ask(completion("One, two, three, four,", max_tokens=6))
    again = engine.ask(completion([5075, 28, 827, 28, 1296, 28, 1876, 28], max_tokens=6))

    assert "five" in whole.text
    assert again.usage["prompt_tokens"] == 8
    assert again.usage["completion_tokens"] == 6


def test_stop_string_ends_the_answer_and_is_not_in_it(engine: RemoteEngine) -> None:
    whole = engine.ask(completion("One, two, three, four,", max_tokens=12))
    stopped = engine.ask(completion("One, two, three, four,", max_tokens=12, stop=["seven"]))

    assert stopped.text == whole.text.partition("seven")[0]
    assert stopped.last["finish_reason"] == "stop"


def test_chat_logprobs_have_openais_shape(engine: RemoteEngine) -> None:
    answer = engine.ask(chat("What is the capital of France?", max_tokens=5, logprobs=True, top_logprobs=3))

    positions = [position for output in answer.outputs for position in output["logprobs"]["content"]]
    assert len(positions) == len(answer.tokens)
    assert "".join(position["token"] for position in positions) == answer.text
    assert all(len(position["top_logprobs"]) == 3 for position in positions)
    assert all(position["top_logprobs"][0]["token"] == position["token"] for position in positions)
    assert all(bytes(position["bytes"]).decode() == position["token"] for position in positions)


def test_completion_logprobs_have_openais_shape(engine: RemoteEngine) -> None:
    answer = engine.ask(completion("One, two, three, four,", max_tokens=5, logprobs=2))

    pieces = [output["logprobs"] for output in answer.outputs]
    tokens = [token for piece in pieces for token in piece["tokens"]]
    offsets = [offset for piece in pieces for offset in piece["text_offset"]]
    assert offsets == [len("".join(tokens[:index])) for index in range(5)]
    assert all(len(piece["top_logprobs"][0]) == 2 for piece in pieces)
    assert all(logprob <= 0 for piece in pieces for logprob in piece["token_logprobs"])


def test_a_seed_repeats_a_sampled_answer_and_another_does_not(engine: RemoteEngine) -> None:
    bodies = [chat(STORY, max_tokens=24, seed=seed) | {"temperature": 1.0} for seed in (7, 7, 8)]

    first, again, other = [engine.ask(body).tokens for body in bodies]

    assert first == again
    assert first != other


def test_json_schema_is_fulfilled(engine: RemoteEngine) -> None:
    response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    answer = engine.ask(chat("Describe a person.", max_tokens=48, response_format=response_format))

    person = json.loads(answer.text)
    assert set(person) == {"name", "adult"}
    assert isinstance(person["adult"], bool)


def test_json_object_opens_with_a_brace(engine: RemoteEngine) -> None:
    answer = engine.ask(chat("Describe a person.", max_tokens=8, response_format={"type": "json_object"}))

    assert answer.text.startswith("{")


def test_min_tokens_and_ignore_eos_go_beyond_the_models_end(engine: RemoteEngine) -> None:
    question = "What is the capital of France?"
    at_least = engine.ask(chat(question, max_tokens=40, min_tokens=20))
    all_of_it = engine.ask(chat(question, max_tokens=20, ignore_eos=True))

    assert len(at_least.tokens) >= 20
    assert (len(all_of_it.tokens), all_of_it.last["finish_reason"]) == (20, "length")


def test_stop_token_ids_end_the_answer(engine: RemoteEngine) -> None:
    whole = engine.ask(completion("One, two, three, four,", max_tokens=4))
    stopped = engine.ask(completion("One, two, three, four,", max_tokens=4, stop_token_ids=[whole.tokens[2]]))

    assert stopped.tokens == whole.tokens[:3]
    assert stopped.last["finish_reason"] == "stop"


def test_logit_bias_forbids_a_token(engine: RemoteEngine) -> None:
    whole = engine.ask(completion("One, two, three, four,", max_tokens=1))
    biased = engine.ask(completion("One, two, three, four,", max_tokens=1, logit_bias={str(whole.tokens[0]): -100}))

    assert biased.tokens != whole.tokens


def test_without_max_tokens_the_answer_may_fill_the_context(engine: RemoteEngine) -> None:
    prompt = [5075] * (engine.limits["max_context_tokens"] - 5)

    answer = engine.ask(completion(prompt, ignore_eos=True))

    assert len(answer.tokens) == 5
    assert answer.last["finish_reason"] == "length"


def test_a_prompt_seen_before_is_cached(engine: RemoteEngine) -> None:
    prompt = [1000 + index for index in range(300)]
    engine.ask(completion(prompt, max_tokens=1))

    answer = engine.ask(completion(prompt, max_tokens=1))

    assert 128 <= answer.usage["cached_tokens"] < 300


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (chat("Hello", max_tokens=500), "context_length_exceeded", None),
        (completion([5] * 512), "context_length_exceeded", None),
        (chat("Hello", n=2), "unsupported", "body.n"),
        (completion("Hello", echo=True), "unsupported", "body.echo"),
        (chat([{"type": "image_url", "image_url": {"url": "x"}}]), "unsupported", "body.messages.content"),  # type: ignore[arg-type]
        (completion(""), "invalid_request", "body.prompt"),
        (completion([60_000]), "invalid_request", "body.prompt"),
        (completion("Hello", logit_bias={"x": 1}), "invalid_request", "body.logit_bias"),
        (completion("Hello", logit_bias={"60000": 1}), "invalid_request", "body.logit_bias"),
        (completion("Hello", min_tokens=5, max_tokens=4), "invalid_request", "body.min_tokens"),
        (
            chat("Hi", response_format={"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}),
            "invalid_request",
            None,
        ),
    ],
)
def test_what_is_wrong_with_a_request_is_its_only_output(
    engine: RemoteEngine, body: dict[str, Any], code: str, param: str | None
) -> None:
    answer = engine.ask(body)

    assert len(answer.outputs) == 1
    assert (answer.error["code"], answer.error["param"]) == (code, param)
    assert not answer.error["retryable"]


def test_context_error_names_the_numbers(engine: RemoteEngine) -> None:
    error = engine.ask(completion([5] * 500, max_tokens=100)).error

    assert error["type"] == "ContextTooLong"
    assert all(number in error["message"] for number in ("500", "100", "600", "512"))

import pytest

from pipeline.engines.vllm.budget import Budget, budget
from pipeline.engines.vllm.params import check_supported, logprobs_asked, sampling_arguments, structure_arguments
from topics.bodies import ChatBody, CompletionBody, JsonSchema, Message, ResponseFormat
from topics.errors import ContextTooLong, InvalidRequest, Unsupported

BOUNDS = Budget(max_tokens=9, min_tokens=2)
HELLO = [Message(role="user", content="Hello")]


def test_defaults_are_openais() -> None:
    arguments = sampling_arguments(CompletionBody(prompt="x"), BOUNDS)

    assert (arguments["temperature"], arguments["top_p"], arguments["top_k"], arguments["min_p"]) == (1.0, 1.0, 0, 0.0)
    assert (arguments["repetition_penalty"], arguments["presence_penalty"]) == (1.0, 0.0)
    assert (arguments["stop"], arguments["seed"], arguments["logprobs"]) == ([], None, None)


def test_every_sampling_field_arrives() -> None:
    body = CompletionBody(
        prompt="x",
        temperature=0,
        top_p=0.5,
        top_k=-1,
        min_p=0.1,
        seed=3,
        stop="end",
        stop_token_ids=[7],
        ignore_eos=True,
        presence_penalty=0.25,
        frequency_penalty=-0.5,
        repetition_penalty=1.5,
        logit_bias={"5": 120.0, "6": -101},
        logprobs=4,
        skip_special_tokens=False,
    )

    assert sampling_arguments(body, BOUNDS) == {
        "max_tokens": 9,
        "min_tokens": 2,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 0,
        "min_p": 0.1,
        "seed": 3,
        "stop": ["end"],
        "stop_token_ids": [7],
        "ignore_eos": True,
        "presence_penalty": 0.25,
        "frequency_penalty": -0.5,
        "repetition_penalty": 1.5,
        "logit_bias": {5: 100.0, 6: -100.0},
        "logprobs": 4,
        "skip_special_tokens": False,
    }


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        (ChatBody(messages=HELLO), None),
        (ChatBody(messages=HELLO, logprobs=True), 0),
        (ChatBody(messages=HELLO, logprobs=True, top_logprobs=5), 5),
        (ChatBody(messages=HELLO, top_logprobs=0), None),
        (CompletionBody(prompt="x", logprobs=0), 0),
    ],
)
def test_logprobs_are_asked_for_as_each_endpoint_does(body: ChatBody | CompletionBody, asked: int | None) -> None:
    assert logprobs_asked(body) == asked


def test_top_logprobs_without_logprobs_are_a_mistake() -> None:
    with pytest.raises(InvalidRequest, match="top_logprobs"):
        logprobs_asked(ChatBody(messages=HELLO, top_logprobs=2))


@pytest.mark.parametrize("body", [ChatBody(messages=HELLO, n=2), CompletionBody(prompt="x", echo=True)])
def test_what_the_engine_does_not_do_is_unsupported(body: ChatBody | CompletionBody) -> None:
    with pytest.raises(Unsupported):
        check_supported(body)


@pytest.mark.parametrize(
    "body", [CompletionBody(prompt="x", stop=["a", ""]), CompletionBody(prompt="x", logit_bias={"a": 1})]
)
def test_fields_that_cannot_be_are_invalid(body: CompletionBody) -> None:
    with pytest.raises(InvalidRequest):
        sampling_arguments(body, BOUNDS)


@pytest.mark.parametrize(
    ("response_format", "arguments"),
    [
        (None, None),
        (ResponseFormat(), None),
        (ResponseFormat(type="json_object"), {"json_object": True}),
        (
            ResponseFormat(type="json_schema", json_schema=JsonSchema(schema={"type": "null"})),
            {"json": {"type": "null"}},
        ),
    ],
)
def test_response_format_becomes_structure(response_format: ResponseFormat | None, arguments: object) -> None:
    assert structure_arguments(response_format) == arguments


def test_json_schema_without_a_schema_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="json_schema"):
        structure_arguments(ResponseFormat(type="json_schema"))


def test_answer_may_fill_the_context_and_not_more() -> None:
    assert budget(prompt_tokens=10, context_tokens=16, max_tokens=None, min_tokens=0).max_tokens == 6
    assert budget(prompt_tokens=10, context_tokens=16, max_tokens=6, min_tokens=6) == Budget(max_tokens=6, min_tokens=6)


@pytest.mark.parametrize(("prompt_tokens", "max_tokens"), [(10, 7), (16, 1), (16, None), (40, None)])
def test_what_does_not_fit_names_the_numbers(prompt_tokens: int, max_tokens: int | None) -> None:
    with pytest.raises(ContextTooLong, match=rf"prompt has {prompt_tokens} tokens.* accepts 16"):
        budget(prompt_tokens=prompt_tokens, context_tokens=16, max_tokens=max_tokens, min_tokens=0)


@pytest.mark.parametrize(("prompt_tokens", "min_tokens"), [(0, 0), (10, 7)])
def test_empty_prompts_and_impossible_minima_are_invalid(prompt_tokens: int, min_tokens: int) -> None:
    with pytest.raises(InvalidRequest):
        budget(prompt_tokens=prompt_tokens, context_tokens=16, max_tokens=None, min_tokens=min_tokens)

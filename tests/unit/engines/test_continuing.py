import pytest

from pipeline.engines.continuing import why_not_continued
from topics.bodies import Body, ChatBody, CompletionBody, Message, ResponseFormat

HELLO = [Message(role="user", content="Hello")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (CompletionBody(prompt="x"), None),
        (CompletionBody(prompt="x", response_format=ResponseFormat()), None),
        (CompletionBody(prompt="x", repetition_penalty=1.5), None),
        (CompletionBody(prompt="x", seed=1, temperature=0), None),
        (CompletionBody(prompt="x", seed=1), "seed"),
        (CompletionBody(prompt="x", presence_penalty=1), "presence_penalty"),
        (CompletionBody(prompt="x", frequency_penalty=1), "frequency_penalty"),
        (CompletionBody(prompt="x", response_format=ResponseFormat(type="json_object")), "response_format"),
        (CompletionBody(prompt="x", n=2, stream=True), "n"),
        (CompletionBody(prompt="x", logprobs=0), "logprobs"),
        (CompletionBody(prompt="x", logprobs=0, stream=True), None),
        (ChatBody(messages=HELLO, logprobs=True), "logprobs"),
        (ChatBody(messages=HELLO, logprobs=True, stream=True), None),
        (ChatBody(messages=HELLO), None),
    ],
)
def test_state_that_is_lost_forbids_going_on(body: Body, field: str | None) -> None:
    assert why_not_continued(body) == field

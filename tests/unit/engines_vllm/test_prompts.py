from typing import Any

import pytest

from pipeline.engines.vllm.prompts import Prompts, template_message
from topics.bodies import ChatBody, CompletionBody, Message
from topics.errors import InvalidRequest, Unsupported


class TemplateRefusal(Exception):
    pass


class LetterTokenizer:
    """One token a letter; a text with special tokens begins with 1."""

    def __init__(self, chat_template: str | None = "a template") -> None:
        self.chat_template = chat_template

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [1] * add_special_tokens + [ord(letter) for letter in text]

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> str:
        if conversation[0]["role"] == "tool":
            raise TemplateRefusal("a chat cannot begin with a tool")
        return "".join(f"{message['role'][0]}{message['content']}" for message in conversation) + "a"


def prompts(chat_template: str | None = "a template") -> Prompts:
    return Prompts(LetterTokenizer(chat_template), vocabulary=128, refusals=(TemplateRefusal,))


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_chat_is_templated_and_gets_no_second_special_tokens() -> None:
    body = ChatBody(messages=[Message(role="system", content="S"), Message(role="user", content="U")])

    assert prompts().token_ids(body) == letters("sSuUa")


def test_text_gets_special_tokens_and_token_ids_stay() -> None:
    assert prompts().token_ids(CompletionBody(prompt="hi")) == [1, *letters("hi")]
    assert prompts().token_ids(CompletionBody(prompt=[5, 127])) == [5, 127]


@pytest.mark.parametrize("token", [-1, 128])
def test_foreign_token_ids_are_invalid(token: int) -> None:
    with pytest.raises(InvalidRequest, match=f"token id {token}; the model's ids are 0 to 127"):
        prompts().token_ids(CompletionBody(prompt=[5, token]))


def test_chat_needs_a_template() -> None:
    with pytest.raises(Unsupported, match="/v1/completions"):
        prompts(chat_template=None).token_ids(ChatBody(messages=[Message(role="user", content="U")]))


def test_what_the_template_refuses_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="cannot begin with a tool"):
        prompts().token_ids(ChatBody(messages=[Message(role="tool", content="T")]))


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, {"type": "refusal", "refusal": "c"}]

    assert template_message(Message(role="user", content=parts)) == {"role": "user", "content": "a\nb\nc"}


def test_other_parts_are_unsupported() -> None:
    with pytest.raises(Unsupported, match="image_url"):
        template_message(Message(role="user", content=[{"type": "image_url", "image_url": {}}]))


def test_text_part_without_text_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="no text"):
        template_message(Message(role="user", content=[{"type": "text"}]))


def test_developer_is_the_system_and_missing_content_is_empty() -> None:
    assert template_message(Message(role="developer")) == {"role": "system", "content": ""}


def test_arguments_of_tool_calls_become_objects() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    message = template_message(Message(role="assistant", tool_calls=[call], name="bot"))

    assert message["tool_calls"] == [{**call, "function": {"name": "f", "arguments": {"x": 1}}}]
    assert message["name"] == "bot"


def test_arguments_that_are_no_json_are_invalid() -> None:
    call = {"function": {"name": "f", "arguments": "{"}}

    with pytest.raises(InvalidRequest, match="no JSON"):
        template_message(Message(role="assistant", tool_calls=[call]))

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from pipeline.engines.vllm.continuation import replay


class Letters:
    """A detokenizer of one letter a token that stops at "end"."""

    def __init__(self) -> None:
        self.text = ""
        self.told = 0

    def update(self, new_token_ids: list[int], stop_terminated: bool) -> str | None:
        self.text += "".join(map(chr, new_token_ids[:-1] if stop_terminated else new_token_ids))
        return "end" if "end" in self.text else None

    def get_next_output_text(self, finished: bool, delta: bool) -> str:
        text, self.told = self.text[self.told :], len(self.text)
        return text


@dataclass
class Params:
    max_tokens: int = 10
    min_tokens: int = 0
    stop_token_ids: list[int] = field(default_factory=list)
    eos_token_id: int | None = None


def letters(text: str) -> Sequence[int]:
    return [ord(letter) for letter in text]


@pytest.mark.parametrize(
    ("text", "params", "reason"),
    [
        ("abc", Params(), None),
        ("an end", Params(), "stop"),
        ("abc", Params(max_tokens=3), "length"),
        ("abc", Params(eos_token_id=ord("c")), "stop"),
        ("abc", Params(eos_token_id=ord("b")), None),
        ("abc", Params(stop_token_ids=[ord("c")]), "stop"),
        ("abc", Params(stop_token_ids=[ord("c")], min_tokens=4), None),
        ("abc", Params(stop_token_ids=[ord("c")], min_tokens=3), "stop"),
    ],
)
def test_replay_knows_whether_the_answer_was_complete(text: str, params: Params, reason: str | None) -> None:
    assert replay(Letters(), letters(text), params).complete == reason


@pytest.mark.parametrize(
    ("text", "params", "said"),
    [
        ("abc", Params(), "abc"),
        ("abc", Params(max_tokens=3), "abc"),
        ("abc", Params(eos_token_id=ord("c")), "ab"),
        ("abc", Params(eos_token_id=ord("b")), "abc"),
    ],
)
def test_replay_says_what_was_said_before(text: str, params: Params, said: str) -> None:
    assert replay(Letters(), letters(text), params).text == said


def test_replay_leaves_nothing_to_be_told_twice() -> None:
    detokenizer = Letters()

    replay(detokenizer, letters("abc"), Params())
    detokenizer.update([ord("d")], False)

    assert detokenizer.get_next_output_text(False, True) == "d"

from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.engines.vllm.logprobs import LogprobsShape
from pipeline.engines.vllm.outputs import cancelled, completed, output_of
from tests.unit.engines_vllm.builders import a_sequence
from topics.bodies import CHAT, COMPLETIONS
from topics.errors import Cancelled, GenerationFailed
from topics.responses import Usage


@dataclass
class Candidate:
    logprob: float
    rank: int | None
    decoded_token: str | None


@dataclass
class Piece:
    text: str = "ab"
    token_ids: list[int] = field(default_factory=lambda: [3, 4])
    logprobs: Any = None
    finish_reason: str | None = None


@dataclass
class Result:
    outputs: list[Piece]
    num_cached_tokens: int | None = None


def test_a_step_is_counted_and_carries_no_usage() -> None:
    sequence = a_sequence(produced=1)

    output = output_of(sequence, Result([Piece()]))

    assert (output.text, output.token_ids, output.usage, output.is_last) == ("ab", [3, 4], None, False)
    assert sequence.produced == 3


def test_usage_counts_the_whole_answer_and_caches_of_the_prompt_only() -> None:
    sequence = a_sequence(prompt_tokens=10, produced=1, continued=(7, 8, 9))

    output = output_of(sequence, Result([Piece(finish_reason="length")], num_cached_tokens=12))

    assert output.finish_reason == "length"
    assert output.usage == Usage(prompt_tokens=10, completion_tokens=6, total_tokens=16, cached_tokens=10)


@pytest.mark.parametrize("reason", ["error", "abort", "repetition"])
def test_other_ends_are_failures_of_this_request(reason: str) -> None:
    output = output_of(a_sequence(), Result([Piece(finish_reason=reason)]))

    assert output.finish_reason is None
    assert isinstance(output.error, GenerationFailed)
    assert output.usage is not None


def test_cancelled_tells_usage_and_share() -> None:
    sequence = a_sequence(produced=2)
    sequence.gpu_ns = 77

    output = cancelled(sequence)

    assert isinstance(output.error, Cancelled)
    assert (output.gpu_ns, output.usage and output.usage.completion_tokens) == (77, 2)


def test_complete_answer_ends_without_tokens() -> None:
    output = completed(a_sequence(continued=(1, 2)), "stop")

    assert (output.finish_reason, output.token_ids, output.text) == ("stop", [], "")
    assert output.usage is not None
    assert output.usage.completion_tokens == 2


def test_repeated_text_comes_with_the_first_output_alone() -> None:
    sequence = a_sequence(continued=(1, 2))
    sequence.repeated = "said before"

    first = output_of(sequence, Result([Piece(text=" and after")]))
    second = output_of(sequence, Result([Piece(text=" that")]))

    assert (first.text, second.text) == ("said before and after", " that")


def test_repeated_text_comes_with_the_end_of_a_complete_answer() -> None:
    sequence = a_sequence(continued=(1, 2))
    sequence.repeated = "said before"

    assert completed(sequence, "stop").text == "said before"


def test_chat_lists_the_likeliest_and_the_bytes_of_each() -> None:
    position = {9: Candidate(-2.0, 3, "é"), 1: Candidate(-0.5, 1, "a"), 2: Candidate(float("-inf"), 2, None)}

    shaped = LogprobsShape(CHAT, alternatives=2).piece([position])

    assert shaped == {
        "content": [
            {
                "token": "é",
                "logprob": -2.0,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "a", "logprob": -0.5, "bytes": [97]},
                    {"token": "", "logprob": -9999.0, "bytes": []},
                ],
            }
        ]
    }


def test_completions_count_characters_over_pieces_and_list_the_chosen_too() -> None:
    shape = LogprobsShape(COMPLETIONS, alternatives=1, text_offset=5)
    position = {9: Candidate(-2.0, 3, "xyz"), 1: Candidate(-0.5, 1, "a")}

    pieces = [shape.piece([position]), shape.piece([position])]

    assert pieces[0]["top_logprobs"] == [{"a": -0.5, "xyz": -2.0}]
    assert (pieces[0]["tokens"], pieces[0]["token_logprobs"]) == (["xyz"], [-2.0])
    assert [piece["text_offset"] for piece in pieces] == [[5], [8]]

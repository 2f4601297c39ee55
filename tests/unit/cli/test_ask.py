import argparse
from typing import Any

from pipeline.cli.ask import request_of, usage_line
from pipeline.client import Result
from topics.responses import Usage


def a_result(**fields: Any) -> Result:
    defaults: dict[str, Any] = {
        "id": "q1",
        "origin": "o",
        "text": "Paris",
        "token_ids": [1, 2, 3],
        "finish_reason": "stop",
        "usage": Usage(prompt_tokens=8, completion_tokens=3, total_tokens=11),
        "timing_ms": {},
        "deployment": "tiny@v1",
        "body": None,
        "restarts": 0,
    }
    return Result(**{**defaults, **fields})


def arguments(**fields: Any) -> argparse.Namespace:
    defaults = {"system": None, "latency_class": "bulk", "max_tokens": 9, "temperature": None}
    return argparse.Namespace(**{**defaults, **fields})


def test_a_question_is_one_user_message() -> None:
    assert request_of(arguments(), "tiny", "Why?") == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Why?"}],
        "latency_class": "bulk",
        "max_tokens": 9,
    }


def test_a_system_message_goes_first_and_a_temperature_of_zero_is_one() -> None:
    request = request_of(arguments(system="Be brief.", temperature=0.0), "tiny", "Why?")

    assert [message["role"] for message in request["messages"]] == ["system", "user"]
    assert request["temperature"] == 0.0


def test_the_usage_line_tells_tokens_times_and_who_answered() -> None:
    line = usage_line(a_result(), first_s=0.2, total_s=0.7)

    assert line == "8 tokens in, 3 out · first after 200 ms · all after 700 ms · 4.0 tokens/s · stop · tiny@v1 · q1"


def test_the_usage_line_leaves_out_what_is_not_known() -> None:
    assert usage_line(a_result(usage=None, deployment=None), first_s=None, total_s=2) == "all after 2.0 s · stop · q1"

from pathlib import Path

import msgspec
import pytest

from pipeline.jobs.results import ResultLine, answered, cut_torn_line, encode_line, failed, settled_ids
from tests.unit.cli.test_ask import a_result
from topics.errors import DeadlineExceeded, InvalidRequest, QueueFull

BODY = {"object": "chat.completion", "usage": {"completion_tokens": 7}}


def lines_of(*results: ResultLine) -> list[bytes]:
    return [encode_line(result) for result in results]


def test_an_answer_has_the_shape_of_an_openai_batch_output() -> None:
    line = msgspec.json.decode(encode_line(answered("a", a_result(origin="t/0/1", body=BODY))))

    assert line == {
        "id": "t/0/1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "a", "body": BODY},
        "error": None,
    }


def test_an_error_stands_in_the_place_of_a_response() -> None:
    line = msgspec.json.decode(encode_line(failed("a", QueueFull("lane is full"), origin="t/0/1")))

    assert line["response"] is None
    assert line["error"] == {"code": "queue_full", "message": "lane is full", "retryable": True}


def test_tokens_of_an_answer_are_those_of_its_usage() -> None:
    assert answered("a", a_result(body=BODY)).completion_tokens == 7
    assert answered("a", a_result(body={})).completion_tokens == 0
    assert failed("a", QueueFull("full")).completion_tokens == 0


def test_lines_with_a_result_are_settled_whatever_it_is() -> None:
    lines = lines_of(answered("a", a_result(body=BODY)), failed("b", QueueFull("full")))

    assert settled_ids(lines, name="out", retry=False) == {"a", "b"}


def test_a_retry_runs_errors_again_that_it_can_help() -> None:
    lines = lines_of(failed("a", QueueFull("full")), failed("b", InvalidRequest("bad")))

    assert settled_ids(lines, name="out", retry=True) == {"b"}


def test_the_last_line_of_an_id_counts() -> None:
    lines = lines_of(failed("a", DeadlineExceeded("late")), answered("a", a_result(body=BODY)))

    assert settled_ids(lines, name="out", retry=True) == {"a"}


def test_a_file_of_something_else_is_not_taken_for_results() -> None:
    with pytest.raises(InvalidRequest, match=r"out:1 is no line of results"):
        settled_ids([b'{"prompt": "x"}'], name="out", retry=False)


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b"one\n", b"one\n"),
        (b"one\ntwo\nthr", b"one\ntwo\n"),
        (b"on", b""),
        (b"one\n" + b"x" * 200_000, b"one\n"),
        (b"x" * 200_000, b""),
    ],
)
def test_a_line_that_was_not_finished_is_cut_off(tmp_path: Path, content: bytes, kept: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)

    was_torn = cut_torn_line(path)

    assert path.read_bytes() == kept
    assert was_torn == (content != kept)

import msgspec
import pytest

from pipeline.jobs.lines import Line, parse_lines
from topics.errors import InvalidRequest

BODY = b'{"messages": [{"role": "user", "content": "Hello"}]}'


def parse(*lines: bytes) -> list[Line]:
    return list(parse_lines(lines, name="in.jsonl"))


def test_a_line_of_an_openai_batch_file() -> None:
    (line,) = parse(b'{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": ' + BODY + b"}")

    assert (line.id, line.number) == ("a", 1)
    assert line.body == msgspec.json.decode(BODY)


def test_id_and_endpoint_are_understood_too() -> None:
    (line,) = parse(b'{"id": "b", "endpoint": "/v1/completions", "body": {"prompt": "Once"}}')

    assert (line.id, line.body) == ("b", {"prompt": "Once"})


def test_a_plain_body_gets_an_id_that_is_the_same_tomorrow() -> None:
    (first,), (second,) = parse(BODY), parse(BODY + b"\n")

    assert first.id == second.id
    assert first.id.startswith("in.jsonl-1-")


def test_equal_lines_are_different_requests() -> None:
    first, second = parse(BODY, BODY)

    assert first.id != second.id


def test_a_changed_line_gets_another_id() -> None:
    assert parse(BODY)[0].id != parse(BODY.replace(b"Hello", b"Bye"))[0].id


def test_what_the_job_decides_is_taken_out_of_the_body() -> None:
    (line,) = parse(b'{"model": "gpt", "stream": true, "stream_options": {}, "prompt": "Once", "max_tokens": 5}')

    assert line.body == {"prompt": "Once", "max_tokens": 5}


def test_empty_lines_are_passed_over_and_counted() -> None:
    assert [line.number for line in parse(b"\n", BODY, b"  \n", BODY)] == [2, 4]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "in.jsonl:1 is no JSON"),
        (b"[1]", "in.jsonl:1 is no JSON object"),
        (b'{"body": 3}', "in.jsonl:1: 'body' is no JSON object"),
        (b'{"custom_id": 3, "body": {"prompt": "x"}}', "in.jsonl:1: its id is no text"),
        (b'{"custom_id": "", "body": {"prompt": "x"}}', "in.jsonl:1: its id is no text"),
        (b'{"url": "/v1/images", "body": {"prompt": "x"}}', "in.jsonl:1: '/v1/images' is not served"),
        (b'{"url": "/v1/completions", "body": ' + BODY + b"}", "the body is one of /v1/chat/completions"),
        (b'{"prompt": "x", "max_tokens": 0}', "in.jsonl:1: body of /v1/completions"),
        (b'{"input": "x"}', "neither 'messages' nor 'prompt'"),
        (b'{"prompt": "x", "deadline_ms": 5}', "'deadline_ms' does not belong into a body"),
    ],
)
def test_what_is_no_request_is_named_with_its_line(line: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message.replace("[", r"\[").replace("(", r"\(")):
        parse(line)


def test_a_repeated_id_names_both_lines() -> None:
    same = b'{"custom_id": "a", "body": {"prompt": "x"}}'

    with pytest.raises(InvalidRequest, match=r"in.jsonl:3 has the id 'a' of line 1"):
        parse(same, BODY, same)

"""Traces as they are published."""

import gzip
from pathlib import Path

import pytest

from pipeline.simulation.traces import Arrival, read_trace
from topics.errors import InvalidRequest

PLAIN = """\
arrival_s,input_tokens,output_tokens,session_id,tenant,prefix_hashes,source
5.5,374,44,,acme,0-2 9,x
4,10,1,,,,x
"""
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.4799600,3180,8\n"
)
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,API log\n"
MOONCAKE = '{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n'


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["trace.csv", "trace.csv.gz"])
def test_requests_come_in_order_and_begin_at_zero(tmp_path: Path, name: str) -> None:
    assert read_trace(written(tmp_path, name, PLAIN)) == [
        Arrival(at_s=0.0, prompt_tokens=10, answer_tokens=1),
        Arrival(at_s=1.5, prompt_tokens=374, answer_tokens=44, tenant="acme", blocks=(0, 1, 2, 9)),
    ]


def test_azure_is_read(tmp_path: Path) -> None:
    first, second = read_trace(written(tmp_path, "azure.csv", AZURE))
    assert (first.prompt_tokens, second.answer_tokens, round(second.at_s, 6)) == (4808, 8, 0.5)


def test_burstgpt_is_read_with_its_senders(tmp_path: Path) -> None:
    (only,) = read_trace(written(tmp_path, "burst.csv", BURSTGPT))
    assert (only.prompt_tokens, only.answer_tokens, only.tenant) == (472, 18, "ChatGPT/API log")


def test_mooncake_is_read_with_its_shared_beginnings(tmp_path: Path) -> None:
    (only,) = read_trace(written(tmp_path, "mooncake.jsonl", MOONCAKE))
    assert (only.prompt_tokens, only.answer_tokens, only.blocks) == (6758, 500, (0, 1))


def test_a_file_of_another_form_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="the columns a, b; a trace has a row for each request, with: arrival_s"):
        read_trace(written(tmp_path, "other.csv", "a,b\n1,2\n"))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"line 3 is no request of a trace"):
        read_trace(written(tmp_path, "broken.csv", "arrival_s,input_tokens,output_tokens\n1,2,3\nx,2,3\n"))


def test_what_is_packed_is_unpacked_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(gzip.compress(PLAIN.encode()))
    assert len(read_trace(path)) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read the trace .*trace.csv: No such file"),
        (gzip.compress(PLAIN.encode() * 50, mtime=0)[:40], "is neither text nor whole gzip"),
        (b"\xff\xfe\x00", "is neither text nor whole gzip"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=says):
        read_trace(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="has no requests"):
        read_trace(written(tmp_path, "empty.csv", "arrival_s,input_tokens,output_tokens\n"))

"""`millrace explain` over HTTP: the story of one request out of rows as processors and workers write them."""

import time
from collections.abc import Iterator, Sequence

import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from pipeline.cli.failures import FAILED, OK
from pipeline.cli.main import main
from sinks.clickhouse.client import connect
from tests.account_server import serving

pytestmark = pytest.mark.integration

ORIGIN = "inference.requests.mill.interactive/0/7"
PRODUCED_US = (int(time.time()) - 60) * 1_000_000


class Told:
    """Writes rows for one request; times in milliseconds after it was produced."""

    def __init__(self, client: Client, request_id: str, tenant: str) -> None:
        self._client = client
        self._id = request_id
        self._tenant = tenant
        self._produced_us = PRODUCED_US

    def event(self, kind: str, after_ms: float, **fields: object) -> None:
        row: dict[str, object] = {
            "component": "processor",
            "request_id": self._id,
            "origin": ORIGIN,
            "tenant": self._tenant,
            "latency_class": "interactive",
            "model": "mill",
        }
        self._insert("events", {"kind": kind, "ts": self._at(after_ms), "log_ts": self._at(after_ms), **row, **fields})

    def ended(self, **fields: object) -> None:
        topic, partition, offset = ORIGIN.split("/")
        row: dict[str, object] = {
            "request_id": self._id,
            "lane_topic": topic,
            "lane_partition": int(partition),
            "lane_offset": int(offset),
            "final": 1,
            "tenant": self._tenant,
            "latency_class": "interactive",
            "model": "mill",
            "produced_ts": self._at(0),
            "log_ts": self._at(0),
        }
        self._insert("requests", {**row, **fields})

    def _at(self, after_ms: float) -> str:
        return f"fromUnixTimestamp64Micro({self._produced_us + round(after_ms * 1000)})"

    def _insert(self, table: str, row: dict[str, object]) -> None:
        values = [
            value if isinstance(value, str) and value.startswith("fromUnix") else repr(value) for value in row.values()
        ]
        self._client.command(f"INSERT INTO {table} ({', '.join(row)}) SELECT {', '.join(map(str, values))}")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("account"), requests=100) as address:
        yield address


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("MILLRACE_CLICKHOUSE", url)
    connected = connect(url, "default", "", "trace")
    yield connected
    connected.close()


def _sentences(said: str) -> Sequence[str]:
    (story,) = msgspec.json.decode(said)
    return [sentence["text"] for sentence in story["sentences"]]


def test_a_request_is_told_from_beginning_to_end(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(client, "order-42", "acme")
    told.event("request.admitted", 2, tokens_in=31, queue_depth=3)
    told.event("lane.deferred", 4, request_id="", origin="", queue_depth=3, reason="larger_batch", detail="{}")
    told.event(
        "request.dispatched",
        20,
        worker="w1",
        batch_id="b1",
        batch_size=2,
        reason="worker_idle",
        detail='{"service_s":0.1,"slack_s":0.5}',
    )
    told.event("attempt.started", 22, component="worker", worker="w1", attempt="k1", reason="fresh")
    told.event("request.finished", 150, component="worker", worker="w1", attempt="k1", outcome="completed")
    told.ended(
        attempt="k1",
        dispatched_us=20_000,
        started_us=22_000,
        first_us=140_000,
        last_us=140_000,
        finished_us=150_000,
        tokens_out=8,
        tokens_in=30,
        outcome="completed",
        finish_reason="stop",
    )
    Told(client, "order-43", "acme").event("request.dispatched", 20, worker="w1", batch_id="b1", batch_size=2)

    assert main(["explain", "order-42", "--json"]) == OK

    assert _sentences(capsys.readouterr().out) == [
        f"It was produced to {ORIGIN}.",
        "It was admitted with about 31 prompt tokens, number 3 in its lane.",
        "It was left waiting, because a larger batch was worth waiting for and still met every target.",
        "It was dispatched to w1, because it was idle (service 100 ms, slack 500 ms). "
        "The end of its batch was predicted 100 ms later. It went in a batch of 2: order-43.",
        "w1 began it from the beginning (attempt k1).",
        "It completed (stop) after 8 tokens, for 30 prompt tokens, 150 ms after it was produced. "
        "All of it came at once 120 ms after the dispatch, 20% later than the 100 ms that were predicted.",
    ]


def test_for_people_each_sentence_has_its_time(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(client, "refused-1", "acme")
    told.event("request.rejected", 3, outcome="rejected", error_code="rate_limited", reason="quota_concurrent")
    told.ended(outcome="rejected", error_code="rate_limited", finished_us=3000)

    assert main(["explain", "refused-1", "--tenant", "acme"]) == OK

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("refused-1  mill, interactive, tenant acme  ")
    assert lines[0].endswith("UTC  rejected")
    assert lines[1] == f"+0.0 ms  It was produced to {ORIGIN}."
    assert lines[2].startswith("+3.0 ms  It was rejected before it was queued, because its tenant had as many requests")


@pytest.mark.parametrize("line", [["nobody"], ["other-1", "--tenant", "acme"]])
def test_what_is_not_known_is_an_error_with_a_hint(
    line: list[str], client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    Told(client, "other-1", "rival").event("request.admitted", 2, queue_depth=1)

    assert main(["explain", *line]) == FAILED

    said = capsys.readouterr()
    assert said.out == ""
    assert f"knows no request '{line[0]}'" in said.err
    assert "within about three seconds" in said.err
    assert "7 days" in said.err

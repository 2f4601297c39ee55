"""What a worker's rows say of prompts and answers."""

from typing import Any

import pytest

from pipeline.engines.protocol import Output
from pipeline.worker.effects import AddRow, Send
from tests.unit.worker.builders import a_body, a_dispatch, a_usage
from tests.unit.worker.test_core import NOW_US, Bench, answers, of
from tests.unit.worker.test_resuming import completed, delta, progress, started
from topics import names
from topics.dispatches import Cancel, Dispatch
from topics.errors import Cancelled
from topics.responses import Completed, Response
from topics.texts import ANY_TENANT, NO_TEXTS, TextColumns, TextRules
from topics.trace import encode_rows
from topics.trace_rows import EventRow, RequestRow, TextRow

FULL = TextRules(tenants={"acme": "full"})
PROMPT = "user: Hello"


def a_bench(texts: TextRules, dispatch: Dispatch | None = None, *log: Response) -> Bench:
    bench = Bench(texts=texts)
    bench.take(dispatch or a_dispatch())
    if log:
        bench.read_log(*log)
    return bench


def finish(bench: Bench, *texts: str) -> None:
    """The engine says these pieces, and the broker has them."""
    *pieces, last = texts
    for token, text in enumerate(pieces):
        bench.outputs(Output(key="a1", text=text, token_ids=[token]))
    bench.outputs(Output(key="a1", text=last, token_ids=[99], finish_reason="stop", usage=a_usage()))
    bench.keep(bench.core.on_delivered(["a1"], NOW_US))


def kept(bench: Bench) -> list[TextRow]:
    return [e.row for e in of(bench.effects, AddRow) if isinstance(e.row, TextRow)]


def said_of(row: RequestRow) -> TextColumns:
    return TextColumns(row.prompt_chars, row.prompt_hash, row.answer_chars, row.answer_hash)


def told(answer: str, texts: TextRules = FULL) -> TextColumns:
    return texts.columns("acme", prompt=PROMPT, answer=answer)


@pytest.mark.parametrize("stream", [True, False])
def test_lengths_and_hashes_of_the_whole_texts_are_in_the_final_row(stream: bool) -> None:
    bench = a_bench(TextRules(), a_dispatch(body=a_body(stream=stream)))
    finish(bench, "Good ", "morn", "ing")
    (row,) = bench.rows()
    assert said_of(row) == told("Good morning", TextRules())
    assert kept(bench) == []


def test_texts_are_kept_where_the_tenant_allows_it() -> None:
    bench = a_bench(FULL)
    finish(bench, "Good ", "morning")
    (row,) = bench.rows()
    (text,) = kept(bench)
    assert said_of(row) == told("Good morning")
    assert (text.prompt, text.answer, text.tenant, text.attempt) == (PROMPT, "Good morning", "acme", "a1")
    assert (text.lane_topic, text.lane_offset, text.ts) == (row.lane_topic, row.lane_offset, row.produced_ts)


def test_nothing_is_known_where_the_tenant_does_not_want_it() -> None:
    bench = a_bench(TextRules(tenants={ANY_TENANT: "none"}))
    finish(bench, "Good ", "morning")
    (row,) = bench.rows()
    assert (said_of(row), kept(bench)) == (NO_TEXTS, [])


@pytest.mark.parametrize(
    ("stream", "before", "now"),
    [(True, delta("a", 0, 7), "y"), (False, progress("a", 0, 7), "xy")],
    ids=["pieces", "the engine repeats it"],
)
def test_a_continued_answer_is_kept_whole(stream: bool, before: Response, now: str) -> None:
    bench = a_bench(FULL, a_dispatch(hop=1, body=a_body(stream=stream)), started("a"), before)
    finish(bench, now)
    assert [text.answer for text in kept(bench)] == ["xy"]


def test_text_that_is_void_is_not_kept() -> None:
    void = (started("a"), delta("a", 0, 7), started("b", "restart"), delta("b", 0, 8))
    bench = a_bench(FULL, a_dispatch(hop=1), *void)
    finish(bench, "y")
    assert [text.answer for text in kept(bench)] == ["xy"]


def test_an_attempt_that_is_given_up_tells_no_text() -> None:
    bench = a_bench(FULL)
    bench.outputs(Output(key="a1", text="Good", token_ids=[1]))
    bench.core.on_drain()
    bench.core.on_grace_over(NOW_US)
    bench.outputs(Output(key="a1", error=Cancelled("aborted")))
    assert ([said_of(row) for row in bench.rows()], kept(bench)) == ([NO_TEXTS], [])


def test_what_is_cancelled_has_the_answer_so_far() -> None:
    bench = a_bench(FULL)
    bench.outputs(Output(key="a1", text="Good", token_ids=[1]))
    bench.take(Cancel(id="order-42", tenant="acme"))
    bench.outputs(Output(key="a1", error=Cancelled("aborted")))
    bench.keep(bench.core.on_delivered(["a1"], NOW_US))
    assert [text.answer for text in kept(bench)] == ["Good"]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(completed("a", 1), id="stream"),
        pytest.param(
            Completed(
                id="order-42",
                origin=completed("a", 1).origin,
                attempt="a",
                next_seq=1,
                finish_reason="stop",
                body={"choices": [{"message": {"content": "x"}}]},
            ),
            id="whole",
        ),
    ],
)
def test_a_row_that_is_told_again_says_the_same(end: Completed) -> None:
    before = delta("a", 0, 7) if end.body is None else progress("a", 0, 7)
    bench = a_bench(FULL, a_dispatch(hop=1), started("a", "resume", hop=1), before, end)
    assert [said_of(row) for row in bench.rows() if row.final] == [told("x")]
    assert [text.answer for text in kept(bench)] == ["x"]


def test_no_text_is_in_any_other_row_or_in_what_is_handed_on() -> None:
    secret: dict[str, Any] = {"body": a_body(content="my-secret")}
    bench = a_bench(FULL, a_dispatch(**secret))
    finish(bench, "their-secret")
    rows = [e.row for e in of(bench.effects, AddRow)]
    requests = encode_rows("requests", [row for row in rows if isinstance(row, RequestRow)])
    events = encode_rows("events", [row for row in rows if isinstance(row, EventRow)])
    assert requests and events and b"secret" not in requests + events
    assert {send.topic for send in of(bench.effects, Send)} == {names.RESPONSES}
    assert len(answers(bench.effects)) == 3

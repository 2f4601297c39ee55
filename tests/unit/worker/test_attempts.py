from pipeline.engines.protocol import Output
from pipeline.worker.attempts import Attempt
from tests.unit.worker.builders import a_body, a_dispatch, a_usage
from topics.bodies import COMPLETIONS
from topics.dispatches import Dispatch
from topics.errors import Cancelled, ContextTooLong, DeadlineExceeded, EngineDead, GenerationFailed, PipelineError
from topics.responses import Completed, Delta, Progress, outcome_of


def an_attempt(*, streams: bool = True, dispatch: Dispatch | None = None) -> Attempt:
    return Attempt(
        name="k3f9",
        dispatch=dispatch or a_dispatch(body=a_body(stream=streams)),
        streams=streams,
        mode="fresh",
        address="inference.dispatch.m.v1/0/9",
        term=4,
        now_us=1_002_000,
    )


def an_output(*token_ids: int, text: str = "x", last: bool = False) -> Output:
    usage = a_usage(completion=len(token_ids)) if last else None
    return Output(key="k3f9", text=text, token_ids=list(token_ids), finish_reason="stop" if last else None, usage=usage)


def test_seq_counts_tokens() -> None:
    attempt = an_attempt()
    first, second = (attempt.on_output(output, 1) for output in (an_output(1, 2), an_output(3)))
    assert isinstance(first, Delta)
    assert isinstance(second, Delta)
    assert (first.seq, second.seq, attempt.next_seq) == (0, 2, 3)


def test_an_output_without_anything_is_not_published() -> None:
    assert an_attempt().on_output(an_output(text=""), 1) is None


def test_text_may_come_without_tokens() -> None:
    delta = an_attempt().on_output(an_output(text="tail"), 1)
    assert isinstance(delta, Delta)
    assert (delta.text, delta.token_ids) == ("tail", [])


def test_without_streaming_tokens_are_told_every_32() -> None:
    attempt = an_attempt(streams=False)
    records = [attempt.on_output(an_output(index), 1) for index in range(40)]
    (progress,) = [record for record in records if record is not None]
    assert isinstance(progress, Progress)
    assert (progress.seq, progress.token_ids) == (0, list(range(32)))
    assert attempt.next_seq == 32


def test_the_body_of_a_chat_is_openais() -> None:
    attempt = an_attempt(streams=False)
    attempt.on_output(an_output(1, text="Hel"), 1)
    output = an_output(2, text="lo", last=True)
    attempt.on_output(output, 2)
    end = attempt.end(output, 3)
    assert isinstance(end, Completed)
    assert b'"message":{"role":"assistant","content":"Hello"}' in bytes(end.body)


def test_the_body_of_a_completion_is_openais() -> None:
    dispatch = a_dispatch(endpoint=COMPLETIONS)
    attempt = an_attempt(streams=False, dispatch=dispatch)
    output = an_output(1, text="Hello", last=True)
    attempt.on_output(output, 1)
    end = attempt.end(output, 2)
    assert isinstance(end, Completed)
    assert b'"object":"text_completion"' in bytes(end.body)
    assert b'"text":"Hello"' in bytes(end.body)


def test_logprobs_are_joined() -> None:
    attempt = an_attempt(streams=False)
    pieces = [
        Output(key="k", text="a", token_ids=[1], logprobs={"content": [{"token": "a"}]}),
        Output(key="k", text="b", token_ids=[2], logprobs={"content": [{"token": "b"}]}, finish_reason="stop"),
    ]
    for piece in pieces:
        attempt.on_output(piece, 1)
    end = attempt.end(pieces[-1], 2)
    assert isinstance(end, Completed)
    assert b'"logprobs":{"content":[{"token":"a"},{"token":"b"}]}' in bytes(end.body)


def test_times_count_from_production_and_leave_out_what_was_not_reached() -> None:
    attempt = an_attempt()
    terminal = attempt.fail(Cancelled("asked"), 1_005_000)
    assert terminal.timing_ms == {"admitted": 1.0, "started": 2.0, "finished": 5.0}


def test_the_kind_of_an_end_follows_from_the_error() -> None:
    errors: list[PipelineError] = [
        ContextTooLong("x"),
        DeadlineExceeded("x"),
        Cancelled("x"),
        GenerationFailed("x"),
        EngineDead("x"),
    ]
    kinds = [outcome_of(an_attempt().fail(error, 1)) for error in errors]
    assert kinds == ["rejected", "expired", "cancelled", "failed", "failed"]


def test_a_terminal_record_counts_what_was_published() -> None:
    attempt = an_attempt()
    attempt.on_output(an_output(1, 2, 3), 1)
    assert attempt.fail(GenerationFailed("x"), 2).next_seq == 3

"""A simulated answer cut anywhere and continued is the undisturbed answer: tokens, text, counts and end."""

from typing import NamedTuple

import msgspec
import pytest

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.simulated import SimulatedBatches, SimulatedSteps
from pipeline.settings import SimulatedDeployment
from tests.unit.worker.builders import a_body
from topics.bodies import CHAT, Body, decode_body
from topics.responses import FinishReason

COSTS = SimulatedDeployment(fixed_us=1, per_prefill_token_us=0, per_sequence_us=0, per_kv_token_us=0)


class Whole(NamedTuple):
    tokens: list[int]
    text: str
    reason: FinishReason | None
    completion_tokens: int


def a_request(body: Body, *continued: int, repeats_text: bool = False) -> EngineRequest:
    return EngineRequest(key="a", endpoint=CHAT, body=body, continued=continued, repeats_text=repeats_text)


def whole_of(outputs: list[Output]) -> Whole:
    assert [output.is_last for output in outputs] == [False] * (len(outputs) - 1) + [True]
    last = outputs[-1]
    assert last.usage is not None
    tokens = [token for output in outputs for token in output.token_ids]
    return Whole(tokens, "".join(o.text for o in outputs), last.finish_reason, last.usage.completion_tokens)


def outputs_of(request: EngineRequest) -> list[Output]:
    engine = SimulatedSteps(COSTS)
    engine.submit(request)
    outputs: list[Output] = []
    while engine.has_work:
        outputs += engine.step().outputs
    return outputs


def a_stopped_body() -> Body:
    body = decode_body(CHAT, a_body(max_tokens=24))
    text = whole_of(outputs_of(a_request(body))).text
    return msgspec.structs.replace(body, stop=[text[40:52], "never said"])


BODIES = {
    "limited": decode_body(CHAT, a_body(max_tokens=24)),
    "natural": decode_body(CHAT, a_body(max_tokens=4000, ignore_eos=False)),
    "at least": decode_body(CHAT, a_body(max_tokens=4000, ignore_eos=False, min_tokens=160)),
    "stopped": a_stopped_body(),
    "stopped by a token": decode_body(CHAT, a_body(max_tokens=400, stop_token_ids=[20], min_tokens=10)),
}


@pytest.mark.parametrize("name", BODIES)
def test_whatever_ends_it_the_rest_is_the_rest(name: str) -> None:
    body = BODIES[name]
    outputs = outputs_of(a_request(body))
    whole = whole_of(outputs)
    for cut in range(1, len(whole.tokens) + 1):
        said = "".join(output.text for output in outputs[:cut])
        rest = whole_of(outputs_of(a_request(body, *whole.tokens[:cut])))
        assert (whole.tokens[:cut] + rest.tokens, said + rest.text) == (whole.tokens, whole.text)
        assert (rest.reason, rest.completion_tokens) == (whole.reason, whole.completion_tokens)


@pytest.mark.parametrize("name", BODIES)
def test_the_text_before_the_cut_is_said_again_where_it_is_wanted(name: str) -> None:
    body = BODIES[name]
    whole = whole_of(outputs_of(a_request(body)))
    for cut in range(1, len(whole.tokens) + 1):
        rest = whole_of(outputs_of(a_request(body, *whole.tokens[:cut], repeats_text=True)))
        assert (rest.text, rest.tokens) == (whole.text, whole.tokens[cut:])


@pytest.mark.parametrize("cut", [1, 10, 24])
def test_a_batch_continues_as_well(cut: int) -> None:
    body = BODIES["limited"]
    whole = whole_of(outputs_of(a_request(body)))
    engine = SimulatedBatches(SimulatedDeployment(mode="run_to_completion"))
    engine.submit(a_request(body, *whole.tokens[:cut], repeats_text=True), now_s=0.0)
    outputs: list[Output] = []
    while (step := engine.next_step(0.0)) is not None:
        outputs += engine.finish(step)
    assert whole_of(outputs) == whole._replace(tokens=whole.tokens[cut:])
    assert engine.load().waiting == 0


def test_an_answer_that_was_complete_takes_no_step() -> None:
    body = BODIES["limited"]
    whole = whole_of(outputs_of(a_request(body)))
    engine = SimulatedSteps(COSTS)
    engine.submit(a_request(body, *whole.tokens))
    (end,) = engine.step().outputs
    assert (end.token_ids, end.text, end.finish_reason, end.gpu_ns) == ([], "", "length", 0)
    assert not engine.has_work

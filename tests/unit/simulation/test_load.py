"""The part of a trace that is played."""

import msgspec

from pipeline.simulation.load import cut_requests, measure, requests_of
from pipeline.simulation.rtc.engine import Engine
from pipeline.simulation.traces import BLOCK_TOKENS, Arrival
from tests.unit.simulation.scenarios import NIGHTLY, PREMIUM, arrivals, scenario
from topics.bodies import COMPLETIONS, decode_body
from topics.prefixes import prefix_hashes


def test_what_is_longer_than_the_context_is_cut_and_counted() -> None:
    trace = [
        Arrival(at_s=0.0, prompt_tokens=900, answer_tokens=99),
        Arrival(at_s=1.0, prompt_tokens=900, answer_tokens=200),
        Arrival(at_s=2.0, prompt_tokens=123_192, answer_tokens=200),
    ]
    small = scenario(context_tokens=1000)
    lengths = [(request.prompt_tokens, request.answer_tokens) for request in requests_of(trace, small)]
    assert lengths == [(900, 99), (900, 100), (999, 1)]
    assert cut_requests(trace, small) == 2
    assert cut_requests(trace, scenario(context_tokens=200_000)) == 0


def test_answers_that_come_whole_take_no_room_of_the_context() -> None:
    trace = [Arrival(at_s=0.0, prompt_tokens=900, answer_tokens=5000)]
    assert cut_requests(trace, scenario(engine=Engine(), context_tokens=1000)) == 0


def test_a_part_of_the_trace_is_played_faster() -> None:
    part = scenario(speed=2.0, seconds=4.0)
    trace = arrivals(10, every_s=1.0)
    assert [request.at_s for request in requests_of(trace, part)] == [0.0, 0.5, 1.0, 1.5]
    assert measure(trace, part) == (4, 1.5)


def test_classes_are_drawn_in_the_same_way_each_time() -> None:
    two = scenario(classes={"premium": PREMIUM, "nightly": NIGHTLY}, mix={"premium": 3.0, "nightly": 1.0})
    trace = arrivals(400, every_s=1.0)
    first, again = ([request.latency_class for request in requests_of(trace, two)] for _ in range(2))
    assert first == again
    assert 270 < first.count("premium") < 330


def test_names_of_a_trace_become_names_that_tenants_can_have() -> None:
    trace = [Arrival(at_s=0.0, prompt_tokens=1, answer_tokens=1, tenant=name) for name in ("GPT-4/API log", "")]
    assert [request.tenant for request in requests_of(trace, scenario())] == ["GPT-4-API-log", "default"]


def test_prompts_share_as_much_as_their_blocks_say() -> None:
    blocks = ((1, 2, 3), (1, 2, 9), (7, 2, 3))
    trace = [
        Arrival(at_s=0.0, prompt_tokens=3 * BLOCK_TOKENS + 100, answer_tokens=1, blocks=(*ids, 50 + n))
        for n, ids in enumerate(blocks)
    ]
    requests = requests_of(trace, scenario())
    assert [request.blocks for request in requests] == list(blocks), "the last block of each is not whole"
    first, second, third = (request.beginnings() for request in requests)
    shared = 2 * BLOCK_TOKENS // 128
    assert first[:shared] == second[:shared]
    assert first[shared] != second[shared]
    assert first[0] != third[0]
    told = prefix_hashes(decode_body(COMPLETIONS, msgspec.Raw(bytes(requests[0].body()))))
    assert told == first, "the worker calls them what the scheduler does"

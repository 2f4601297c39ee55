from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.simulated import SimulatedSteps
from pipeline.engines.simulated.model import Step
from pipeline.settings import SimulatedDeployment
from tests.unit.worker.builders import a_body
from topics.bodies import CHAT, decode_body
from topics.fleet import MAX_SAMPLES


def an_engine(**settings: object) -> SimulatedSteps:
    defaults: dict[str, object] = {"fixed_us": 10.0, "per_prefill_token_us": 1.0, "per_sequence_us": 2.0}
    return SimulatedSteps(SimulatedDeployment(**{**defaults, "per_kv_token_us": 0.0, **settings}))  # type: ignore[arg-type]


def a_request(
    key: str = "a", *, continued: tuple[int, ...] = (), priority: int = 0, prompt_tokens: int = 4, **body: object
) -> EngineRequest:
    raw = a_body(**{"content": "word" * prompt_tokens, **body})  # type: ignore[arg-type]
    return EngineRequest(key=key, endpoint=CHAT, body=decode_body(CHAT, raw), continued=continued, priority=priority)


def run(engine: SimulatedSteps, limit: int = 1000) -> list[Step]:
    steps: list[Step] = []
    while engine.has_work and len(steps) < limit:
        steps.append(engine.step())
    return steps


def outputs(steps: list[Step], key: str = "a") -> list[Output]:
    return [output for step in steps for output in step.outputs if output.key == key]


def answer(request: EngineRequest) -> tuple[str, list[int], str | None]:
    engine = an_engine()
    engine.submit(request)
    found = outputs(run(engine), request.key)
    return "".join(o.text for o in found), [t for o in found for t in o.token_ids], found[-1].finish_reason


def test_the_same_request_gets_the_same_answer() -> None:
    assert answer(a_request()) == answer(a_request())


def test_another_prompt_or_seed_gets_another_answer() -> None:
    answers = {answer(request)[0] for request in (a_request(), a_request(prompt_tokens=5), a_request(seed=1))}
    assert len(answers) == 3


def test_a_continued_answer_goes_on_with_the_same_words() -> None:
    text, tokens, _ = answer(a_request(max_tokens=20))
    tail, rest, reason = answer(a_request(max_tokens=20, continued=tuple(tokens[:7])))
    assert rest == tokens[7:]
    assert text.endswith(tail)
    assert reason == "length"


def test_continued_tokens_count_in_usage() -> None:
    engine = an_engine()
    engine.submit(a_request(max_tokens=5, continued=(20, 21)))
    usage = outputs(run(engine))[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 5


def test_without_a_limit_an_answer_ends_by_itself() -> None:
    _, tokens, reason = answer(a_request(ignore_eos=False, max_tokens=4000))
    assert reason == "stop"
    assert 16 <= len(tokens) < 144


def test_min_tokens_hold_the_end_back() -> None:
    _, tokens, _ = answer(a_request(ignore_eos=False, max_tokens=4000, min_tokens=500))
    assert len(tokens) == 500


def test_a_stop_string_ends_the_text_where_it_begins() -> None:
    text, _, _ = answer(a_request(max_tokens=40))
    stop = text[60:64]
    stopped, _, reason = answer(a_request(max_tokens=40, stop=[stop, "never to be found"]))
    assert stopped == text[: text.index(stop)]
    assert reason == "stop"


def test_stop_strings_that_do_not_come_leave_the_text_whole() -> None:
    assert answer(a_request(stop="never to be found"))[0] == answer(a_request())[0]


def test_a_step_costs_what_the_model_says() -> None:
    engine = an_engine()
    engine.submit(a_request("a", prompt_tokens=4))
    engine.submit(a_request("b", prompt_tokens=4))
    first, second = engine.step(), engine.step()
    assert (first.cost_ns, second.cost_ns) == (10_000 + 8_000 + 4_000, 10_000 + 4_000)


def test_every_nanosecond_is_somebodys() -> None:
    engine = an_engine(fixed_us=7.001)
    for index in range(5):
        engine.submit(a_request(str(index), max_tokens=3 + index))
    engine.step()
    engine.abort("4")
    steps = run(engine)
    first_cost_ns = 5 * 4_000 + 5 * 2_000 + 7_001
    shares = sum(o.gpu_ns for step in steps for o in step.outputs if o.is_last)
    assert shares == first_cost_ns + sum(step.cost_ns for step in steps)


def test_prompts_are_computed_in_parts_of_the_token_budget() -> None:
    engine = an_engine(max_batch_tokens=10)
    engine.submit(a_request(prompt_tokens=25, max_tokens=1))
    assert [len(step.outputs) for step in run(engine)] == [0, 0, 1]
    assert engine.take_steps().prefill_tokens == 25


def test_lower_priorities_go_first() -> None:
    engine = an_engine(max_sequences=1)
    engine.submit(a_request("bulk", priority=3, max_tokens=1))
    engine.submit(a_request("realtime", priority=0, max_tokens=1))
    assert [o.key for step in run(engine) for o in step.outputs] == ["realtime", "bulk"]


def test_room_for_a_whole_answer_is_reserved() -> None:
    engine = an_engine(max_kv_tokens=30, max_context_tokens=30)
    engine.submit(a_request("a", max_tokens=16))
    engine.submit(a_request("b", max_tokens=16))
    engine.step()
    load = engine.load()
    assert (load.running, load.waiting, load.credits.free_kv_tokens) == (1, 1, 10)


def test_a_prompt_that_does_not_fit_is_refused() -> None:
    engine = an_engine(max_context_tokens=10)
    engine.submit(a_request(prompt_tokens=11))
    (output,) = outputs(run(engine))
    assert output.error is not None
    assert output.error.code == "context_length_exceeded"


def test_an_aborted_sequence_ends_with_its_usage() -> None:
    engine = an_engine()
    engine.submit(a_request(max_tokens=100))
    steps = [engine.step() for _ in range(3)]
    engine.abort("a")
    engine.abort("unknown")
    last = outputs([*steps, *run(engine)])[-1]
    assert last.error is not None
    assert last.usage is not None
    assert (last.error.code, last.usage.completion_tokens) == ("cancelled", 3)
    assert engine.load().running == 0


def test_told_failures_fail_single_requests() -> None:
    engine = an_engine(fail_ratio=0.5, seed=1)
    for index in range(40):
        engine.submit(a_request(str(index)))
    ends = [output for step in run(engine) for output in step.outputs if output.is_last]
    failed = [output for output in ends if output.error is not None]
    assert len(ends) == 40
    assert 8 < len(failed) < 32


def test_a_told_crash_comes_within_twice_the_number() -> None:
    engine = an_engine(crash_every=5)
    for index in range(10):
        engine.submit(a_request(str(index)))
    assert engine.has_crashed()
    assert not engine.has_work


def test_each_step_is_timed_with_what_it_held() -> None:
    engine = an_engine(max_sequences=1)
    engine.take_timings()
    engine.submit(a_request(prompt_tokens=4, max_tokens=2))
    run(engine)
    prompt, last = engine.take_timings().steps
    assert (prompt.duration_us, prompt.decoding, prompt.kv_tokens, prompt.prefill_tokens) == (16, 1, 4, 4)
    assert (last.duration_us, last.decoding, last.kv_tokens, last.prefill_tokens) == (12, 1, 5, 0)


def test_only_the_newest_steps_are_told() -> None:
    engine = an_engine(max_sequences=1)
    engine.take_timings()
    engine.submit(a_request(max_tokens=30))
    run(engine)
    held = [sample.kv_tokens for sample in engine.take_timings().steps]
    assert held == list(range(33 - MAX_SAMPLES + 1, 34))
    assert engine.take_timings().steps == ()


def test_the_warm_up_tells_what_steps_of_four_sizes_and_prompts_cost() -> None:
    steps = an_engine(max_sequences=32).take_timings().steps
    assert {sample.decoding for sample in steps} == {1, 4, 16, 32}
    assert {sample.prefill_tokens for sample in steps} == {0, 128, 1024}
    assert all(sample.duration_us == 10 + 2 * sample.decoding + sample.prefill_tokens for sample in steps)


def test_noise_varies_the_time_of_a_step_and_not_what_fails() -> None:
    quiet, noisy = an_engine(fail_ratio=0.5), an_engine(fail_ratio=0.5, noise_sigma=0.3)
    failed = []
    for engine in (quiet, noisy):
        for index in range(20):
            engine.submit(a_request(f"k{index}", max_tokens=1))
        failed.append([output.key for step in run(engine) for output in step.outputs if output.error is not None])
    assert failed[0] == failed[1]
    assert quiet.take_steps().busy_us != noisy.take_steps().busy_us

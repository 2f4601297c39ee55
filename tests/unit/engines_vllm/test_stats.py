from pipeline.engines.vllm.stats import BusyClock, StepTotals, prompts_read, sharers
from tests.unit.engines_vllm.builders import a_sequence


def test_time_is_split_to_the_last_nanosecond() -> None:
    clock = BusyClock(gpus=2)
    three = [a_sequence(str(index)) for index in range(3)]
    clock.begin(1_000)

    busy_ns = clock.charge(1_100, three)

    assert busy_ns == 100
    assert [sequence.gpu_ns for sequence in three] == [67, 67, 66]


def test_idle_time_is_nobodys() -> None:
    clock = BusyClock(gpus=1)
    sequence = a_sequence()
    clock.begin(100)
    clock.charge(150, [sequence])
    clock.rest()
    clock.begin(900)
    clock.begin(940)

    clock.charge(960, [sequence])

    assert sequence.gpu_ns == 50 + 60


def test_a_step_without_sharers_is_paid_by_the_next() -> None:
    clock = BusyClock(gpus=1)
    sequence = a_sequence()
    clock.begin(0)

    assert clock.charge(10, []) == 0
    assert clock.charge(30, [sequence]) == 30


def test_time_does_not_run_backwards() -> None:
    clock = BusyClock(gpus=1)
    sequence = a_sequence()
    clock.begin(100)

    assert clock.charge(90, [sequence]) == 0
    assert clock.charge(110, [sequence]) == 10


def test_prompts_in_work_share_the_step_in_the_engines_order() -> None:
    decoding = a_sequence("decoding", produced=3)
    done = a_sequence("done", finished=True)
    bulk = a_sequence("bulk", priority=3, arrival=1)
    early = a_sequence("early", arrival=2)
    late = a_sequence("late", arrival=3)

    ran = sharers([decoding, done], [late, bulk, early], still_running=3)

    assert [sequence.key for sequence in ran] == ["decoding", "done", "early", "late"]


def test_a_finished_batch_needs_nobody_else() -> None:
    done = a_sequence("done", finished=True)

    assert sharers([done], [a_sequence("waits")], still_running=0) == [done]


def test_step_counts_begin_anew_and_carry_the_rest_of_a_microsecond() -> None:
    totals = StepTotals()
    for running in (2, 5):
        totals.add(busy_ns=1_600, prefill_tokens=7, decode_tokens=2, running=running, waiting=1, kv_usage_ratio=0.5)

    first = totals.take()
    totals.add_busy(900)
    second = totals.take()

    assert (first.steps, first.busy_us, first.prefill_tokens, first.decode_tokens) == (2, 3, 14, 4)
    assert (first.running_max, first.waiting_max, first.kv_usage_ratio) == (5, 1, 0.5)
    assert (second.steps, second.busy_us, second.running_max, second.kv_usage_ratio) == (0, 1, 0, 0.5)


def test_a_prompt_that_is_read_in_pieces_pays_for_each_piece() -> None:
    reading, decoding = a_sequence("reading", prompt_tokens=1000), a_sequence("decoding", prompt_tokens=10, produced=5)
    decoding.read_tokens = 10

    first = prompts_read([decoding, reading], 600)
    reading.produced = 1
    second = prompts_read([reading, decoding], 400)
    third = prompts_read([reading, decoding], 0)

    assert (first, second, third) == ([0, 600], [400, 0], [0, 0])


def test_who_reads_a_prompt_pays_more_than_who_decodes() -> None:
    clock = BusyClock(gpus=1)
    reading, decoding = a_sequence("reading", prompt_tokens=1000), a_sequence("decoding", prompt_tokens=10, produced=5)
    decoding.read_tokens = 10
    clock.begin(0)

    clock.charge(20_000_000, [decoding, reading], prefill_tokens=1000)

    assert decoding.gpu_ns + reading.gpu_ns == 20_000_000
    assert reading.gpu_ns > 2 * decoding.gpu_ns

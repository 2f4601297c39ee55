"""What steps held and how long they took, from vLLM itself."""

from typing import Any

import pytest

from pipeline.engines.vllm.warmup import WITHIN_S
from tests.integration.vllm.client import RemoteEngine, completion

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(300)]


def _samples(engine: RemoteEngine) -> list[dict[str, Any]]:
    """All step samples that wait to be taken."""
    samples: list[dict[str, Any]] = []
    while True:
        engine.send("timings")
        taken = engine.expect("timings")["timings"]["steps"]
        if not taken:
            return samples
        samples += taken


def test_a_prompt_in_pieces_and_its_tokens_are_told_step_by_step(engine: RemoteEngine) -> None:
    warm_up = _samples(engine)

    prompt_tokens = 200
    answer = engine.ask(completion([7 * n % 1000 + 300 for n in range(prompt_tokens)], max_tokens=4, ignore_eos=True))
    steps = _samples(engine)

    assert len(answer.tokens) == 4
    assert [step["prefill_tokens"] for step in steps] == [prompt_tokens, 0, 0, 0]
    assert [step["decoding"] for step in steps] == [1, 1, 1, 1]
    assert [step["kv_tokens"] for step in steps] == [prompt_tokens + n for n in (1, 2, 3, 4)]
    assert all(step["duration_us"] > 0 for step in steps)
    if warm_up:  # another test of the session may have taken it
        spent_s = sum(step["duration_us"] for step in warm_up) / 1e6
        sizes = {1, 4, 8} if spent_s < WITHIN_S / 2 else {1}  # a busy machine has no time for the larger ones
        assert sizes <= {step["decoding"] for step in warm_up}

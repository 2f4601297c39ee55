"""The demo's requests and when they arrive."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from infra.devstack.home import CHECKOUT
from pipeline.demo.prompts import PHASE_S, Prompt, bursty_arrivals, read_prompts
from pipeline.settings import load

DEMO = CHECKOUT / "infra" / "demo"


def test_prompts_are_read_in_the_order_of_the_file_and_blank_lines_are_none(tmp_path: Path) -> None:
    lines = [f'{{"tenant": "t{n}", "class": "bulk", "prompt": "p", "max_tokens": {n}}}' for n in (2, 1)]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n\n".join(lines) + "\n")
    assert read_prompts(path) == [
        Prompt(tenant="t2", latency_class="bulk", prompt="p", max_tokens=2),
        Prompt(tenant="t1", latency_class="bulk", prompt="p", max_tokens=1),
    ]


def test_a_line_that_is_no_prompt_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"tenant": "acme"}\n')
    with pytest.raises(msgspec.ValidationError, match="class"):
        read_prompts(path)


@pytest.mark.parametrize("config", ["millrace.toml", "simulated.toml"])
def test_the_shipped_prompts_are_of_tenants_and_classes_that_the_demo_has(config: str) -> None:
    settings = load(DEMO / config, environ={})
    prompts = read_prompts(DEMO / "prompts.jsonl")
    assert len(prompts) == 60
    assert {prompt.tenant for prompt in prompts} == settings.tenants.keys()
    assert {prompt.latency_class for prompt in prompts} == set(settings.models["smollm2"].classes)


def test_arrivals_never_go_back_in_time() -> None:
    times = list(bursty_arrivals(500))
    assert len(times) == 500
    assert times[0] > 0
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_the_same_seed_gives_the_same_arrivals_and_another_one_others() -> None:
    assert list(bursty_arrivals(20, seed=1)) == list(bursty_arrivals(20, seed=1))
    assert list(bursty_arrivals(20, seed=1)) != list(bursty_arrivals(20, seed=2))


def test_bursts_are_denser_than_what_lies_between_them() -> None:
    times = list(bursty_arrivals(2000))
    in_bursts = sum(int(at_s / PHASE_S) % 2 == 0 for at_s in times)
    assert in_bursts > 0.7 * len(times)

"""A replica of a continuously batching engine: which sequences are in each step, and how long the step takes.

Decoding sequences get a token each; what is left of the step's token budget computes prompts, begun ones first, then
waiting ones in the engine's order. Where the KV cache is full, the sequence that is least urgent and came last is
preempted and computed again.

Source: vLLM v1, `vllm/v1/core/sched/scheduler.py` (chunked prefill, priority policy, recomputation).
"""

import heapq
import math
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from msgspec import Struct

from pipeline.simulation.llm.prefix_cache import PrefixCache
from pipeline.simulation.llm.traffic import NO_PREFIX, SimRequest
from pipeline.simulation.traces import BLOCK_TOKENS
from topics.fleet import Limits

_KV_MARGIN: Final = 0.99


class EngineSpec(Struct, kw_only=True, frozen=True):
    """What steps cost, in seconds, and what the engine can hold. `noise` is the sigma of a log-normal factor.

    `prefixes` is how many shared beginnings stay cached; blocks stay as long as there is room for them. With
    `by_priority` the engine orders its work by the priorities of the classes, as production's engines are told to.
    Prompt and answer have `context_tokens` together, None for what the cache holds. Defaults: about Llama-3-8B on an
    H100.
    """

    fixed_s: float = 0.006
    sequence_s: float = 1.5e-5
    kv_token_s: float = 4.9e-8
    prompt_token_s: float = 3.5e-5
    step_tokens: int = 2048
    sequences: int = 1024
    kv_tokens: int = 400_000
    noise: float = 0.05
    prefixes: int = 12
    by_priority: bool = False
    context_tokens: int | None = None

    @property
    def limits(self) -> Limits:
        """As a worker would state them."""
        return Limits(
            max_sequences=self.sequences,
            max_kv_tokens=self.kv_tokens,
            max_batch_tokens=self.step_tokens,
            max_context_tokens=self.context_tokens or self.kv_tokens,
        )


class StepDone(NamedTuple):
    """What a step did: requests that ended, those that got their first token, and its measure."""

    ended: list[SimRequest]
    first: list[SimRequest]
    duration_s: float
    decoding: int
    kv_tokens: int
    prompt_tokens: int


class _Sequence:
    """A request inside the engine. `last_step` gives it its last token; -1 while it does not decode."""

    __slots__ = ("computed", "generated", "held", "last_step", "needed", "priority", "request")

    def __init__(self, request: SimRequest, priority: int) -> None:
        self.request = request
        self.priority = priority
        self.needed = request.prompt_tokens
        self.computed = 0
        self.generated = 0
        self.held: tuple[int, ...] = ()
        self.last_step = -1


class _Pending(NamedTuple):
    work: list[tuple[_Sequence, int]]
    duration_s: float
    decoding: int
    kv_tokens: int
    prompt_tokens: int


class Replica:
    """One replica.

    Args:
        spec: costs and limits.
        rng: draws the noise of each step; may be shared between replicas.
        priorities: of classes, by name; 0 goes first.
    """

    def __init__(self, spec: EngineSpec, rng: np.random.Generator, priorities: Mapping[str, int]) -> None:
        self._spec = spec
        self._priorities = priorities
        self._rng = rng
        self._waiting: list[tuple[int, int, int, _Sequence]] = []
        self._prefilling: list[_Sequence] = []
        self._decoding: dict[int, _Sequence] = {}
        self._ends: list[tuple[int, int, _Sequence]] = []
        self._cached: deque[int] = deque()
        self._blocks = PrefixCache()
        self._numbered = 0
        self._step = 0
        self._pending: _Pending | None = None
        self.kv_tokens = 0
        self.preemptions = 0

    @property
    def is_busy(self) -> bool:
        """Whether a step is under way."""
        return self._pending is not None

    @property
    def running(self) -> int:
        """Sequences that the engine works on."""
        return len(self._decoding) + len(self._prefilling)

    @property
    def waiting(self) -> int:
        """Sequences that it has not begun."""
        return len(self._waiting)

    @property
    def backlog_tokens(self) -> int:
        """Prompt tokens that are to be computed."""
        begun = sum(sequence.needed - sequence.computed for sequence in self._prefilling)
        return begun + sum(entry[3].needed for entry in self._waiting)

    @property
    def cached_prefixes(self) -> list[int]:
        """Shared beginnings that are cached, the most recently used last."""
        return list(self._cached)

    def push(self, request: SimRequest) -> None:
        """A request reaches the engine."""
        priority = self._priorities[request.latency_class] if self._spec.by_priority else 0
        self._queue(_Sequence(request, priority), is_first=False)

    def start(self) -> float | None:
        """Begin a step; how long it takes, None where there is nothing to do."""
        spec = self._spec
        self._pending = None
        while len(self._decoding) + self.kv_tokens > spec.kv_tokens and self.running > 1:
            self._preempt()
        work, prompt_tokens = self._begun(spec.step_tokens - len(self._decoding))
        prompt_tokens += self._admit(work, spec.step_tokens - len(self._decoding) - prompt_tokens, prompt_tokens)
        decoding = len(self._decoding)
        if not decoding and not prompt_tokens:
            return None
        mean_s = (
            spec.fixed_s
            + spec.sequence_s * decoding
            + spec.kv_token_s * self.kv_tokens
            + spec.prompt_token_s * prompt_tokens
        )
        duration_s = mean_s * math.exp(self._rng.normal(0, spec.noise))
        self._pending = _Pending(work, duration_s, decoding, self.kv_tokens, prompt_tokens)
        return duration_s

    def finish(self, now_s: float) -> StepDone:
        """The step under way ends."""
        pending = self._pending
        assert pending is not None
        self._step += 1
        ended: list[SimRequest] = []
        first: list[SimRequest] = []
        if pending.decoding:
            self.kv_tokens += len(self._decoding)
            self._end_decoded(ended, now_s)
        for sequence, computed in pending.work:
            sequence.computed += computed
            self.kv_tokens += computed
            if sequence.computed >= sequence.needed:
                self._prefilled(sequence, ended, first, now_s)
        self._pending = None
        return StepDone(ended, first, *pending[1:])

    def _queue(self, sequence: _Sequence, *, is_first: bool) -> None:
        self._numbered += 1
        heapq.heappush(self._waiting, (sequence.priority, -1 if is_first else 0, self._numbered, sequence))

    def _begun(self, budget: int) -> tuple[list[tuple[_Sequence, int]], int]:
        work: list[tuple[_Sequence, int]] = []
        tokens = 0
        for sequence in self._prefilling:
            part = min(budget - tokens, sequence.needed - sequence.computed)
            if part <= 0 or self.kv_tokens + tokens + part > self._spec.kv_tokens:
                break
            work.append((sequence, part))
            tokens += part
        return work, tokens

    def _admit(self, work: list[tuple[_Sequence, int]], budget: int, before: int) -> int:
        spec = self._spec
        tokens = 0
        while self._waiting and tokens < budget and self.running < spec.sequences:
            sequence = self._waiting[0][3]
            wanted = self._room_for(sequence, budget - tokens)
            if self.kv_tokens + before + tokens + wanted > _KV_MARGIN * spec.kv_tokens:
                break
            heapq.heappop(self._waiting)
            self._look_up(sequence)
            part = min(budget - tokens, sequence.needed - sequence.computed)
            self._prefilling.append(sequence)
            work.append((sequence, part))
            tokens += part
        return tokens

    def _room_for(self, sequence: _Sequence, budget: int) -> int:
        """KV tokens that it needs to begin: cached blocks, and what a step with this budget computes."""
        cached = BLOCK_TOKENS * self._blocks.known(sequence.request.blocks)
        return cached + min(budget, sequence.needed - cached)

    def _look_up(self, sequence: _Sequence) -> None:
        """Take what is cached of its prompt, and note that it was used."""
        request = sequence.request
        sequence.computed = 0
        if request.blocks:
            self._look_up_blocks(sequence)
        if request.prefix == NO_PREFIX:
            return
        if request.prefix in self._cached:
            self._cached.remove(request.prefix)
            sequence.computed = min(request.prefix_tokens, sequence.needed - 1)
            self.kv_tokens += sequence.computed
        request.cached_tokens = sequence.computed
        self._cached.append(request.prefix)
        if len(self._cached) > self._spec.prefixes:
            self._cached.popleft()

    def _look_up_blocks(self, sequence: _Sequence) -> None:
        blocks = sequence.request.blocks
        self._blocks.trim((self._spec.kv_tokens - self.kv_tokens) // BLOCK_TOKENS)
        sequence.held = blocks[: self._blocks.known(blocks)]
        self._blocks.hold(sequence.held)
        sequence.computed = min(len(sequence.held) * BLOCK_TOKENS, sequence.needed - 1)
        self.kv_tokens += sequence.computed
        if not sequence.generated:
            sequence.request.cached_tokens = sequence.computed

    def _let_go(self, sequence: _Sequence) -> None:
        self._blocks.release(sequence.held)
        sequence.held = ()

    def _end_decoded(self, ended: list[SimRequest], now_s: float) -> None:
        while self._ends and self._ends[0][0] <= self._step:
            last_step, _, sequence = heapq.heappop(self._ends)
            request = sequence.request
            if self._decoding.get(request.index) is sequence and sequence.last_step == last_step:
                del self._decoding[request.index]
                self._let_go(sequence)
                self.kv_tokens -= request.prompt_tokens + request.answer_tokens
                request.ended_s = now_s
                ended.append(request)

    def _prefilled(self, sequence: _Sequence, ended: list[SimRequest], first: list[SimRequest], now_s: float) -> None:
        request = sequence.request
        self._prefilling.remove(sequence)
        if request.blocks:
            self._blocks.hold(request.blocks[len(sequence.held) :])
            sequence.held = request.blocks
        if not sequence.generated:
            request.first_s = now_s
            first.append(request)
        sequence.generated += 1
        self.kv_tokens += 1
        left = request.answer_tokens - sequence.generated
        if left <= 0:
            self._let_go(sequence)
            request.ended_s = now_s
            self.kv_tokens -= request.prompt_tokens + sequence.generated
            ended.append(request)
            return
        self._decoding[request.index] = sequence
        sequence.last_step = self._step + left
        self._numbered += 1
        heapq.heappush(self._ends, (sequence.last_step, self._numbered, sequence))

    def _preempt(self) -> None:
        """The least urgent sequence that came last gives up what it holds, and waits in front of its equals."""
        for decoding in self._decoding.values():
            decoding.generated = decoding.request.answer_tokens - (decoding.last_step - self._step)
        candidates = [*self._decoding.values(), *self._prefilling]
        victim = max(candidates, key=lambda sequence: (sequence.priority, sequence.request.at_s))
        if victim in self._prefilling:
            self._prefilling.remove(victim)
            self.kv_tokens -= victim.computed
        else:
            del self._decoding[victim.request.index]
            self.kv_tokens -= victim.request.prompt_tokens + victim.generated
            victim.last_step = -1
        self._let_go(victim)
        victim.needed = victim.request.prompt_tokens + victim.generated
        victim.computed = 0
        self.preemptions += 1
        self._queue(victim, is_first=True)

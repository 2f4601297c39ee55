"""Continuous batching as a cost model: sequences go in, steps with a cost and outputs come out.

A step gives every running sequence that is past its prompt one token and uses what is left of the token budget for
prompts. Room for the whole answer is reserved when a sequence begins, so none is ever preempted. It knows no time: the
caller lets the step's cost pass, in real or in virtual time.

Source: the cost model is linear in prompt tokens, sequences and held tokens, as measured steps of vLLM are.
"""

import heapq
import random
from dataclasses import dataclass
from typing import Final

from pipeline.engines.protocol import EngineRequest, Load, Output, StepCounts
from pipeline.engines.simulated.sequence import Sequence, refusal
from pipeline.settings import SimulatedDeployment
from topics.errors import Cancelled, GenerationFailed
from topics.fleet import Credits, Limits

_LIFE_SEEDS: Final = 1_000_003


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One engine step. `outputs` are to be delivered when `cost_ns` nanoseconds have passed."""

    cost_ns: int
    outputs: list[Output]


class SimulatedSteps:
    """The engine without its clock.

    Args:
        settings: costs, limits and faults.
        life: how often the engine was started before; moves the drawn faults on.
    """

    def __init__(self, settings: SimulatedDeployment, *, life: int = 0) -> None:
        self._settings = settings
        self._random = random.Random(settings.seed * _LIFE_SEEDS + life)
        self._crash_in = self._random.randint(1, 2 * settings.crash_every) if settings.crash_every else 0
        self._arrivals = 0
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._running: dict[str, Sequence] = {}
        self._known: dict[str, Sequence] = {}
        self._ready: list[Output] = []
        self._reserved_tokens = 0
        self._counts = _Counts()
        self._crashed = False

    @property
    def limits(self) -> Limits:
        """What it can hold."""
        settings = self._settings
        return Limits(
            max_sequences=settings.max_sequences,
            max_kv_tokens=settings.max_kv_tokens,
            max_batch_tokens=settings.max_batch_tokens,
            max_context_tokens=min(settings.max_context_tokens, settings.max_kv_tokens),
        )

    @property
    def has_work(self) -> bool:
        """Whether `step` would do anything."""
        return bool(self._known or self._ready) and not self._crashed

    def has_crashed(self) -> bool:
        """Whether it is dead: it does no more steps."""
        return self._crashed

    def submit(self, request: EngineRequest) -> None:
        """Queue a sequence; lower priorities first, then in order of arrival."""
        self._arrivals += 1
        if self._arrivals == self._crash_in:
            self._crashed = True
        error = refusal(request, self.limits.max_context_tokens)
        if error is not None:
            self._ready.append(Output(key=request.key, error=error))
            return
        will_fail = self._settings.fail_ratio > 0 and self._random.random() < self._settings.fail_ratio
        sequence = Sequence(request, max_context_tokens=self.limits.max_context_tokens, will_fail=will_fail)
        self._known[request.key] = sequence
        heapq.heappush(self._waiting, (sequence.priority, self._arrivals, sequence))

    def abort(self, key: str) -> None:
        """End a sequence with the next step."""
        sequence = self._known.get(key)
        if sequence is not None:
            self._leave(sequence)
            self._ready.append(sequence.failed(Cancelled("the sequence was aborted")))

    def step(self) -> Step:
        """Do one step; call it only while there is work."""
        self._admit()
        outputs, self._ready = self._ready, []
        running = list(self._running.values())
        if not running:
            return Step(cost_ns=0, outputs=outputs)
        prefill_tokens, decoding = self._schedule(running)
        cost_ns = self._cost_ns(prefill_tokens, running)
        if cost_ns:
            _share(cost_ns, running)
        outputs += [self._advance(sequence) for sequence in decoding]
        self._counts.add(cost_ns, prefill_tokens, len(decoding), len(running), len(self._waiting))
        return Step(cost_ns=cost_ns, outputs=outputs)

    def load(self) -> Load:
        """Present occupation."""
        settings = self._settings
        queued = len(self._known) - len(self._running)
        return Load(
            running=len(self._running),
            waiting=queued,
            credits=Credits(
                free_sequences=max(settings.max_sequences - len(self._known), 0),
                free_kv_tokens=max(settings.max_kv_tokens - self._reserved_tokens, 0),
                prefill_backlog_tokens=sum(sequence.prefill_left for sequence in self._known.values()),
            ),
        )

    def take_steps(self) -> StepCounts:
        """Step counts since the call before."""
        return self._counts.take(self._reserved_tokens / self._settings.max_kv_tokens)

    def _admit(self) -> None:
        settings = self._settings
        while self._waiting and len(self._running) < settings.max_sequences:
            sequence = self._waiting[0][2]
            if self._known.get(sequence.key) is sequence:
                if self._reserved_tokens + sequence.reserved_tokens > settings.max_kv_tokens:
                    return
                self._reserved_tokens += sequence.reserved_tokens
                self._running[sequence.key] = sequence
            heapq.heappop(self._waiting)

    def _schedule(self, running: list[Sequence]) -> tuple[int, list[Sequence]]:
        """Prompt tokens that this step computes, and the sequences that get a token in it."""
        decoding = [sequence for sequence in running if not sequence.prefill_left]
        if len(decoding) == len(running):
            return 0, decoding
        budget = self._settings.max_batch_tokens - len(decoding)
        computed = 0
        for sequence in running:
            if sequence.prefill_left and budget > 0:
                part = min(sequence.prefill_left, budget)
                sequence.prefill_left -= part
                sequence.kv_tokens += part
                computed += part
                budget -= part
                if not sequence.prefill_left:
                    decoding.append(sequence)
        return computed, decoding

    def _cost_ns(self, prefill_tokens: int, running: list[Sequence]) -> int:
        settings = self._settings
        cost_us = settings.fixed_us + settings.per_prefill_token_us * prefill_tokens
        cost_us += settings.per_sequence_us * len(running)
        if settings.per_kv_token_us:
            cost_us += settings.per_kv_token_us * sum(sequence.kv_tokens for sequence in running)
        return round(cost_us * 1000)

    def _advance(self, sequence: Sequence) -> Output:
        if sequence.will_fail:
            self._leave(sequence)
            return sequence.failed(GenerationFailed("the simulated engine was told to fail this request"))
        output = sequence.step()
        if output.finish_reason is not None:
            self._leave(sequence)
        return output

    def _leave(self, sequence: Sequence) -> None:
        del self._known[sequence.key]
        if self._running.pop(sequence.key, None) is not None:
            self._reserved_tokens -= sequence.reserved_tokens


def _share(cost_ns: int, running: list[Sequence]) -> None:
    """Split a step's time equally, to the nanosecond: the first ones get what does not divide."""
    share, rest = divmod(cost_ns, len(running))
    for index, sequence in enumerate(running):
        sequence.gpu_ns += share + (index < rest)


class _Counts:
    """Sums over steps; time that is less than a microsecond is carried over to the next call."""

    __slots__ = ("_busy_ns", "_decode", "_prefill", "_running_max", "_steps", "_waiting_max")

    def __init__(self) -> None:
        self._busy_ns = 0
        self._steps = 0
        self._prefill = 0
        self._decode = 0
        self._running_max = 0
        self._waiting_max = 0

    def add(self, cost_ns: int, prefill: int, decode: int, running: int, waiting: int) -> None:
        self._steps += 1
        self._busy_ns += cost_ns
        self._prefill += prefill
        self._decode += decode
        self._running_max = max(self._running_max, running)
        self._waiting_max = max(self._waiting_max, waiting)

    def take(self, kv_usage_ratio: float) -> StepCounts:
        busy_us, self._busy_ns = divmod(self._busy_ns, 1000)
        counts = StepCounts(
            steps=self._steps,
            busy_us=busy_us,
            prefill_tokens=self._prefill,
            decode_tokens=self._decode,
            running_max=self._running_max,
            waiting_max=self._waiting_max,
            kv_usage_ratio=kv_usage_ratio,
        )
        self._steps = self._prefill = self._decode = 0
        self._running_max = self._waiting_max = 0
        return counts

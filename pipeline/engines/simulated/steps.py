"""Continuous batching as a cost model: sequences go in, steps with a cost and outputs come out.

A step gives every running sequence that is past its prompt one token and uses what is left of the token budget for
prompts. Room for the whole answer is reserved when a sequence begins, so none is ever preempted. It knows no time: the
caller lets the step's cost pass, in real or in virtual time.

Source: the cost model is linear in prompt tokens, sequences and held tokens, as measured steps of vLLM are.
"""

import heapq

from pipeline.engines.attribution import StepModel, shares
from pipeline.engines.protocol import EngineRequest, Load, Output, StepCounts, Timings
from pipeline.engines.simulated.model import Counts, Faults, Noise, Step, limits_of, warm_up_sizes
from pipeline.engines.simulated.sequence import Sequence, refusal
from pipeline.engines.timings import TimingLog
from pipeline.settings import SimulatedDeployment
from topics.errors import Cancelled, GenerationFailed
from topics.fleet import Credits, EngineMode, Limits, StepSample

_WARM_UP_TOKENS = 128
"""Tokens that each sequence holds in the steps whose costs are told at the start."""
_WARM_UP_PROMPTS = (128, 1024)
"""Prompt tokens of the steps with prompts among them."""


class SimulatedSteps:
    """`pipeline.engines.simulated.model.CostModel` of an engine that batches continuously.

    Args:
        settings: costs, limits and faults.
        life: how often the engine was started before; moves what is drawn on.
    """

    mode: EngineMode = "continuous"

    def __init__(self, settings: SimulatedDeployment, *, life: int = 0) -> None:
        self._settings = settings
        self._costs = StepModel(
            fixed_ns=settings.fixed_us * 1000,
            per_prefill_token_ns=settings.per_prefill_token_us * 1000,
            per_sequence_ns=settings.per_sequence_us * 1000,
            per_kv_token_ns=settings.per_kv_token_us * 1000,
        )
        self._faults = Faults(settings, life)
        self._noise = Noise(settings, life)
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._running: dict[str, Sequence] = {}
        self._known: dict[str, Sequence] = {}
        self._ready: list[Output] = []
        self._reserved_tokens = 0
        self._computing_tokens = 0
        self._counts = Counts()
        self._timings = TimingLog()
        self._warm_up()

    @property
    def limits(self) -> Limits:
        """What it can hold."""
        return limits_of(self._settings)

    @property
    def has_work(self) -> bool:
        """Whether `step` would do anything."""
        return bool(self._known or self._ready) and not self._faults.has_crashed

    def has_crashed(self) -> bool:
        """Whether it is dead: it does no more steps."""
        return self._faults.has_crashed

    def submit(self, request: EngineRequest, *, now_s: float = 0.0) -> None:
        """Queue a sequence; lower priorities first, then in order of arrival, whenever that was."""
        number = self._faults.on_arrival()
        error = refusal(request, self.limits.max_context_tokens)
        if error is not None:
            self._ready.append(Output(key=request.key, error=error))
            return
        sequence = Sequence(
            request, max_context_tokens=self.limits.max_context_tokens, will_fail=self._faults.will_fail()
        )
        if sequence.complete is not None:
            self._ready.append(sequence.completed())
            return
        self._known[request.key] = sequence
        heapq.heappush(self._waiting, (sequence.priority, number, sequence))

    def abort(self, key: str) -> None:
        """End a sequence with the next step."""
        sequence = self._known.get(key)
        if sequence is not None:
            self._leave(sequence)
            self._ready.append(sequence.failed(Cancelled("the sequence was aborted")))

    def next_step(self, now_s: float) -> Step | None:
        """Do one step; None where there is no work."""
        return self.step() if self.has_work else None

    def finish(self, step: Step) -> list[Output]:
        """The cost of the step has passed."""
        self._computing_tokens = 0
        return step.outputs

    def wake_at_s(self) -> float | None:
        """Nothing ever waits for a time."""
        return None

    def step(self) -> Step:
        """Do one step; call it only while there is work."""
        self._admit()
        outputs, self._ready = self._ready, []
        running = list(self._running.values())
        if not running:
            return Step(cost_ns=0, outputs=outputs)
        left = [sequence.prefill_left for sequence in running]
        prefill_tokens, decoding = self._schedule(running)
        self._computing_tokens = prefill_tokens
        held = [sequence.kv_tokens for sequence in running]
        kv_tokens = sum(held)
        cost_ns = self._noise.vary(self._cost_us(len(running), kv_tokens, prefill_tokens))
        if cost_ns:
            read = [before - sequence.prefill_left for before, sequence in zip(left, running, strict=True)]
            for sequence, gpu_ns in zip(running, shares(cost_ns, read, held, self._costs), strict=True):
                sequence.gpu_ns += gpu_ns
        outputs += [self._advance(sequence) for sequence in decoding]
        self._counts.add(
            cost_ns, prefill=prefill_tokens, decode=len(decoding), running=len(running), waiting=len(self._waiting)
        )
        sample = StepSample(
            duration_us=cost_ns // 1000, decoding=len(decoding), kv_tokens=kv_tokens, prefill_tokens=prefill_tokens
        )
        self._timings.add(sample)
        return Step(cost_ns=cost_ns, outputs=outputs)

    def load(self) -> Load:
        """Present occupation. Prompt tokens count as computed when their step has ended, as vLLM counts them."""
        settings = self._settings
        waiting_tokens = sum(sequence.prefill_left for sequence in self._known.values())
        queued = len(self._known) - len(self._running)
        return Load(
            running=len(self._running),
            waiting=queued,
            credits=Credits(
                free_sequences=max(settings.max_sequences - len(self._known), 0),
                free_kv_tokens=max(settings.max_kv_tokens - self._reserved_tokens, 0),
                prefill_backlog_tokens=waiting_tokens + self._computing_tokens,
            ),
        )

    def take_steps(self) -> StepCounts:
        """Step counts since the call before."""
        return self._counts.take(self._reserved_tokens / self._settings.max_kv_tokens)

    def take_timings(self) -> Timings:
        """Timings since the call before."""
        return self._timings.take()

    def charged(self) -> dict[str, int]:
        """By key, what the sequences that have not ended were charged."""
        return {key: sequence.gpu_ns for key, sequence in self._known.items()}

    def _warm_up(self) -> None:
        """Tell what steps cost before there was one."""
        for size in warm_up_sizes(self._settings.max_sequences):
            self._add_warm_up(size, 0)
        for prompt_tokens in _WARM_UP_PROMPTS:
            self._add_warm_up(1, min(prompt_tokens, self._settings.max_batch_tokens))

    def _add_warm_up(self, size: int, prompt_tokens: int) -> None:
        kv_tokens = size * _WARM_UP_TOKENS
        duration_us = round(self._cost_us(size, kv_tokens, prompt_tokens))
        self._timings.add_warm_up(
            StepSample(duration_us=duration_us, decoding=size, kv_tokens=kv_tokens, prefill_tokens=prompt_tokens)
        )

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

    def _cost_us(self, size: int, kv_tokens: int, prefill_tokens: int) -> float:
        settings = self._settings
        cost_us = settings.fixed_us + settings.per_prefill_token_us * prefill_tokens
        return cost_us + settings.per_sequence_us * size + settings.per_kv_token_us * kv_tokens

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

"""Run to completion as a cost model: batches go in part by part, one runs at a time, all answers come at its end.

A batch may run when all of its parts have come, where a part that was aborted counts as come; one with parts that do
not come (they ended before, or their slot has moved to another worker) runs with what it has after a while. Of those
that may run, the one whose first part came first is next.

Source: the cost of a batch is linear in its size and its tokens, as measured batches of encoders and classifiers are.
"""

from pipeline.engines.protocol import EngineRequest, Load, Output, StepCounts, Timings
from pipeline.engines.simulated.model import Counts, Faults, Noise, Step, limits_of, share, warm_up_sizes
from pipeline.engines.simulated.sequence import Sequence, refusal
from pipeline.engines.timings import TimingLog
from pipeline.settings import SimulatedDeployment
from topics.errors import Cancelled, GenerationFailed
from topics.fleet import BatchTiming, Credits, EngineMode, Limits

_WARM_UP_TOKENS = (16, 128)
"""Prompt tokens per request of the batches whose costs are told at the start."""


class _Gathering:
    """A batch whose parts come. `missing` is how many have not; `begun_s` is when the first one came."""

    __slots__ = ("begun_s", "id", "missing", "parts")

    def __init__(self, batch_id: str, size: int, begun_s: float) -> None:
        self.id = batch_id
        self.missing = size
        self.begun_s = begun_s
        self.parts: dict[str, Sequence] = {}


class SimulatedBatches:
    """`pipeline.engines.simulated.model.CostModel` of an engine that runs batches to completion.

    Args:
        settings: costs, limits and faults.
        life: how often the engine was started before; moves what is drawn on.
    """

    mode: EngineMode = "run_to_completion"

    def __init__(self, settings: SimulatedDeployment, *, life: int = 0) -> None:
        self._settings = settings
        self._faults = Faults(settings, life)
        self._noise = Noise(settings, life)
        self._gathering: dict[str, _Gathering] = {}
        self._batch_of: dict[str, _Gathering] = {}
        self._running: dict[str, Sequence] = {}
        self._running_id = ""
        self._aborted: set[str] = set()
        self._ready: list[Output] = []
        self._counts = Counts()
        self._timings = TimingLog()
        for size in warm_up_sizes(settings.max_sequences):
            for each in _WARM_UP_TOKENS:
                service_us = round(self._cost_us(size, size * each))
                self._timings.add_warm_up(BatchTiming(size=size, tokens=size * each, service_us=service_us))

    @property
    def limits(self) -> Limits:
        """What it can hold: `max_sequences` is its largest batch."""
        return limits_of(self._settings)

    def has_crashed(self) -> bool:
        """Whether it is dead: it runs no more batches."""
        return self._faults.has_crashed

    def submit(self, request: EngineRequest, *, now_s: float) -> None:
        """Queue a part of a batch."""
        self._faults.on_arrival()
        batch = self._batch(request, now_s)
        batch.missing -= 1
        error = refusal(request, self.limits.max_context_tokens)
        if error is not None:
            self._ready.append(Output(key=request.key, error=error))
            return
        part = Sequence(request, max_context_tokens=self.limits.max_context_tokens, will_fail=self._faults.will_fail())
        if part.complete is not None:
            self._ready.append(part.completed())
            return
        batch.parts[request.key] = part
        self._batch_of[request.key] = batch

    def abort(self, key: str) -> None:
        """End a part: at once if it waits; with its batch, which cannot be interrupted, if it runs."""
        if key in self._running:
            self._aborted.add(key)
            return
        batch = self._batch_of.pop(key, None)
        if batch is not None:
            self._ready.append(batch.parts.pop(key).failed(Cancelled("the sequence was aborted")))

    def next_step(self, now_s: float) -> Step | None:
        """Begin the next batch that may run; None where none may."""
        if self._ready:
            outputs, self._ready = self._ready, []
            return Step(cost_ns=0, outputs=outputs)
        batch = next((b for b in self._gathering.values() if self._is_due(b, now_s)), None)
        return None if batch is None else self._run(batch)

    def finish(self, step: Step) -> list[Output]:
        """The cost of the step has passed: the answers of the whole batch."""
        if not self._running:
            return step.outputs
        parts, self._running = self._running, {}
        outputs = [self._answer(key, part) for key, part in parts.items()]
        self._aborted.clear()
        tokens = sum(part.prompt_tokens for part in parts.values())
        self._timings.add(
            BatchTiming(id=self._running_id, size=len(parts), tokens=tokens, service_us=step.cost_ns // 1000)
        )
        self._counts.add(
            step.cost_ns,
            prefill=tokens,
            decode=sum(len(output.token_ids) for output in outputs),
            running=len(parts),
            waiting=len(self._batch_of),
        )
        return outputs

    def wake_at_s(self) -> float | None:
        """When the first batch that lacks parts runs without them."""
        waits = [b.begun_s + self._settings.batch_wait_s for b in self._gathering.values()]
        return min(waits, default=None)

    def load(self) -> Load:
        """Present occupation. Beside the batch that runs there is room for a whole one that waits for its end."""
        settings = self._settings
        waiting = [part for batch in self._gathering.values() for part in batch.parts.values()]
        tokens = sum(part.prompt_tokens for part in (*waiting, *self._running.values()))
        return Load(
            running=len(self._running),
            waiting=len(waiting),
            credits=Credits(
                free_sequences=max(settings.max_sequences - len(waiting), 0),
                free_kv_tokens=max(settings.max_kv_tokens - tokens, 0),
                prefill_backlog_tokens=tokens,
            ),
        )

    def take_steps(self) -> StepCounts:
        """Counts since the call before; a batch is one step."""
        return self._counts.take(0.0)

    def take_timings(self) -> Timings:
        """Timings since the call before."""
        return self._timings.take()

    def charged(self) -> dict[str, int]:
        """By key, what the sequences that have not ended were charged."""
        return {key: part.gpu_ns for key, part in self._running.items()}

    def _batch(self, request: EngineRequest, now_s: float) -> _Gathering:
        batch_id = request.batch.id if request.batch is not None else request.key
        batch = self._gathering.get(batch_id)
        if batch is None:
            size = request.batch.size if request.batch is not None else 1
            batch = self._gathering[batch_id] = _Gathering(batch_id, size, now_s)
        return batch

    def _is_due(self, batch: _Gathering, now_s: float) -> bool:
        return batch.missing <= 0 or now_s >= batch.begun_s + self._settings.batch_wait_s

    def _run(self, batch: _Gathering) -> Step:
        """Run the batch; of one that is larger than the engine takes, the first part."""
        keys = list(batch.parts)[: self._settings.max_sequences]
        parts = [batch.parts.pop(key) for key in keys]
        if not batch.parts:
            del self._gathering[batch.id]
        batch.missing = 0
        if not parts:
            return Step(cost_ns=0, outputs=[])
        for key in keys:
            del self._batch_of[key]
        tokens = sum(part.prompt_tokens for part in parts)
        cost_ns = self._noise.vary(self._cost_us(len(parts), tokens))
        for part, gpu_ns in zip(parts, share(cost_ns, len(parts)), strict=True):
            part.gpu_ns = gpu_ns
        self._running = dict(zip(keys, parts, strict=True))
        self._running_id = batch.id
        return Step(cost_ns=cost_ns, outputs=[])

    def _cost_us(self, size: int, tokens: int) -> float:
        settings = self._settings
        return settings.fixed_us + settings.per_sequence_us * size + settings.per_prefill_token_us * tokens

    def _answer(self, key: str, part: Sequence) -> Output:
        if key in self._aborted:
            return part.failed(Cancelled("the sequence was aborted"))
        if part.will_fail:
            return part.failed(GenerationFailed("the simulated engine was told to fail this request"))
        return part.finish()

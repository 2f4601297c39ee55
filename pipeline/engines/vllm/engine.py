"""`VllmEngine`: the Engine protocol on vLLM. Lifecycle, and the table of sequences.

One thread belongs to it: it starts vLLM, tokenizes and stops vLLM; the engine core ends with that thread. Everything
else happens on the event loop.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.engines.protocol import Deliver, EngineRequest, Load, Output, StepCounts, Timings
from pipeline.engines.timings import TimingLog
from pipeline.engines.vllm import warmup
from pipeline.engines.vllm.core import Core, Prepared, Step
from pipeline.engines.vllm.environment import prepare
from pipeline.engines.vllm.outputs import cancelled, completed, failed, output_of
from pipeline.engines.vllm.sequences import Active
from pipeline.engines.vllm.stats import BusyClock, StepTotals, sharers
from pipeline.settings.model import VllmDeployment
from topics.errors import EngineDead, GenerationFailed, PipelineError
from topics.fleet import Credits, EngineMode, Limits, StepSample

logger = logging.getLogger(__name__)


class VllmEngine:
    """One vLLM, on the GPUs of the machine or on its CPU.

    Args:
        deployment: how to run it; `path` is a Hugging Face folder.
    """

    def __init__(self, deployment: VllmDeployment) -> None:
        self._deployment = deployment
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vllm-engine")
        self._active: dict[str, Active] = {}
        self._arrivals = 0
        self._running = 0
        self._totals = StepTotals()
        self._timings = TimingLog()
        self._is_cold = True
        self._is_warming_up = True
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._death: EngineDead | None = None
        self._core: Core | None = None
        self._clock = BusyClock(gpus=1)
        self._deliver: Deliver = _nowhere

    @property
    def limits(self) -> Limits:
        """What it can hold at most; known after `start`."""
        return self._started.limits

    @property
    def gpus(self) -> int:
        """GPUs of this replica; 1 for the CPU."""
        return self._started.gpus

    @property
    def mode(self) -> EngineMode:
        """Step by step."""
        return "continuous"

    @property
    def caches_prefixes(self) -> bool:
        """As the deployment says."""
        return self._deployment.prefix_caching

    async def start(self, deliver: Deliver) -> None:
        """Load the model and warm up; ready for `submit` when it returns.

        Raises:
            EngineDead: it could not be started; the message says why.
        """
        prepare(self._deployment)
        began = time.monotonic()
        try:
            self._core = await self._on_thread(Core, self._deployment)
            await self._core.open()
            self._clock = BusyClock(self._core.gpus)
            self._spawn(self._pump(self._core))
            await self._warm_up()
        except BaseException:
            await self.stop()
            raise
        self._deliver = deliver
        logger.info("vLLM serves %s after %.1f s", self._deployment.path, time.monotonic() - began)

    def submit(self, request: EngineRequest) -> None:
        """Queue a sequence. Never raises for the request's sake: what is wrong with it comes as `Output.error`."""
        self._arrivals += 1
        sequence = self._active[request.key] = Active(request=request, arrival=self._arrivals)
        self._spawn(self._admit(self._started, sequence))

    def abort(self, key: str) -> None:
        """End a sequence soon: its last output has a `Cancelled` error and its usage. Unknown keys are ignored."""
        sequence = self._active.pop(key, None)
        if sequence is None or self._death is not None:
            return
        if sequence.admitted:
            self._spawn(self._started.abort(key))
            if not self._admitted():
                self._totals.add_busy(self._clock.charge(time.monotonic_ns(), [sequence]))
                self._clock.rest()
        asyncio.get_running_loop().call_soon(self._deliver, [cancelled(sequence)])

    def load(self) -> Load:
        """Present occupation."""
        limits = self.limits
        block = self._started.block_tokens
        kv_tokens = sum(-(-sequence.kv_tokens // block) * block for sequence in self._active.values())
        running = min(self._running, len(self._active))
        return Load(
            running=running,
            waiting=len(self._active) - running,
            credits=Credits(
                free_sequences=max(0, limits.max_sequences - len(self._active)),
                free_kv_tokens=max(0, limits.max_kv_tokens - kv_tokens),
                prefill_backlog_tokens=sum(s.prefill_tokens for s in self._active.values() if not s.produced),
            ),
        )

    def take_steps(self) -> StepCounts:
        """Step counts since the call before."""
        return self._totals.take()

    def take_timings(self) -> Timings:
        """Timings since the call before."""
        return self._timings.take()

    def charged(self) -> dict[str, int]:
        """By key, what the sequences that have not ended were charged so far."""
        return {key: sequence.gpu_ns for key, sequence in self._active.items()}

    async def join(self) -> None:
        """Return when the engine was stopped.

        Raises:
            EngineDead: it died by itself; sequences it had get no further outputs.
        """
        await self._ended.wait()
        if self._death is not None:
            raise self._death

    async def stop(self) -> None:
        """Free everything; sequences it has get no further outputs. Idempotent."""
        self._active.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        core, self._core = self._core, None
        try:
            if core is not None:
                await self._on_thread(core.close)
        finally:
            self._thread.shutdown(wait=False)
            self._ended.set()

    @property
    def _started(self) -> Core:
        if self._core is None:
            raise EngineDead("the engine is not running; start it first")
        return self._core

    async def _warm_up(self) -> None:
        """Time steps of a few sizes; none of it counts as work."""
        ended = asyncio.Event()

        def on_outputs(outputs: list[Output]) -> None:
            if not self._active:
                ended.set()

        self._deliver = on_outputs
        try:
            async with asyncio.timeout(warmup.WITHIN_S):
                for requests in warmup.rounds(self.limits.max_sequences):
                    ended.clear()
                    for request in requests:
                        self.submit(request)
                    await ended.wait()
        except TimeoutError:
            logger.info("the warm-up is cut short after %g s", warmup.WITHIN_S)
            for key in list(self._active):
                self.abort(key)
        if self._death is not None:
            raise self._death
        self._is_warming_up = False
        self._totals.take()

    async def _admit(self, core: Core, sequence: Active) -> None:
        try:
            prepared = await self._on_thread(core.prepare, sequence.request)
        except PipelineError as error:
            self._end(sequence, failed(sequence, error))
            return
        except Exception as error:
            # One request must not take its neighbours along, whatever a tokenizer or a template makes of it.
            logger.exception("request %s could not be prepared", sequence.key)
            reason = GenerationFailed(f"the request could not be prepared: {type(error).__name__}")
            self._end(sequence, failed(sequence, reason))
            return
        if self._active.get(sequence.key) is sequence:
            await self._enter(core, sequence, prepared)

    async def _enter(self, core: Core, sequence: Active, prepared: Prepared) -> None:
        sequence.prompt_tokens = prepared.prompt_tokens
        sequence.logprobs = prepared.logprobs
        sequence.repeated = prepared.repeated
        if prepared.complete is not None:
            self._end(sequence, completed(sequence, prepared.complete))
            return
        sequence.admitted = True
        self._clock.begin(time.monotonic_ns())
        try:
            await core.add(prepared)
        except EngineDead as death:
            self._die(death)

    async def _pump(self, core: Core) -> None:
        try:
            while True:
                self._on_step(await core.next_step())
        except EngineDead as death:
            self._die(death)
        except Exception as error:
            # Steps that cannot be read any more are as good as none.
            logger.exception("a step of vLLM's could not be taken")
            self._die(EngineDead(f"a step of vLLM's could not be taken: {type(error).__name__}: {error}"))

    def _die(self, death: EngineDead) -> None:
        if not self._ended.is_set():
            logger.error("the engine died with %d sequences: %s", len(self._active), death.message)
            self._death = death
            self._ended.set()

    def _on_step(self, step: Step) -> None:
        outputs = []
        advanced = []
        for result in step.outputs:
            sequence = self._active.get(result.request_id)
            if sequence is not None:
                advanced.append(sequence)
                outputs.append(output_of(sequence, result))
        self._account(step, advanced)
        for sequence, output in zip(advanced, outputs, strict=True):
            if output.is_last:
                output.gpu_ns = sequence.gpu_ns
                del self._active[sequence.key]
        if not self._admitted():
            self._clock.rest()
        if outputs:
            self._deliver(outputs)

    def _account(self, step: Step, advanced: list[Active]) -> None:
        """Charge the step to the sequences that ran in it, and count it; one that had aborted ones only is nobody's."""
        self._running = step.running
        ran = {sequence.key for sequence in advanced}
        others = [sequence for sequence in self._admitted() if sequence.key not in ran]
        sequences = sharers(advanced, others, step.running)
        charged_ns = self._clock.charge(step.ended_ns, sequences, prefill_tokens=step.prefill_tokens)
        if not sequences:
            return
        self._time(step, charged_ns, kv_tokens=sum(sequence.kv_tokens for sequence in sequences))
        self._totals.add(
            busy_ns=charged_ns,
            prefill_tokens=step.prefill_tokens,
            decode_tokens=step.decode_tokens,
            running=step.running,
            waiting=step.waiting,
            kv_usage_ratio=step.kv_usage_ratio,
        )

    def _time(self, step: Step, duration_ns: int, *, kv_tokens: int) -> None:
        if self._is_cold:  # the first step of a process is no measure of the others
            self._is_cold = False
            return
        sample = StepSample(
            duration_us=duration_ns // 1000,
            decoding=step.decoding,
            kv_tokens=kv_tokens,
            prefill_tokens=step.prefill_tokens,
        )
        if self._is_warming_up:
            self._timings.add_warm_up(sample)
        else:
            self._timings.add(sample)

    def _admitted(self) -> list[Active]:
        return [sequence for sequence in self._active.values() if sequence.admitted]

    def _end(self, sequence: Active, output: Output) -> None:
        """Deliver a last output, unless the sequence was aborted meanwhile."""
        if self._active.get(sequence.key) is sequence:
            del self._active[sequence.key]
            self._deliver([output])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _nowhere(outputs: list[Output]) -> None:
    """Where outputs go before `start` has said where."""

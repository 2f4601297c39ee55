"""The one module that speaks to vLLM: requests in, one list of outputs a step out.

vLLM's `AsyncLLM` starts the engine core and brings the parts that belong together (input processor, output processor,
core client). Its own loop would put every token into a queue of its request, to be fetched by a task of its request;
here the steps are taken from the core client as vLLM's synchronous engine does it, so that a step is one call.

Written for vLLM 0.32: the parts are public by name, and not promised to stay.
"""

import copy
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from pipeline.engines.continuing import why_not_continued
from pipeline.engines.protocol import EngineRequest
from pipeline.engines.vllm.budget import Budget, budget
from pipeline.engines.vllm.child import CPU_NICENESS, guarded_children
from pipeline.engines.vllm.continuation import replay
from pipeline.engines.vllm.dtype import dtype_on_cpu, features_of_this_cpu
from pipeline.engines.vllm.logprobs import LogprobsShape
from pipeline.engines.vllm.params import check_supported, logprobs_asked, sampling_arguments, structure_arguments
from pipeline.engines.vllm.prompts import Prompts
from pipeline.settings.model import VllmDeployment
from topics.bodies import Body
from topics.errors import EngineDead, InvalidRequest, Unsupported
from topics.fleet import Limits
from topics.responses import FinishReason

if TYPE_CHECKING:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine import EngineCoreOutputs, EngineCoreRequest
    from vllm.v1.engine.async_llm import AsyncLLM

_GIB = 1024**3
_CONTEXT_TOKENS = 4
"""Tokens before a cut that can be part of the same character: UTF-8 has at most 4 bytes."""


class Prepared(Struct, kw_only=True, frozen=True):
    """A request as vLLM takes it.

    Attributes:
        complete: why the answer is complete with its continued tokens; such a request is not for vLLM.
        repeated: text of the continued tokens, where it is wanted again.
        detokenizer: state after the continued tokens; None where there are none.
    """

    core_request: Any
    prompt_tokens: int
    logprobs: LogprobsShape | None
    complete: FinishReason | None = None
    repeated: str = ""
    detokenizer: Any = None


class Step(Struct, kw_only=True, frozen=True):
    """What one step of the engine brought. Times are of the machine's monotonic clock.

    `decoding` sequences got a token or more; `prefill_tokens` were computed, those of unfinished prompts too.
    """

    ended_ns: int
    outputs: "list[RequestOutput]"
    decoding: int
    prefill_tokens: int
    decode_tokens: int
    running: int
    waiting: int
    kv_usage_ratio: float


class Core:
    """A running vLLM. The constructor, `prepare` and `close` block: they belong on a thread, always the same one.

    The engine core ends when the thread ends that constructed this.

    Raises:
        EngineDead: vLLM could not be started.
    """

    def __init__(self, deployment: VllmDeployment) -> None:
        self._llm = _start(deployment)
        self._tokenizer = self._llm.get_tokenizer()
        self._prompts = _prompts_of(self._llm)
        self._tasks: Any = ()
        self.limits = _limits_of(self._llm)
        self.block_tokens: int = self._llm.vllm_config.cache_config.block_size
        self.gpus = 1 if _on_cpu() else deployment.tensor_parallel

    async def open(self) -> None:
        """Finish the start on the event loop; the first call to the core."""
        self._tasks = await self._llm.get_supported_tasks()

    def prepare(self, request: EngineRequest) -> Prepared:
        """Tokenize and validate.

        Raises:
            RequestError: what is wrong with the request.
        """
        from vllm.exceptions import VLLMClientError

        body = request.body
        check_supported(body)
        prompt = self._prompts.token_ids(body)
        bounds = budget(
            prompt_tokens=len(prompt),
            context_tokens=self.limits.max_context_tokens,
            max_tokens=body.token_limit,
            min_tokens=body.min_tokens,
        )
        try:
            whole = self._core_request(request, prompt, _sampling_params(body, bounds))
        except (VLLMClientError, ValueError) as error:
            # vLLM names its parameters like OpenAI's fields.
            param = getattr(error, "parameter", None)
            raise InvalidRequest(f"vLLM refuses the request: {error}", param=param and f"body.{param}") from error
        if request.continued:
            return self._continued(request, whole, len(prompt))
        return Prepared(core_request=whole, prompt_tokens=len(prompt), logprobs=_logprobs_shape(request, 0))

    async def add(self, prepared: Prepared) -> None:
        """Hand a request to the engine; its outputs come with the next steps.

        Raises:
            EngineDead: there is no engine any more.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        core_request = prepared.core_request
        processor = self._llm.output_processor
        processor.add_request(core_request, None)
        if prepared.detokenizer is not None:
            state = processor.request_states[core_request.request_id]
            state.detokenizer = prepared.detokenizer
            if state.logprobs_processor.logprobs is not None:
                # Seen as the positions before the first one: a token's text can depend on the tokens before it.
                before = prepared.core_request.prompt_token_ids[prepared.prompt_tokens :][-_CONTEXT_TOKENS:]
                state.logprobs_processor.logprobs.extend({token: None} for token in before)
        try:
            await self._llm.engine_core.add_request_async(core_request)
        except EngineDeadError as error:
            raise EngineDead("vLLM's engine is gone; its worker starts it again") from error

    async def next_step(self) -> Step:
        """The outputs of the next step, in order.

        Raises:
            EngineDead: there is no engine any more.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            outputs = await self._llm.engine_core.get_output_async()
        except EngineDeadError as error:
            raise EngineDead("vLLM's engine is gone; its worker starts it again") from error
        # Before they are processed: stop strings take tokens away.
        work = _work_of(outputs)
        processed = self._llm.output_processor.process_outputs(outputs.outputs, outputs.timestamp)
        if processed.reqs_to_abort:
            await self._llm.engine_core.abort_requests_async(processed.reqs_to_abort)
        scheduler = outputs.scheduler_stats
        return Step(
            ended_ns=round(outputs.timestamp * 1e9),
            outputs=processed.request_outputs,
            decoding=work.decoding,
            prefill_tokens=work.prefill_tokens,
            decode_tokens=work.decode_tokens,
            running=scheduler.num_running_reqs if scheduler else 0,
            waiting=scheduler.num_waiting_reqs + scheduler.num_skipped_waiting_reqs if scheduler else 0,
            kv_usage_ratio=scheduler.kv_cache_usage if scheduler else 0.0,
        )

    async def abort(self, key: str) -> None:
        """Forget a request; it has no outputs from now on."""
        await self._llm.engine_core.abort_requests_async(
            self._llm.output_processor.abort_requests([key], internal=True)
        )

    def close(self) -> None:
        """End vLLM's processes. Idempotent."""
        self._llm.shutdown()

    def _core_request(self, request: EngineRequest, prompt: list[int], params: "SamplingParams") -> "EngineCoreRequest":
        from vllm.inputs.engine import tokens_input

        core_request = self._llm.input_processor.process_inputs(
            request.key,
            tokens_input(prompt),
            params,
            self._tasks,
            arrival_time=time.time(),
            priority=request.priority,
        )
        # vLLM would add random characters to make ids unique; keys are.
        core_request.external_req_id = core_request.request_id
        return core_request

    def _continued(self, request: EngineRequest, whole: "EngineCoreRequest", prompt_tokens: int) -> Prepared:
        """The undisturbed request, moved on by the tokens so far."""
        from vllm.v1.engine.detokenizer import IncrementalDetokenizer

        obstacle = why_not_continued(request.body)
        if obstacle is not None:
            raise Unsupported(f"an answer with {obstacle} cannot be continued; start it over", param=f"body.{obstacle}")
        assert whole.sampling_params is not None and whole.prompt_token_ids is not None
        detokenizer = IncrementalDetokenizer.from_new_request(self._tokenizer, whole)
        replayed = replay(detokenizer, request.continued, whole.sampling_params)
        rest = whole.sampling_params.clone()
        rest.max_tokens = max(1, rest.max_tokens - len(request.continued))
        rest.min_tokens = max(0, rest.min_tokens - len(request.continued))
        core_request = msgspec.structs.replace(
            whole, prompt_token_ids=[*whole.prompt_token_ids, *request.continued], sampling_params=rest
        )
        return Prepared(
            core_request=core_request,
            prompt_tokens=prompt_tokens,
            logprobs=_logprobs_shape(request, len(getattr(detokenizer, "output_text", ""))),
            complete=replayed.complete,
            repeated=replayed.text if request.repeats_text else "",
            detokenizer=detokenizer,
        )


def _start(deployment: VllmDeployment) -> "AsyncLLM":
    if not (Path(deployment.path) / "config.json").is_file():
        raise EngineDead(f"no model at {deployment.path!r}: it has no config.json; name a Hugging Face folder")
    try:
        from vllm.v1.engine.async_llm import AsyncLLM
    except ImportError as error:
        raise EngineDead(f"vLLM cannot be imported: {error}; run the worker in the engine's environment") from error
    try:
        with guarded_children(CPU_NICENESS if _on_cpu() else 0):
            return AsyncLLM.from_engine_args(_engine_arguments(deployment))
    except Exception as error:
        # Whatever it is, the worker can only report it: vLLM has ended its processes, and logged what they said.
        raise EngineDead(f"vLLM could not start with the model {deployment.path!r}: {error}") from error


def _engine_arguments(deployment: VllmDeployment) -> "AsyncEngineArgs":
    from vllm.config.structured_outputs import StructuredOutputsConfig
    from vllm.engine.arg_utils import AsyncEngineArgs

    return AsyncEngineArgs(
        model=deployment.path,
        dtype=dtype_on_cpu(deployment, features_of_this_cpu()) if _on_cpu() else deployment.dtype,
        max_model_len=deployment.max_context_tokens,
        max_num_seqs=deployment.max_sequences,
        max_num_batched_tokens=deployment.max_batch_tokens,
        kv_cache_memory_bytes=round(deployment.kv_cache_gib * _GIB),
        tensor_parallel_size=deployment.tensor_parallel,
        distributed_executor_backend=_executor(deployment),
        quantization=deployment.quantization,
        enforce_eager=deployment.enforce_eager,
        enable_prefix_caching=deployment.prefix_caching,
        scheduling_policy="priority",
        # Small models lose themselves in the whitespace that JSON allows between its tokens.
        structured_outputs_config=StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
        disable_log_stats=False,
        # Tells what each step held; logged by vLLM's own loop, which is not used.
        enable_logging_iteration_details=True,
        enable_log_requests=False,
    )


def _executor(deployment: VllmDeployment) -> str | None:
    """What runs the model; None for vLLM's choice.

    On a CPU that is a process of its own, for which the core waits in a busy loop: half a core of a small machine, and
    a fifth of its tokens. It is there to pin threads; where none is pinned (`environment`), the core runs the model.
    """
    is_pinned = os.environ.get("VLLM_CPU_OMP_THREADS_BIND") != "nobind"
    if _on_cpu() and not is_pinned and deployment.tensor_parallel == 1:
        return "vllm.v1.executor.uniproc_executor.UniProcExecutor"
    return None


def _prompts_of(llm: "AsyncLLM") -> Prompts:
    from jinja2 import TemplateError  # type: ignore[import-not-found]

    # A copy of the tokenizer: the original detokenizes on the event loop meanwhile.
    tokenizer = copy.deepcopy(llm.get_tokenizer())
    return Prompts(tokenizer, vocabulary=llm.model_config.get_vocab_size(), refusals=(TemplateError,))


def _limits_of(llm: "AsyncLLM") -> Limits:
    config = llm.vllm_config
    cache = config.cache_config
    return Limits(
        max_sequences=config.scheduler_config.max_num_seqs,
        max_kv_tokens=cache.kv_cache_size_tokens or (cache.num_gpu_blocks or 0) * cache.block_size,
        max_batch_tokens=config.scheduler_config.max_num_batched_tokens,
        max_context_tokens=config.model_config.max_model_len,
    )


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _sampling_params(body: Body, bounds: Budget) -> "SamplingParams":
    from vllm.sampling_params import RequestOutputKind, SamplingParams, StructuredOutputsParams

    structure = structure_arguments(body.response_format)
    return SamplingParams(
        **sampling_arguments(body, bounds),
        structured_outputs=None if structure is None else StructuredOutputsParams(**structure),
        output_kind=RequestOutputKind.DELTA,
    )


def _logprobs_shape(request: EngineRequest, text_offset: int) -> LogprobsShape | None:
    asked = logprobs_asked(request.body)
    return None if asked is None else LogprobsShape(request.endpoint, alternatives=asked, text_offset=text_offset)


class _Work(NamedTuple):
    decoding: int
    prefill_tokens: int
    decode_tokens: int


def _work_of(outputs: "EngineCoreOutputs") -> _Work:
    """What a step held: sequences that got tokens, prompt tokens computed and tokens generated."""
    scheduler = outputs.scheduler_stats
    details = scheduler.iteration_details if scheduler else None
    generated = [len(output.new_token_ids) for output in outputs.outputs]
    return _Work(sum(map(bool, generated)), details.num_ctx_tokens if details else 0, sum(generated))

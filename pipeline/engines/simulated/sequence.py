"""One sequence of a simulated engine: how long its prompt is, what it says and when it ends."""

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.simulated.text import StopScanner, advance, natural_length, next_token, state_of, text_of
from topics.bodies import CHAT
from topics.errors import ContextTooLong, PipelineError, Unsupported
from topics.responses import FinishReason, Usage


class Sequence:
    """A request inside the engine.

    Attributes:
        prefill_left: prompt tokens, and tokens of the answer that are continued, which were not computed yet.
        kv_tokens: tokens whose keys and values are held now.
        reserved_tokens: what it may come to hold.
        complete: why the answer is complete with its continued tokens; such a sequence takes no step.
    """

    __slots__ = (
        "_accepted",
        "_length",
        "_limit",
        "_min_tokens",
        "_repeated",
        "_scanner",
        "_state",
        "_stop_ids",
        "complete",
        "gpu_ns",
        "key",
        "kv_tokens",
        "prefill_left",
        "priority",
        "prompt_tokens",
        "reserved_tokens",
        "will_fail",
    )

    def __init__(self, request: EngineRequest, *, max_context_tokens: int, will_fail: bool = False) -> None:
        body = request.body
        self.key = request.key
        self.priority = request.priority
        self.prompt_tokens = max(body.prompt_chars // 4, 1)
        room = max(max_context_tokens - self.prompt_tokens, 0)
        start = state_of(body)
        self._limit = min(body.token_limit or room, room)
        natural = self._limit if body.ignore_eos else max(natural_length(start), body.min_tokens)
        self._length = min(natural, self._limit)
        self._min_tokens = body.min_tokens
        self._stop_ids = frozenset(body.stop_token_ids or ())
        self._scanner = StopScanner(body.stops) if body.stops else None
        self._state = start
        self._accepted = 0
        self.complete: FinishReason | None = None
        said = [self._replay(token_id) for token_id in request.continued]
        self._repeated = "".join(said) if request.repeats_text else ""
        self.prefill_left = self.prompt_tokens + self._accepted
        self.kv_tokens = 0
        self.reserved_tokens = self.prompt_tokens + max(self._length, self._accepted)
        self.gpu_ns = 0
        self.will_fail = will_fail

    def step(self) -> Output:
        """Generate one token."""
        token_id = next_token(self._state)
        text, was_stopped = self._accept(token_id)
        self.kv_tokens += 1
        finish_reason = self._finish_reason(token_id, was_stopped)
        text = self._take_repeated() + text
        if finish_reason is None:
            return Output(key=self.key, text=text, token_ids=[token_id])
        return Output(
            key=self.key,
            text=text + self._flush(),
            token_ids=[token_id],
            finish_reason=finish_reason,
            usage=self.usage,
            gpu_ns=self.gpu_ns,
        )

    def finish(self) -> Output:
        """Generate all tokens that are left: one output with the whole answer."""
        outputs = [self.step()]
        while not outputs[-1].is_last:
            outputs.append(self.step())
        whole = outputs[-1]
        whole.text = "".join(output.text for output in outputs)
        whole.token_ids = [token_id for output in outputs for token_id in output.token_ids]
        return whole

    def completed(self) -> Output:
        """The last output of a sequence that is complete with its continued tokens."""
        return Output(key=self.key, text=self._take_repeated(), finish_reason=self.complete, usage=self.usage)

    def failed(self, error: PipelineError) -> Output:
        """The last output of a sequence that ends with an error."""
        return Output(key=self.key, error=error, usage=self.usage, gpu_ns=self.gpu_ns)

    @property
    def usage(self) -> Usage:
        """Tokens so far, continued ones among them."""
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self._accepted,
            total_tokens=self.prompt_tokens + self._accepted,
        )

    def _accept(self, token_id: int) -> tuple[str, bool]:
        """Take a token as part of the answer: the text that can be shown, and whether a stop string ends it."""
        text = text_of(token_id, self._accepted)
        self._state = advance(self._state, token_id)
        self._accepted += 1
        return (text, False) if self._scanner is None else self._scanner.feed(text)

    def _replay(self, token_id: int) -> str:
        """Take a token that was generated elsewhere; what was said with it."""
        if self.complete is not None:
            return ""
        text, was_stopped = self._accept(token_id)
        self.complete = self._finish_reason(token_id, was_stopped)
        return text if self.complete is None else text + self._flush()

    def _take_repeated(self) -> str:
        repeated, self._repeated = self._repeated, ""
        return repeated

    def _flush(self) -> str:
        return "" if self._scanner is None else self._scanner.flush()

    def _finish_reason(self, token_id: int, was_stopped: bool) -> FinishReason | None:
        if self._accepted >= self._length:
            return "length" if self._length == self._limit else "stop"
        if was_stopped or (token_id in self._stop_ids and self._accepted >= self._min_tokens):
            return "stop"
        return None


def refusal(request: EngineRequest, max_context_tokens: int) -> PipelineError | None:
    """Why a request cannot be served, or None."""
    body = request.body
    prompt_tokens = max(body.prompt_chars // 4, 1)
    wanted = body.token_limit or 1
    if prompt_tokens + wanted > max_context_tokens:
        return ContextTooLong(
            f"prompt has {prompt_tokens} tokens and {wanted} are wanted, the context holds {max_context_tokens}; "
            "shorten the prompt or lower max_tokens",
            param="body.messages" if request.endpoint == CHAT else "body.prompt",
        )
    if body.n > 1:
        return Unsupported(f"n is {body.n}, this engine makes one answer; leave n out", param="body.n")
    return None

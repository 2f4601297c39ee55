"""What the engine knows about each of its sequences. Plain data, changed by the engine on the event loop."""

from dataclasses import dataclass
from typing import Any

from pipeline.engines.protocol import EngineRequest
from pipeline.engines.vllm.logprobs import LogprobsShape
from topics.responses import Usage


@dataclass(slots=True, kw_only=True, eq=False)
class Active:
    """A sequence from `submit` to its last output.

    Attributes:
        arrival: number of the submission, ascending.
        prompt_tokens: of the prompt alone; 0 until it is tokenized.
        produced: tokens generated here; those of the attempts before are in `request.continued`.
        cached_tokens: prompt tokens whose KV the engine had already.
        read_tokens: prompt tokens that were computed in steps so far, as far as can be told.
        gpu_ns: its share of the engine's busy time.
        admitted: vLLM has it.
        repeated: text of tokens continued, to be said with the first output.
    """

    request: EngineRequest
    arrival: int
    prompt_tokens: int = 0
    produced: int = 0
    cached_tokens: int = 0
    read_tokens: int = 0
    gpu_ns: int = 0
    admitted: bool = False
    finished: bool = False
    repeated: str = ""
    logprobs: LogprobsShape | None = None

    @property
    def key(self) -> str:
        """The name that the caller gave it."""
        return self.request.key

    @property
    def priority(self) -> int:
        """Lower goes first."""
        return self.request.priority

    @property
    def prefill_tokens(self) -> int:
        """Tokens to be read before the first one is generated here."""
        return self.prompt_tokens + len(self.request.continued)

    @property
    def kv_tokens(self) -> int:
        """Tokens in the KV cache when all of it is computed."""
        return self.prefill_tokens + self.produced

    def usage(self) -> Usage:
        """Tokens so far, over all attempts of the answer."""
        completion_tokens = len(self.request.continued) + self.produced
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=self.prompt_tokens + completion_tokens,
            cached_tokens=min(self.cached_tokens, self.prompt_tokens),
        )

    def take_repeated(self) -> str:
        """The repeated text, once."""
        repeated, self.repeated = self.repeated, ""
        return repeated

    def shaped_logprobs(self, positions: Any) -> Any:
        """Log probabilities of new positions in the endpoint's shape, or None where none were asked for."""
        return self.logprobs.piece(positions) if self.logprobs is not None and positions else None

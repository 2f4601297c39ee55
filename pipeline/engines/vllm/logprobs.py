"""vLLM's log probabilities in OpenAI's shapes: one for chat, another for completions. Pure, without vLLM."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from topics.bodies import CHAT, Endpoint

_LOWEST = -9999.0
"""In place of minus infinity, which JSON does not have; the value of OpenAI's own server."""


class Candidate(Protocol):
    """vLLM's `Logprob`."""

    logprob: float
    rank: int | None
    decoded_token: str | None


Position = Mapping[int, Candidate]
"""Candidates of one position by token id; the chosen token is the first."""


class LogprobsShape:
    """Shapes the log probabilities of one answer, piece by piece.

    Args:
        endpoint: decides on the shape.
        alternatives: how many of the likeliest tokens are listed for each position.
        text_offset: characters of the answer before the first piece (completions count them).
    """

    def __init__(self, endpoint: Endpoint, *, alternatives: int, text_offset: int = 0) -> None:
        self._endpoint = endpoint
        self._alternatives = alternatives
        self._text_offset = text_offset

    def piece(self, positions: Sequence[Position]) -> dict[str, Any]:
        """The next positions of the answer, in order."""
        return self._chat(positions) if self._endpoint == CHAT else self._completion(positions)

    def _chat(self, positions: Sequence[Position]) -> dict[str, Any]:
        return {"content": [self._chat_position(position) for position in positions]}

    def _chat_position(self, position: Position) -> dict[str, Any]:
        chosen = next(iter(position.values()))
        likeliest = [_chat_candidate(candidate) for candidate in self._likeliest(position)]
        return {**_chat_candidate(chosen), "top_logprobs": likeliest}

    def _completion(self, positions: Sequence[Position]) -> dict[str, Any]:
        chosen = [next(iter(position.values())) for position in positions]
        offsets = []
        for candidate in chosen:
            offsets.append(self._text_offset)
            self._text_offset += len(_text(candidate))
        return {
            "tokens": [_text(candidate) for candidate in chosen],
            "token_logprobs": [_finite(candidate) for candidate in chosen],
            "top_logprobs": [self._completion_candidates(position) for position in positions],
            "text_offset": offsets,
        }

    def _completion_candidates(self, position: Position) -> dict[str, float]:
        """The likeliest tokens, and the chosen one also where it is none of them."""
        chosen = next(iter(position.values()))
        candidates = {_text(candidate): _finite(candidate) for candidate in self._likeliest(position)}
        candidates.setdefault(_text(chosen), _finite(chosen))
        return candidates

    def _likeliest(self, position: Position) -> list[Candidate]:
        ranked = [candidate for candidate in position.values() if (candidate.rank or 0) <= self._alternatives]
        return sorted(ranked, key=lambda candidate: candidate.rank or 0)[: self._alternatives]


def _chat_candidate(candidate: Candidate) -> dict[str, Any]:
    text = _text(candidate)
    return {"token": text, "logprob": _finite(candidate), "bytes": list(text.encode("utf-8", errors="replace"))}


def _text(candidate: Candidate) -> str:
    return candidate.decoded_token or ""


def _finite(candidate: Candidate) -> float:
    return max(candidate.logprob, _LOWEST)

"""Data of the engine's pure parts, with defaults for what a test does not care about."""

from pipeline.engines.protocol import EngineRequest
from pipeline.engines.vllm.sequences import Active
from topics.bodies import COMPLETIONS, CompletionBody


def a_sequence(
    key: str = "k",
    *,
    arrival: int = 0,
    priority: int = 0,
    prompt_tokens: int = 10,
    produced: int = 0,
    continued: tuple[int, ...] = (),
    finished: bool = False,
) -> Active:
    body = CompletionBody(prompt="x")
    request = EngineRequest(key=key, endpoint=COMPLETIONS, body=body, priority=priority, continued=continued)
    return Active(
        request=request,
        arrival=arrival,
        prompt_tokens=prompt_tokens,
        produced=produced,
        admitted=True,
        finished=finished,
    )

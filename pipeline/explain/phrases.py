"""Words for what processes tell in labels and figures. A label that is not known here is told as it is. Pure."""

from collections.abc import Mapping
from typing import Final

from pipeline.explain.facts import Figures

DISPATCHES: Final[Mapping[str, str]] = {
    "least_occupied": "it was the least occupied worker",
    "soonest_first_token": "it promised the soonest first token",
    "only_credit": "it was the only worker with credit",
    "prefix_cached": "it had computed the beginning of this prompt before",
    "fills_gap": "it had room that nothing more urgent asked for",
    "parks_others": "work that yields gave way to it there",
    "worker_idle": "it was idle",
    "worker_frees_soon": "it was about to end its batch, so that this one arrived just in time",
}
"""Why this worker, and then; after `because`."""
DEFERRALS: Final[Mapping[str, str]] = {
    "larger_batch": "a larger batch was worth waiting for and still met every target",
    "credit": "no worker had room for it",
    "workers_busy": "every worker had as many batches as it should have",
    "no_worker": "no worker of its deployment was ready",
    "concurrency": "one more sequence would have slowed the tokens of those that run beyond their target",
    "kv": "the workers' memory for keys and values was needed for those that run",
    "prompt_budget": "more prompts would have held up the tokens of those that run",
}
"""Why requests waited; after `because`."""
REFUSALS: Final[Mapping[str, str]] = {
    "predicted_late": "the prediction said that its target could not be met",
    "would_be_late": "the prediction said that its target could not be met",
    "quota_requests_per_s": "its tenant was over its quota of requests per second",
    "quota_tokens_per_min": "its tenant was over its quota of tokens per minute",
    "quota_concurrent": "its tenant had as many requests in flight as its quota allows",
}
"""Why it was turned away or dropped; after `because`."""
ERRORS: Final[Mapping[str, str]] = {
    "deadline_unmeetable": "its target could not be met any more",
    "deadline_exceeded": "its deadline had passed",
    "rate_limited": "its tenant was over a quota",
    "queue_full": "its lane was full",
    "model_not_found": "its model has no deployment that takes requests",
    "id_conflict": "its id was in use with another body",
    "cancelled": "its sender asked for it",
    "context_length_exceeded": "prompt and answer are longer than the context of the model",
    "engine_dead": "engines died while they ran it",
    "generation_failed": "the engine could not generate its answer",
    "unsupported": "it asks for something that the engine does not do",
    "body_too_large": "it is larger than a request may be",
    "invalid_request": "a field of it is missing or wrong",
    "invalid_deadline": "its deadline_ms is out of range",
    "invalid_reply": "its reply names no partition that answers may go to",
    "unknown_endpoint": "its body has neither messages nor a prompt",
}
"""What an error code says; after `because`."""
WAYS_OUT: Final[Mapping[str, str]] = {
    "deadline_unmeetable": "Send it again later{retry}, with a longer deadline_ms, or add workers.",
    "deadline_exceeded": "Send it with a longer deadline_ms, in a less urgent class, or add workers.",
    "rate_limited": "Send it again later{retry}, or raise the tenant's quota.",
    "queue_full": "Send it again later{retry}, or raise the queue_limit of its class.",
    "model_not_found": "See which deployments serve the model: `millrace config`.",
    "id_conflict": "Use an id of its own for every body.",
    "context_length_exceeded": "Shorten the prompt or lower max_tokens.",
    "engine_dead": "It is among the dead letters with the reason; look there before sending it again.",
    "generation_failed": "Its error record says what happened; it may be sent again.",
    "unsupported": "Its error record names the field; leave it out.",
    "body_too_large": "Shorten its body.",
}
OTHER_WAY_OUT: Final = "Its error record names the field and the limit: `millrace tail {id}`."
ATTEMPT_ENDS: Final[Mapping[str, str]] = {
    "returned": "was stopped and handed back, to go on elsewhere",
    "parked": "gave way to more urgent work and was handed back, to go on later",
    "lost": "was stopped, because its slot belonged to another worker by then",
    "undelivered": "was given up, because the broker refused its records",
    "engine_dead": "ended with its engine, which died",
    "superseded": "had nothing to do: the request had ended, or another attempt answered it",
    "voided": "was given up, because the beginning of the answer was not in the log any more",
}
MODES: Final[Mapping[str, str]] = {
    "fresh": "from the beginning",
    "resume": "where the attempt before had stopped",
    "restart": "from the beginning again; readers void what the attempt before had said",
}
NAMES: Final[Mapping[str, str]] = {
    "predicted_ttft_s": "first token predicted in",
    "predicted_end_in_s": "end predicted in",
    "predicted_wait_s": "wait predicted",
    "margin_s": "kept free of the target",
}
"""Figures whose names say less than they could."""
_UNITS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def why(words: Mapping[str, str], label: str) -> str:
    """Words for a label; the label itself, readable, where there are none."""
    return words.get(label) or label.replace("_", " ")


def way_out(code: str, figures: Figures, request_id: str) -> str:
    """What the sender can do about an end that was not an answer; empty where there is nothing to do."""
    if code == "cancelled":
        return ""
    retry_s = figures.get("retry_after_s", figures.get("predicted_wait_s", 0.0))
    retry = f" (in {span(retry_s)})" if retry_s > 0 else ""
    return WAYS_OUT[code].format(retry=retry) if code in WAYS_OUT else OTHER_WAY_OUT.format(id=request_id)


def told(figures: Figures, *, but: tuple[str, ...] = ()) -> str:
    """Figures in brackets, with their units: ` (slack 310 ms, queue ahead 35 requests)`; empty for none."""
    parts = [figure(name, value) for name, value in figures.items() if name not in but]
    return f" ({', '.join(parts)})" if parts else ""


def figure(name: str, value: float) -> str:
    """One figure: its unit is the end of its name."""
    words = name.split("_")
    if name in NAMES:
        return f"{NAMES[name]} {span(value)}"
    if name.endswith("_per_s"):
        return f"{' '.join(words[:-2])} {number(value)}/s"
    if words[-1] in _UNITS and len(words) > 1:
        return f"{' '.join(words[:-1])} {span(value * _UNITS[words[-1]])}"
    if words[-1] == "ratio":
        return f"{' '.join(words[:-1])} {value:.0%}"
    if words[-1] in ("tokens", "requests", "sequences") and len(words) > 1:
        noun = words[-1].removesuffix("s") if value == 1 else words[-1]
        return f"{' '.join(words[:-1])} {number(value)} {noun}"
    return f"{' '.join(words)} {number(value)}"


def number(value: float) -> str:
    """A number with thousands apart and no more digits than it needs."""
    return f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.3g}"


def span(seconds: float) -> str:
    """A length of time: `0.4 ms`, `12 ms`, `3.41 s`, `5 min 10 s`; the sign is kept."""
    sign, size = ("-", -seconds) if seconds < 0 else ("", seconds)
    if size < 0.00995:
        return f"{sign}{size * 1000:.1f} ms"
    if size < 0.9995:
        return f"{sign}{size * 1000:.0f} ms"
    if size < 60:
        return f"{sign}{size:.2f} s"
    minutes, rest_s = divmod(round(size), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours} h {minutes:02d} min" if hours else f"{sign}{minutes} min {rest_s:02d} s"


def plural(count: int, noun: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"

"""Values that tests of the command line start from."""

from typing import Any

from topics.fleet import Credits, Heartbeat, Limits, Slot
from topics.responses import Completed, Delta, Started, Usage

ORIGIN = "inference.requests.tiny.interactive/0/7"


def a_heartbeat(worker: str = "w1", **fields: Any) -> Heartbeat:
    defaults: dict[str, Any] = {
        "run": "r1",
        "seq": 1,
        "at_ms": 1_000_000,
        "model": "tiny",
        "deployment": "tiny@v1",
        "engine": "simulated",
        "state": "ready",
        "running": 3,
        "waiting": 1,
        "slots": [Slot(partition=1, term=4), Slot(partition=0, term=2)],
        "credits": Credits(free_sequences=13, free_kv_tokens=750),
        "limits": Limits(max_sequences=16, max_kv_tokens=1000, max_batch_tokens=512, max_context_tokens=2048),
    }
    return Heartbeat(worker=worker, **{**defaults, **fields})


def a_started(attempt: str = "a1", **fields: Any) -> Started:
    defaults: dict[str, Any] = {"mode": "fresh", "hop": 0, "dispatch": "d/0/1", "term": 1, "deployment": "tiny@v1"}
    return Started(id="q", origin=fields.pop("origin", ORIGIN), attempt=attempt, **{**defaults, **fields})


def a_delta(attempt: str = "a1", *, seq: int = 0, text: str = "Hi", origin: str = ORIGIN) -> Delta:
    return Delta(id="q", origin=origin, attempt=attempt, seq=seq, text=text, token_ids=[5])


def a_completed(attempt: str = "a1", *, next_seq: int = 1, origin: str = ORIGIN, body: Any = None) -> Completed:
    usage = Usage(prompt_tokens=4, completion_tokens=next_seq, total_tokens=4 + next_seq)
    return Completed(
        id="q", origin=origin, attempt=attempt, next_seq=next_seq, usage=usage, finish_reason="stop", body=body
    )

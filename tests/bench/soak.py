"""A million requests through the cores in virtual time: what is remembered after them, and how much memory that takes.

Scheduler, worker cores and simulated engines are the product's (`tests.virtual_mill`); time is not real, so a million
requests take minutes. Among them are cancelled ones (before they come, while they wait and run), some that expire, that
are sent twice or ask for the same, that are parked, of a thousand tenants, streaming and not.

    python -m tests.bench.soak [--requests 1000000] [--mark 100000]
"""

import argparse
import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.settings import SimulatedDeployment
from processors.policy import ClassPolicy, Policy, TenantPolicy
from tests.bench.report import Report, progress
from tests.bookkeeping import sizes
from tests.virtual_mill import Arriving, VirtualMill
from topics.requests import Request

RATE_PER_S: Final = 3000.0
"""With it every window (ids, deadlines, held cancellations) is full before the first mark."""
TENANTS: Final = 1000
LATE: Final = 512
"""Entries of heaps that are void, and are dropped when they come up or are half of all."""
ENGINE: Final = SimulatedDeployment(
    fixed_us=10_000, per_prefill_token_us=1, per_sequence_us=10, per_kv_token_us=0, max_sequences=64
)
WINDOW_S: Final = 10.0


def policy(window_s: float = WINDOW_S) -> Policy:
    """Deadlines of up to one and a half windows; ids are known for one."""
    window_ms = int(window_s * 1000)
    return Policy(
        model="m",
        classes={
            "realtime": _a_class(0, window_ms // 2, ttft_ms=2000, tpot_ms=200),
            "interactive": _a_class(1, window_ms, ttft_ms=4000, tpot_ms=200),
            "bulk": _a_class(3, window_ms * 3 // 2, e2e_ms=window_ms, yields=True),
        },
        stable="m@v1",
        longest_deadline_ms=window_ms * 3 // 2,
        tenants={"t1": TenantPolicy(requests_per_s=1.0, tokens_per_min=1000, concurrent=2)},
        dedupe_window_s=window_s,
        cache_bytes=1 << 20,
    )


def _a_class(priority: int, deadline_ms: int, **fields: Any) -> ClassPolicy:
    return ClassPolicy(priority=priority, deadline_ms=deadline_ms, queue_limit=2000, **fields)


def a_request(number: int) -> tuple[str, Request]:
    """Class and request of a number."""
    latency_class = "bulk" if number % 5 == 0 else "realtime" if number % 3 == 0 else "interactive"
    twice = number - 700 if number % 100 == 1 else number
    same = number % 50 == 2
    text = "the same question" if same else f"question {twice}"
    tokens = 8 if latency_class == "bulk" else 1 + twice % 2
    fields: dict[str, Any] = {"max_tokens": tokens, "ignore_eos": True, "stream": twice % 2 == 0}
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0 if same else 1, **fields}
    return latency_class, Request(
        id=None if number % 7 == 0 else f"r{twice}",
        tenant=f"t{twice % TENANTS}",
        body=msgspec.Raw(msgspec.json.encode(body)),
        deadline_ms=5 if number % 200 == 3 else None,
    )


def arrivals(mill: VirtualMill, first: int, count: int, *, rate_per_s: float = RATE_PER_S) -> Iterator[Arriving]:
    """The requests from a number on; cancels some of them on the way."""
    begin_s = mill.now_s
    for number in range(first, first + count):
        latency_class, request = a_request(number)
        at_s = begin_s + (number - first) / rate_per_s
        if number % 90 == 4 and request.id is not None:
            for late_s in ((-0.5, 0.004, 0.02)[number // 90 % 3],):
                mill.at(max(at_s + late_s, mill.now_s), _cancelling(mill, request.id, request.tenant))
        yield Arriving(at_s, latency_class, request)


def _cancelling(mill: VirtualMill, request_id: str, tenant: str) -> Any:
    return lambda: mill.cancel(request_id, tenant=tenant)


def remembered(mill: VirtualMill) -> dict[str, int]:
    """What the scheduler and all workers hold."""
    found = sizes(mill.scheduler, "scheduler")
    for worker in mill.workers:
        for path, count in (sizes(worker.core, "worker") | sizes(worker.slot, "slot")).items():
            found[path] = found.get(path, 0) + count
    return found


def a_mill(rules: Policy) -> VirtualMill:
    """Four workers, and nothing kept of what has ended."""
    return VirtualMill(rules, ENGINE, workers=4, keeps=False)


def rss_bytes() -> int:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@dataclass(frozen=True, slots=True)
class Seen:
    """What was there at one moment."""

    rss_bytes: int
    objects: int
    blocks: int
    held: dict[str, int]


def look(mill: VirtualMill) -> Seen:
    """Now, after a collection, and without what the allocator keeps of tables that were copied once (glibc)."""
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    blocks = sys.getallocatedblocks()
    return Seen(rss_bytes=rss_bytes(), objects=len(gc.get_objects()), blocks=blocks, held=remembered(mill))


def soak(requests: int, mark: int) -> tuple[VirtualMill, Seen, Seen]:
    """Let the requests through: what is there after `mark` of them, and after all."""
    mill, done, began_s, marked = a_mill(policy()), 0, time.monotonic(), None
    while done < requests:
        count = min(mark, requests - done)
        mill.run(arrivals(mill, done, count))
        mill.settle()
        done += count
        marked = marked or look(mill)
        progress(f"{done} requests, {time.monotonic() - began_s:.0f} s, {rss_bytes() >> 20} MiB")
    assert marked is not None
    return mill, marked, look(mill)


def grown(marked: Seen, last: Seen) -> list[str]:
    """Structures that hold more than a fifth more than at the mark; what is cleaned up late may hold some more."""
    return [path for path, count in last.held.items() if count > 1.2 * marked.held.get(path, 0) + LATE]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--mark", type=int, default=100_000, help="when to look for the first time; %(default)s")
    args = parser.parse_args()
    mill, marked, last = soak(args.requests, args.mark)
    report = Report("soak")
    report.figure("requests", args.requests)
    report.figure("virtual_s", mill.now_s)
    for name, count in sorted((mill.outcomes + mill.returned).items()):
        report.figure(name, count)
    for name, seen in (("mark", marked), ("end", last)):
        report.figure(f"{name}_rss_mib", seen.rss_bytes / 2**20)
        report.figure(f"{name}_objects", seen.objects)
        report.figure(f"{name}_blocks", seen.blocks)
        report.figure(f"{name}_held", sum(seen.held.values()))
    for path in grown(marked, last):
        progress(f"{path}: {marked.held.get(path, 0)} at the mark, {last.held[path]} at the end")
    report.at_most("structures that hold a fifth more than at the mark", len(grown(marked, last)), 0)
    report.at_most("objects at the end, of those at the mark", last.objects / marked.objects, 1.01)
    report.at_most("allocated blocks at the end, of those at the mark", last.blocks / marked.blocks, 1.02)
    report.at_most("resident memory at the end, of that at the mark", last.rss_bytes / marked.rss_bytes, 1.10)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

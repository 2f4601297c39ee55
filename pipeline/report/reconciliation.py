"""Whether the account adds up over a range: every request has one end, every nanosecond has a place. Pure.

Differences at the ends of a range are no faults: a request that still runs has no end yet, and an attempt that ended
just inside may have been reported just outside.
"""

from typing import Final

from pipeline.report import numbers
from pipeline.report.facts import Facts, LaneEnds, Start
from pipeline.report.markup import Markup
from pipeline.report.page import Column, section, table, verdict

NS_PER_S: Final = 1e9
STARTS: Final = 40


def reconciliation(facts: Facts) -> Markup:
    """A verdict on requests, one on GPU time, and the starts of workers behind it."""
    return section(
        "Does it add up?",
        "Requests are counted by their places in the log and compared with the ends that readers accept; GPU time is "
        "counted in whole nanoseconds.",
        ends_verdict(facts.ends),
        gpu_verdict(facts.starts),
        _starts(facts.starts),
    )


def ends_verdict(lanes: list[LaneEnds]) -> Markup:
    """Produced = ended = rows, or which of them differ."""
    produced, ended, rows = (
        sum(lane.produced for lane in lanes),
        sum(lane.ended for lane in lanes),
        sum(lane.final_rows for lane in lanes),
    )
    counts = f"{produced:,} produced, {ended:,} with an end, {rows:,} final rows."
    if not lanes:
        return verdict("open", "No requests", "No row tells of one that was produced in this range.")
    if rows > ended:
        return verdict("bad", f"{rows - ended:,} requests have two final rows", counts)
    beyond = sum(max(lane.ended - lane.produced, 0) for lane in lanes)
    if beyond:
        says = f"{beyond:,} more end{'s' if beyond > 1 else ''} than places in the log"
        return verdict("bad", says, f"{counts} A lane's offsets do not follow its times, or it was made anew.")
    missing = sum(max(lane.produced - lane.ended, 0) for lane in lanes)
    if missing:
        says = f"{missing:,} request{'s have' if missing > 1 else ' has'} no end yet"
        return verdict("open", says, f"{counts} They still run, or their rows are on their way to ClickHouse.")
    return verdict("good", "Every request has exactly one end", counts)


def gpu_verdict(starts: list[Start]) -> Markup:
    """Attributed + idle + loading + in flight + unobserved = paid, for every start of a worker."""
    if not starts:
        return verdict("open", "No GPU time", "No worker reported any in this range.")

    def total(part: str) -> str:
        return f"{sum(getattr(start, part) for start in starts):,}"

    sums = (
        f"{total('attributed_ns')} attributed to requests + {total('idle_ns')} idle + {total('loading_ns')} loading + "
        f"{total('in_flight_ns')} in flight + {total('unobserved_ns')} unobserved = {total('all_paid_ns')} ns paid."
    )
    wrong = [start for start in starts if not start.holds]
    if wrong:
        names = ", ".join(start.run for start in wrong[:3])
        return verdict("bad", f"GPU time of {len(wrong):,} of {len(starts):,} starts does not add up: {names}", sums)
    return verdict("good", "GPU time adds up to the nanosecond", sums)


def _starts(starts: list[Start]) -> Markup:
    columns = (
        Column(head="start of a worker", kind="name"),
        Column(head="ended", kind="name"),
        *(Column(head=head) for head in ("attempts", "paid", "attributed", "idle", "loading")),
        *(Column(head=head) for head in ("in flight", "unobserved", "difference")),
        Column(head="holds", kind="name"),
    )
    rows = [
        (
            start.run if start.run.startswith(start.worker) else f"{start.worker} {start.run}",
            start.ended,
            numbers.whole(start.attempts),
            *(_seconds(ns) for ns in (start.all_paid_ns, start.attributed_ns, start.idle_ns, start.loading_ns)),
            *(_seconds(ns) for ns in (start.in_flight_ns, start.unobserved_ns)),
            f"{start.difference_ns:,} ns",
            "✓" if start.holds else "✗",
        )
        for start in sorted(starts, key=lambda start: start.holds)[:STARTS]
    ]
    meaning = "Time × GPUs of every start that reported since the range began, from its beginning to its last report."
    more = (
        f"{len(starts) - STARTS:,} more are left out; those that do not hold come first."
        if len(starts) > STARTS
        else ""
    )
    return table("GPU time", meaning, columns, rows, more=more)


def lanes_table(lanes: list[LaneEnds]) -> Markup:
    """Each lane's places in the log, and how many of them have their end."""
    columns = (
        Column(head="lane", kind="name"),
        *(Column(head=head) for head in ("partition", "offsets", "produced", "ended", "final rows", "missing")),
    )
    rows = [
        (
            lane.lane_topic,
            str(lane.lane_partition),
            f"{lane.first_offset} – {lane.last_offset}",
            numbers.whole(lane.produced),
            numbers.whole(lane.ended),
            numbers.whole(lane.final_rows),
            numbers.whole(lane.produced - lane.ended),
        )
        for lane in lanes
    ]
    meaning = (
        "Places in the log from the first to the last request of the range that an end, an attempt or an admission "
        "tells of. What no processor has read yet is not in here."
    )
    return table("Lanes", meaning, columns, rows)


def _seconds(value: int) -> str:
    return numbers.duration_s(value / NS_PER_S)

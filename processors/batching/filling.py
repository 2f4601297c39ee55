"""Which requests make a batch: taken out of the lanes one by one, for as long as the batch stays in time for all."""

from collections.abc import Sequence
from typing import NamedTuple

from processors.batching.class_lane import ClassLane
from processors.batching.forecast import Forecast
from processors.queueing.queues import Queues
from processors.queueing.ticket import Ticket


class Filled(NamedTuple):
    """Requests that go together, and the least time that one of them leaves the batch, in seconds."""

    tickets: list[Ticket]
    slack_s: float


def fill(
    queues: Queues,
    lanes: Sequence[ClassLane],
    forecast: Forecast,
    *,
    size_limit: int,
    start_s: float,
    hop_s: float,
) -> Filled:
    """Take a batch that starts at `start_s` out of the queues; answers then need `hop_s`.

    Requests that are due within two such batches go by class, then everybody by due time. One joins if the batch still
    makes the due time of everybody in it and fits the engine; else its lane is done. A request that may not be shed and
    is late anyway goes along, and its due time binds nobody. The first one always goes.
    """
    model, answered_s = forecast.model, start_s + hop_s
    urgent_ms = 1000 * (answered_s + 2 * forecast.high(size_limit))
    heads = [_head(lane, urgent_ms) for lane in lanes if len(lane.queue)]
    tickets: list[Ticket] = []
    tokens, slack_s = 0, float("inf")
    while heads and len(tickets) < size_limit:
        first = min(heads) if len(heads) > 1 else heads[0]
        ticket, lane = first.ticket, first.lane
        prompt_tokens = ticket.demand.prompt_tokens
        joined, joint_slack_s = tokens + prompt_tokens, min(slack_s, ticket.due_at_ms / 1000 - answered_s)
        if not ticket.may_be_shed and ticket.due_at_ms / 1000 - answered_s < model.high(1, prompt_tokens):
            joint_slack_s = slack_s
        fits = model.high(len(tickets) + 1, joined) <= joint_slack_s + 1e-9 and joined <= forecast.max_tokens
        heads.remove(first)
        if tickets and not fits:
            continue
        tokens, slack_s = joined, joint_slack_s
        tickets.append(ticket)
        queues.leave(ticket)
        if len(lane.queue):
            heads.append(_head(lane, urgent_ms))
    return Filled(tickets, slack_s)


class _Head(NamedTuple):
    """The first request of a lane; compared by what comes before the lane itself, which is never the same for two."""

    calm: bool
    rank: int
    due_at_ms: int
    lane_index: int
    lane: ClassLane
    ticket: Ticket


def _head(lane: ClassLane, urgent_ms: float) -> _Head:
    ticket = lane.queue.head()
    assert ticket is not None
    calm = ticket.due_at_ms >= urgent_ms
    return _Head(calm, 0 if calm else lane.index, ticket.due_at_ms, lane.index, lane, ticket)

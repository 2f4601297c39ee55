"""Which requests make a batch: taken out of the lanes one by one, for as long as the batch stays in time for all."""

import heapq
from collections.abc import Sequence
from math import inf
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
    heapq.heapify(heads)
    tickets: list[Ticket] = []
    tokens, slack_s, max_tokens = 0, inf, forecast.max_tokens
    while heads and len(tickets) < size_limit:
        lane, ticket = heads[0][-2:]
        prompt_tokens, left_s = ticket.demand.prompt_tokens, ticket.due_at_ms / 1000 - answered_s
        joined, joint_slack_s = tokens + prompt_tokens, slack_s
        if left_s < slack_s and (ticket.may_be_shed or left_s >= model.high(1, prompt_tokens)):
            joint_slack_s = left_s
        if tickets and (joined > max_tokens or model.high(len(tickets) + 1, joined) > joint_slack_s + 1e-9):
            heapq.heappop(heads)
            continue
        tokens, slack_s = joined, joint_slack_s
        tickets.append(ticket)
        queues.leave(ticket)
        if len(lane.queue):
            heapq.heapreplace(heads, _head(lane, urgent_ms))
        else:
            heapq.heappop(heads)
    return Filled(tickets, slack_s)


_Head = tuple[bool, int, int, int, ClassLane, Ticket]
"""The first request of a lane: whether it can wait, its class if not, its due time, the number of the lane, which no
other has, and the lane and the request themselves."""


def _head(lane: ClassLane, urgent_ms: float) -> _Head:
    ticket = lane.queue.head()
    assert ticket is not None
    due_ms, index = ticket.due_at_ms, lane.index
    return (False, index, due_ms, index, lane, ticket) if due_ms < urgent_ms else (True, 0, due_ms, index, lane, ticket)

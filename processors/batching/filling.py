"""Which requests make a batch: taken out of the lanes one by one, for as long as the batch stays in time for all."""

import heapq
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from processors.batching.class_lane import ClassLane
from processors.batching.forecast import Forecast
from processors.queueing.lane import LaneQueue
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
    model, answered_s, max_tokens = forecast.model, start_s + hop_s, forecast.max_tokens
    safety, base_s, each_s, token_s = model.safety, model.base_s, model.each_s, model.token_s
    urgent_ms = 1000 * (answered_s + 2 * forecast.high(size_limit))
    heads = [_head(lane, first, urgent_ms) for lane in lanes if (first := lane.queue.head()) is not None]
    heapq.heapify(heads)
    tickets: list[Ticket] = []
    size, tokens, slack_s, replace = 0, 0, inf, heapq.heapreplace
    while heads and size < size_limit:
        _, _, due_ms, index, queue, ticket = heads[0]
        prompt_tokens, left_s = ticket.demand.prompt_tokens, due_ms / 1000 - answered_s
        joined, joint_slack_s = tokens + prompt_tokens, slack_s
        if left_s < slack_s and (ticket.may_be_shed or left_s >= model.high(1, prompt_tokens)):
            joint_slack_s = left_s
        high_s = safety * (base_s + each_s * (size + 1) + token_s * joined)  # model.high, without the call
        if size and (joined > max_tokens or high_s > joint_slack_s + 1e-9):
            heapq.heappop(heads)
            continue
        size, tokens, slack_s = size + 1, joined, joint_slack_s
        tickets.append(ticket)
        following = queue.serve(ticket)
        if following is None:
            heapq.heappop(heads)
        elif (due_ms := following.due_at_ms) < urgent_ms:
            replace(heads, (False, index, due_ms, index, queue, following))
        else:
            replace(heads, (True, 0, due_ms, index, queue, following))
    queues.left(tickets)
    return Filled(tickets, slack_s)


_Head = tuple[bool, int, int, int, LaneQueue, Ticket]
"""The first request of a lane: whether it can wait, its class if not, its due time, the number of the lane, which no
other has, and its queue and the request themselves."""


def _head(lane: ClassLane, ticket: Ticket, urgent_ms: float) -> _Head:
    due_ms, index = ticket.due_at_ms, lane.index
    can_wait = due_ms >= urgent_ms
    return can_wait, 0 if can_wait else index, due_ms, index, lane.queue, ticket

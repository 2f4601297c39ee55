"""The Faust app of one model.

    topic                                   agent            leads to
    ------------------------------------------------------------------------------------------------------------
    inference.requests.<model>.<class>      lane_agent       inference.dispatch.<deployment>   a dispatch
                                                             inference.responses[.<name>]      rejected, expired ...
                                                             inference.dlq                     no request at all
    inference.returns.<model>               returns_agent    as a lane, with the next hop

Broadcast topics (heartbeats, cancellations, control) are read without a group, by whoever runs the app.
"""

import asyncio
import contextlib
from typing import Any, Final

from faust.types import TP

from processors.agents.lanes import Agent, lane_agent
from processors.agents.returns import returns_agent
from processors.flow import LaneApp, MakeConsumer
from processors.policy import Policy
from processors.shards import Shards
from topics import names

FETCH_BYTES: Final = 64 * 1024
"""Per partition and fetch. A paused lane still takes what was fetched, so this bounds how far its queue overshoots."""
COMMIT_INTERVAL_S: Final = 0.3
MAX_POLL_RECORDS: Final = 64
"""Handed on at once; the lanes take turns after that."""
FLUSH_S: Final = 2.0
"""A shard is kept from its next owner for so long, until what was decided lies in the log, where that one looks."""
STREAM_BUFFER: Final = 1024
"""Records between fetcher and agent: a lane that is paused overshoots its limit by no more."""


def group_of(model: str) -> str:
    """Consumer group of the processors of a model."""
    return f"millrace.{model}"


class FaustFlow:
    """Holds and releases partitions of an app that is made later than its shards."""

    def __init__(self) -> None:
        self.app: LaneApp | None = None

    def hold(self, topic: str, partition: int) -> None:
        """Fetch no more of it."""
        if self.app is not None:
            self.app.lane_consumer.hold(TP(topic, partition))

    def release(self, topic: str, partition: int) -> None:
        """Fetch it again."""
        if self.app is not None:
            self.app.lane_consumer.release(TP(topic, partition))

    async def lags(self) -> dict[str, int]:
        """By topic, records in the partitions that the app owns which it has not committed; asks the broker."""
        if self.app is None:
            return {}
        lags: dict[str, int] = {}
        for tp, lag in (await self.app.lane_consumer.lags()).items():
            lags[tp.topic] = lags.get(tp.topic, 0) + lag
        return lags


def build_app(policy: Policy, shards: Shards, flow: FaustFlow, *, make_consumer: MakeConsumer) -> LaneApp:
    """The app of a model, not started. Must be made inside the event loop that runs it.

    Args:
        policy: the model and its classes, one lane each.
        shards: what the records are handed to.
        flow: is bound to the app.
        make_consumer: makes the client of the group `group_of(model)`, with `FETCH_BYTES` per partition,
            `MAX_POLL_RECORDS`, no commits of its own and the assignor that it is given.
    """
    app = LaneApp(
        group_of(policy.model),
        broker="kafka://unused",  # make_consumer knows the broker
        autodiscover=False,
        broker_commit_interval=COMMIT_INTERVAL_S,
        key_serializer="raw",
        stream_buffer_maxsize=STREAM_BUFFER,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        value_serializer="raw",
        web_enabled=False,
    )
    app.finalize()
    app.use(make_consumer)
    flow.app = app
    for latency_class in policy.by_priority():
        lane = names.Lane(policy.model, latency_class)
        _add_agent(app, lane.topic, f"lane-{latency_class}", lane_agent(shards, latency_class))
    _add_agent(app, names.returns_topic(policy.model), "returns", returns_agent(shards))
    _connect(app, shards)
    return app


def _add_agent(app: LaneApp, topic: str, name: str, agent: Agent) -> None:
    channel = app.topic(topic, key_type=bytes, value_type=bytes)
    app.agent(channel, name=name, concurrency=1)(agent)


def _connect(app: LaneApp, shards: Shards) -> None:
    async def on_assigned(_: Any, /, *told: Any, signal: Any, **__: Any) -> None:
        assigned: set[TP] = told[0]
        app.lane_consumer.release_all(assigned)
        shards.on_assigned({tp.partition for tp in assigned})

    async def on_revoked(_: Any, /, *told: Any, signal: Any, **__: Any) -> None:
        revoked: set[TP] = told[0]
        app.lane_consumer.release_all(revoked)
        shards.on_revoked({tp.partition for tp in revoked})
        with contextlib.suppress(TimeoutError):  # the next owner dispatches again what it does not find
            await asyncio.wait_for(shards.flush(), FLUSH_S)

    app.on_partitions_assigned.connect(on_assigned)
    app.on_partitions_revoked.connect(on_revoked)

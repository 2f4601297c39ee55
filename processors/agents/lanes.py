"""The agent of one lane. It hands records on in order and acknowledges nothing: the shards do, when it is safe."""

from collections.abc import Awaitable, Callable
from typing import Any

from processors.agents.records import lane_record
from processors.shards import Shards

Agent = Callable[[Any], Awaitable[None]]


def lane_agent(shards: Shards, latency_class: str) -> Agent:
    """An agent for the lane of a class. Faust yields to the loop between records, so a flood blocks nobody."""

    async def lane(stream: Any) -> None:
        async for event in stream.noack().events():
            shards.on_lane_record(lane_record(event), latency_class)

    return lane

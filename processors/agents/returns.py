"""The agent of a model's returns: work that workers hand back."""

from typing import Any

from processors.agents.lanes import Agent
from processors.agents.records import lane_record
from processors.shards import Shards


def returns_agent(shards: Shards) -> Agent:
    """An agent for the returns topic. It is never held: what comes back has been admitted already."""

    async def returns(stream: Any) -> None:
        async for event in stream.noack().events():
            shards.on_return_record(lane_record(event))

    return returns

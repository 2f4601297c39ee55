"""The client library: requests in, tokens out, over Kafka alone.

    async with Client(brokers="127.0.0.1:9092") as client:
        async for delta in client.stream(model="smollm2", messages=[{"role": "user", "content": "Hello"}]):
            print(delta.text, end="")

`SyncClient` is the same without asyncio. Errors are the classes of `topics.errors`; README.md has the rest.
"""

from pipeline.client.answer import Delta, Result
from pipeline.client.client import Client
from pipeline.client.failures import AnswerNotFound, AnswerTimeout
from pipeline.client.resume import Resumed
from pipeline.client.stream import Handle, Stream
from pipeline.client.sync import SyncClient, SyncHandle, SyncResumed, SyncStream
from pipeline.client.timeouts import Timeouts

__all__ = [
    "AnswerNotFound",
    "AnswerTimeout",
    "Client",
    "Delta",
    "Handle",
    "Result",
    "Resumed",
    "Stream",
    "SyncClient",
    "SyncHandle",
    "SyncResumed",
    "SyncStream",
    "Timeouts",
]

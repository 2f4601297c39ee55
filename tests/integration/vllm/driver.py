"""The real `VllmEngine` in a process of its own, in the engine's environment: JSON lines in, JSON lines out.

Run as `python -m tests.integration.vllm.driver`. Each line in has an `op`; each line out an `event`. Outputs come as
the engine delivers them, one line for each call of `deliver`.
"""

import asyncio
import os
import sys
import time
from typing import Any

import msgspec
import uvloop

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.vllm.engine import VllmEngine
from pipeline.settings.model import VllmDeployment
from topics.bodies import decode_body
from topics.errors import EngineDead
from topics.responses import ErrorBody


class Driver:
    """Runs one engine after the other, as the lines say."""

    def __init__(self, out: int) -> None:
        self._out = out
        self._engine: VllmEngine | None = None
        self._joining: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the lines end."""
        lines = asyncio.StreamReader(limit=2**24)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            command = msgspec.json.decode(line)
            await getattr(self, command.pop("op"))(**command)

    async def start(self, deployment: dict[str, Any]) -> None:
        self._engine = VllmEngine(msgspec.convert(deployment, VllmDeployment))
        began_s = time.monotonic()
        try:
            await self._engine.start(self._deliver)
        except EngineDead as error:
            self._say("failed", message=error.message)
            return
        self._joining = asyncio.create_task(self._join(self._engine))
        self._say("started", limits=self._engine.limits, gpus=self._engine.gpus, took_s=time.monotonic() - began_s)

    async def submit(self, requests: list[dict[str, Any]]) -> None:
        assert self._engine is not None
        for request in requests:
            body = decode_body(request["endpoint"], msgspec.json.encode(request.pop("body")))
            continued = tuple(request.pop("continued", ()))
            self._engine.submit(EngineRequest(body=body, continued=continued, **request))

    async def abort(self, key: str) -> None:
        assert self._engine is not None
        self._engine.abort(key)

    async def load(self) -> None:
        assert self._engine is not None
        self._say("load", load=self._engine.load())

    async def steps(self) -> None:
        assert self._engine is not None
        self._say("steps", steps=self._engine.take_steps())

    async def timings(self) -> None:
        assert self._engine is not None
        self._say("timings", timings=self._engine.take_timings())

    async def stop(self) -> None:
        assert self._engine is not None
        await self._engine.stop()
        self._say("stopped")

    async def _join(self, engine: VllmEngine) -> None:
        try:
            await engine.join()
        except EngineDead as error:
            self._say("dead", message=error.message)
        else:
            self._say("joined")

    def _deliver(self, outputs: list[Output]) -> None:
        self._say("outputs", outputs=[_plain(output) for output in outputs])

    def _say(self, event: str, **fields: Any) -> None:
        os.write(self._out, msgspec.json.encode({"event": event, **fields}) + b"\n")


def _plain(output: Output) -> dict[str, Any]:
    plain = {field: getattr(output, field) for field in output.__struct_fields__}
    plain["error"] = output.error and ErrorBody.of(output.error)
    return plain


def main() -> None:
    # Whatever a library prints must not come between the lines.
    out = os.dup(1)
    os.dup2(2, 1)
    uvloop.run(Driver(out).run())


if __name__ == "__main__":
    main()

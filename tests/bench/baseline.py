"""The usual server, for comparison: FastAPI with server-sent events in front of the same engine, one process.

No queue, no log, no trace, no take-over: what a client gets when everything fits. Run as a process of its own
with the port as its argument.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from pipeline.engines.protocol import EngineRequest, Output
from pipeline.engines.simulated.engine import SimulatedEngine
from pipeline.settings import SimulatedDeployment, load
from topics.bodies import CHAT, decode_body


def build(deployment: SimulatedDeployment) -> FastAPI:
    """The application, with the engine started and stopped with it."""
    engine = SimulatedEngine(deployment)
    outputs: dict[str, asyncio.Queue[Output]] = {}

    def deliver(step: list[Output]) -> None:
        for output in step:
            outputs[output.key].put_nowait(output)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await engine.start(deliver)
        yield
        await engine.stop()

    app = FastAPI(lifespan=lifespan)
    serial = iter(range(sys.maxsize))

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> StreamingResponse:
        body = decode_body(CHAT, await request.body())
        key = str(next(serial))
        outputs[key] = asyncio.Queue()
        engine.submit(EngineRequest(key=key, endpoint=CHAT, body=body))
        return StreamingResponse(_events(outputs, key), media_type="text/event-stream")

    return app


async def _events(outputs: dict[str, asyncio.Queue[Output]], key: str) -> AsyncIterator[bytes]:
    while True:
        output = await outputs[key].get()
        chunk: dict[str, Any] = {
            "id": key,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": output.text}, "finish_reason": output.finish_reason}],
        }
        yield b"data: " + orjson.dumps(chunk) + b"\n\n"
        if output.is_last:
            break
    del outputs[key]
    yield b"data: [DONE]\n\n"


if __name__ == "__main__":
    settings = load(Path(__file__).with_name("millrace.toml"), environ={})
    bench = settings.deployments["bench@v1"]
    assert isinstance(bench, SimulatedDeployment)
    uvicorn.run(
        build(bench), host="127.0.0.1", port=int(sys.argv[1]), log_level="error", loop="uvloop", access_log=False
    )

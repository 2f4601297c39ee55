"""Handing spans to an OTLP receiver, for as long as it takes. The wire is the exporter's of the OpenTelemetry SDK."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

logger = logging.getLogger(__name__)

MAX_SPANS: Final = 512
"""Of one export."""
RETRY_S: Final = (1.0, 5.0, 15.0, 30.0)
PATH: Final = "/v1/traces"


class SpanExport:
    """Exports to one receiver. While it is away spans wait here, and what makes them waits for this.

    Spans that a receiver refuses though it takes others are given up with an error in the log: they would be refused
    for ever. Whether it is away is asked with an export of nothing.

    Args:
        endpoint: base URL of the receiver. Headers, certificates, timeout and compression follow the standard variables
            `OTEL_EXPORTER_OTLP_*`.
        stop: ends waiting for a receiver that is away.
    """

    def __init__(self, endpoint: str, stop: asyncio.Event) -> None:
        self._otlp = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH)
        self._stop = stop
        self.exported = 0
        """Spans that the receiver has taken."""
        self.given_up = 0
        """Spans that it never will."""

    async def export(self, spans: Sequence[ReadableSpan]) -> bool:
        """Export all; False where `stop` came before the receiver had them."""
        for first in range(0, len(spans), MAX_SPANS):
            if not await self._deliver(spans[first : first + MAX_SPANS]):
                return False
        return True

    async def close(self) -> None:
        """Give up connections."""
        await asyncio.to_thread(self._otlp.shutdown)

    async def _deliver(self, spans: Sequence[ReadableSpan]) -> bool:
        tries = 0
        while not await self._takes(spans):
            if self._stop.is_set():
                return False
            if await self._takes(()) and not await self._takes(spans):
                self.given_up += len(spans)
                logger.error("%s spans are refused by the receiver and given up", len(spans))
                return True
            await self._pause(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1
        self.exported += len(spans)
        return True

    async def _takes(self, spans: Sequence[ReadableSpan]) -> bool:
        return await asyncio.to_thread(self._otlp.export, spans) is SpanExportResult.SUCCESS

    async def _pause(self, seconds: float) -> None:
        stopping = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([stopping], timeout=seconds)
        stopping.cancel()

"""An OTLP receiver over HTTP: takes protobuf as a collector does, and keeps the spans."""

import contextlib
import gzip
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A span as it came, with the service that its resource names. Ids are hexadecimal."""

    span: Span
    service: str
    instance: str

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def trace(self) -> str:
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        return self.span.parent_span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return {pair.key: _value(pair.value) for pair in self.span.attributes}


@dataclass(slots=True)
class Receiver:
    """What came so far.

    `status` is what the next exports are answered with, but those that it `refuses` by their number of spans: with 400.
    """

    url: str = ""
    status: int = 200
    refuses: Callable[[int], bool] = lambda spans: False
    requests: int = 0
    spans: list[Received] = field(default_factory=list)

    def of_trace(self, trace: str) -> list[Received]:
        return [received for received in self.spans if received.trace == trace]

    def answer(self, body: bytes) -> int:
        self.requests += 1
        groups = ExportTraceServiceRequest.FromString(body).resource_spans
        if self.refuses(sum(len(scope.spans) for group in groups for scope in group.scope_spans)):
            return 400
        if self.status == 200:
            self._take(groups)
        return self.status

    def _take(self, groups: Iterable[ResourceSpans]) -> None:
        for group in groups:
            resource = {pair.key: _value(pair.value) for pair in group.resource.attributes}
            self.spans += [
                Received(span=span, service=resource["service.name"], instance=resource.get("service.instance.id", ""))
                for scope in group.scope_spans
                for span in scope.spans
            ]


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port, for the length of the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces", self.path
            assert self.headers["Content-Type"] == "application/x-protobuf"
            self.send_response(receiver.answer(gzip.decompress(body) if self._is_compressed() else body))
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def _is_compressed(self) -> bool:
            return self.headers["Content-Encoding"] == "gzip"

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None

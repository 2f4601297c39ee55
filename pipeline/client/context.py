"""The trace context of the caller, where the program that uses the client is traced with OpenTelemetry.

The API package is not needed: without it there is no active span either.
"""

from topics.headers import TRACEPARENT, TRACESTATE, Headers

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # pragma: no cover - the client alone, in an environment without it

    def active_context() -> Headers:
        """Nothing can be active."""
        return []

else:
    _PROPAGATOR = TraceContextTextMapPropagator()

    def active_context() -> Headers:
        """Headers that name the span which is active where this is called; none where none is.

        Source: W3C Trace Context, `traceparent` and `tracestate`.
        """
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return [(name, carrier[name].encode("ascii")) for name in (TRACEPARENT, TRACESTATE) if name in carrier]

"""Spans for OpenTelemetry, made of the rows of the account after the fact: no request waits for them."""

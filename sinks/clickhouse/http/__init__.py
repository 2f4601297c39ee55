"""ClickHouse's HTTP interface over the embedded engine, and the engine itself for the process that owns it.

An ordinary ClickHouse client finds here what it finds at a server: statements and parameters, settings, sessions,
users, compression, streamed results and inserts, errors with their codes. What a server has besides is not here:
clusters, grants, TLS, the native protocol, ClickHouse's own block compression.
"""

from sinks.clickhouse.http.access import User
from sinks.clickhouse.http.embedded import EmbeddedServer
from sinks.clickhouse.http.errors import StatementError
from sinks.clickhouse.http.limits import Limits

__all__ = ["EmbeddedServer", "Limits", "StatementError", "User"]

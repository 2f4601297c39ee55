"""`python -m sinks.clickhouse.http --path DIR`: the embedded ClickHouse as a process of its own."""

import argparse
import asyncio
import signal

from sinks.clickhouse.http.access import User
from sinks.clickhouse.http.embedded import DEFAULT_POOL, EmbeddedServer
from sinks.clickhouse.http.limits import Limits


def main(argv: list[str] | None = None) -> int:
    """Serve until told to stop; prints the address on its first line."""
    arguments = _parser().parse_args(argv)
    asyncio.run(_serve(_server(arguments)))
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = Limits()
    parser = argparse.ArgumentParser(
        prog="python -m sinks.clickhouse.http",
        description="ClickHouse's HTTP interface over the embedded engine.",
        epilog="example: python -m sinks.clickhouse.http --path data/clickhouse --port 8123 --readonly-user viewer",
    )
    parser.add_argument("--path", required=True, help="directory of the engine; locked while it is served")
    parser.add_argument("--host", default="127.0.0.1", help="interface to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8123, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("--database", default="default", help="made if missing (default: %(default)s)")
    parser.add_argument("--pool", type=int, default=DEFAULT_POOL, help="statements at once (default: %(default)s)")
    parser.add_argument("--user", action="append", metavar="NAME[:PASSWORD]", help="may be repeated (default: default)")
    parser.add_argument("--readonly-user", action="append", metavar="NAME[:PASSWORD]", help="may be repeated")
    parser.add_argument(
        "--max-memory-bytes",
        type=int,
        default=defaults.max_memory_usage_bytes,
        help="of one statement, 0 for no limit (default: %(default)s)",
    )
    parser.add_argument(
        "--max-time-s",
        type=float,
        default=defaults.max_execution_time_s,
        help="of one statement, 0 for no limit (default: %(default)s)",
    )
    parser.add_argument(
        "--max-total-memory-bytes",
        type=int,
        help="of all statements together, 0 for no limit (default: two fifths of the machine's)",
    )
    return parser


def _server(arguments: argparse.Namespace) -> EmbeddedServer:
    users = [_user(text, readonly=False) for text in arguments.user or ["default"]]
    users += [_user(text, readonly=True) for text in arguments.readonly_user or []]
    return EmbeddedServer(
        arguments.path,
        host=arguments.host,
        port=arguments.port,
        users=users,
        database=arguments.database,
        pool=arguments.pool,
        limits=Limits(
            max_memory_usage_bytes=arguments.max_memory_bytes,
            max_execution_time_s=arguments.max_time_s,
            max_total_memory_bytes=arguments.max_total_memory_bytes,
        ),
    )


def _user(text: str, *, readonly: bool) -> User:
    name, _, password = text.partition(":")
    return User(name=name, password=password, readonly=readonly)


async def _serve(server: EmbeddedServer) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.start()
    print(server.url, flush=True)
    try:
        await stopping.wait()
    finally:
        await server.stop()


if __name__ == "__main__":
    raise SystemExit(main())

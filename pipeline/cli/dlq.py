"""The dead letters: records that could not be read, that did not fit, or that killed engines, with the reason.

`list` shows the newest first; `show` one of them whole, its bytes only with --payload: they may be prompts. `replay`
puts letters back where they came from, each once: one that was put back before is skipped, also after a crash. What
cannot be put back is told and exits with 1. `purge` removes letters up to a position and with it, or all.
"""

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Final

from pipeline.cli.arguments import positive, settings_of
from pipeline.cli.failures import FAILED, OK, USAGE, reaching_kafka, tell
from pipeline.cli.output import emit_json, terminal
from pipeline.cli.views.dlq import letter_view, letters_table, listed, outcomes_table, shown
from pipeline.deadletters.letters import Position, Wanted, moment_ms
from pipeline.deadletters.replay import Replay
from pipeline.deadletters.shelf import shelf
from pipeline.settings import Settings
from topics.errors import SettingsError

LISTED: Final = 50
REPLAYED: Final = 1000
EXAMPLE = """\
millrace dlq list --code undecodable --since 1h
millrace dlq show 0/17 --payload
millrace dlq replay 0/17
millrace dlq replay --all --code undecodable --dry-run
millrace dlq purge 0/17 --yes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and with which letters."""
    parser.add_argument("action", choices=("list", "show", "replay", "purge"), help="what to do")
    parser.add_argument("position", nargs="?", metavar="POSITION", help="one letter, partition/offset as listed")
    parser.add_argument("--all", action="store_true", help="replay, purge: instead of a position")
    parser.add_argument("--code", metavar="C", help="list, replay --all: only with this error code")
    parser.add_argument("--topic", metavar="T", help="list, replay --all: only from this topic")
    parser.add_argument(
        "--since", metavar="WHEN", help="list, replay --all: from then on; 90s, 30m, 1h, 7d or ISO 8601"
    )
    parser.add_argument(
        "--limit", metavar="N", type=positive, help=f"letters at most; default: {LISTED} listed, {REPLAYED} replayed"
    )
    parser.add_argument("--payload", action="store_true", help="show: the bytes too, as text or in hex")
    parser.add_argument("--dry-run", action="store_true", help="replay: only say what would be put back where")
    parser.add_argument("--yes", action="store_true", help="purge: do it; without it, only say what would go")


def run(args: argparse.Namespace) -> int:
    """Do it."""
    position = _position(args)
    wanted = Wanted(code=args.code, topic=args.topic, since_ms=_since_ms(args))
    settings = settings_of(args)
    with reaching_kafka(settings.kafka.brokers):
        match args.action:
            case "list":
                return asyncio.run(_list(args, settings, wanted))
            case "show":
                return asyncio.run(_show(args, settings, position))
            case "replay":
                return asyncio.run(_replay(args, settings, position, wanted))
            case _:
                return asyncio.run(_purge(args, settings, position))


def _position(args: argparse.Namespace) -> Position | None:
    """The position of the line.

    Raises:
        SettingsError: it is missing, or there is one too many.
    """
    if args.action == "list" and (args.position is not None or args.all):
        raise SettingsError("`dlq list` takes no position; `millrace dlq show POSITION` shows one letter")
    if args.action == "show" and (args.position is None or args.all):
        raise SettingsError("which letter? `millrace dlq show POSITION`, as `millrace dlq list` shows it")
    if args.action in ("replay", "purge") and (args.position is None) is not args.all:
        raise SettingsError(f"which letters? name one position or give --all: `millrace dlq {args.action} POSITION`")
    if args.action == "purge" and (args.code or args.topic or args.since):
        raise SettingsError(
            "`dlq purge` cannot choose: Kafka removes records only from the oldest on, up to a position"
        )
    return None if args.position is None else Position.of(args.position)


def _since_ms(args: argparse.Namespace) -> int | None:
    return None if args.since is None else moment_ms(args.since, datetime.now(UTC))


async def _list(args: argparse.Namespace, settings: Settings, wanted: Wanted) -> int:
    async with shelf(settings.kafka) as letters:
        seen = await letters.newest(wanted, limit=args.limit or LISTED)
    if args.json:
        emit_json([listed(letter, seen.ledger) for letter in seen.letters])
    else:
        terminal().print(letters_table(seen.letters, seen.ledger))
    if seen.matching > len(seen.letters):
        tell(f"the newest {len(seen.letters)} of {seen.matching} letters; --limit shows more")
    return OK


async def _show(args: argparse.Namespace, settings: Settings, position: Position | None) -> int:
    assert position is not None, "checked when the line was read"
    async with shelf(settings.kafka) as letters:
        letter = await letters.letter(position)
    said = shown(letter, with_payload=args.payload)
    emit_json(said) if args.json else terminal().print(letter_view(said), soft_wrap=True)
    return OK


async def _replay(args: argparse.Namespace, settings: Settings, position: Position | None, wanted: Wanted) -> int:
    async with shelf(settings.kafka) as letters:
        if position is not None:
            letter = await letters.letter(position)
            _, seen = await letters.positions(Wanted(since_ms=letter.at_ms))
            chosen, left = [position], 0
        else:
            found, seen = await letters.positions(wanted)
            todo = [place for place in found if seen.ledger.replayed_at(place.address) is None]
            chosen = todo[: args.limit or REPLAYED]
            left = len(todo) - len(chosen)
        outcomes = await Replay(settings.kafka, letters, seen, dry_run=args.dry_run).put_back(chosen)
    emit_json(outcomes) if args.json else terminal().print(outcomes_table(outcomes))
    if left:
        tell(f"{len(chosen)} letters were taken, {left} are left: run it again, or give a larger --limit")
    return FAILED if any(outcome.state == "impossible" for outcome in outcomes) else OK


async def _purge(args: argparse.Namespace, settings: Settings, position: Position | None) -> int:
    async with shelf(settings.kafka) as letters:
        doomed = await (letters.purge(position) if args.yes else letters.doomed(position))
    ranges = [
        {"partition": place.partition, "from": first, "to": end - 1} for place, (first, end) in sorted(doomed.items())
    ]
    if args.json:
        emit_json({"removed": args.yes, "offsets": ranges})
    else:
        verb = "removed" if args.yes else "would be removed"
        for entry in ranges:
            terminal().print(f"partition {entry['partition']}: offsets {entry['from']} to {entry['to']} {verb}")
    if not ranges:
        tell("there is nothing to remove")
    elif not args.yes:
        tell("nothing was removed: it cannot be undone; give --yes to do it")
        return USAGE
    return OK

"""Arrival traces of real services, read from the files that they are published as.

Known are CSV files of Azure (`TIMESTAMP, ContextTokens, GeneratedTokens`), BurstGPT (`Timestamp, Model, Request tokens,
Response tokens, ...`), and of the one form that holds all of them and ServeGen (`arrival_s, input_tokens,
output_tokens, session_id, tenant, prefix_hashes, ...`), and Mooncake's JSON lines (`timestamp, input_length,
output_length, hash_ids`; a name with `.jsonl`). What gzip has packed is unpacked.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from msgspec import Struct

from topics.errors import InvalidRequest

Row = dict[str, str]
_GZIP: Final = b"\x1f\x8b"
BLOCK_TOKENS: Final = 512
"""Tokens of a block of `Arrival.blocks`, in all traces that have them. The last one of a prompt may be shorter."""


class Arrival(Struct, kw_only=True, frozen=True):
    """One request of a trace.

    Attributes:
        at_s: seconds after the first one.
        tenant: who sent it; empty where the trace does not tell.
        blocks: ids of the prompt's blocks of `BLOCK_TOKENS`, from its beginning on. Equal ids mean that all before them
            is equal, too. None where the trace does not tell.
    """

    at_s: float
    prompt_tokens: int
    answer_tokens: int
    tenant: str = ""
    blocks: tuple[int, ...] = ()


def read_trace(path: Path) -> list[Arrival]:
    """All requests of a file, in order of arrival, the first at 0.

    Raises:
        InvalidRequest: the file cannot be read, is none of the known forms, or a line is broken; the message names it.
    """
    try:
        with _opened(path) as file:
            arrivals = list(_from_json(file, path) if ".jsonl" in path.suffixes else _from_csv(file, path))
    except OSError as error:
        raise InvalidRequest(f"cannot read the trace {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, EOFError, zlib.error, csv.Error) as error:
        raise InvalidRequest(f"{path} is neither text nor whole gzip: {error}") from error
    if not arrivals:
        raise InvalidRequest(f"{path} has no requests")
    arrivals.sort(key=lambda arrival: arrival.at_s)
    begin_s = arrivals[0].at_s
    return [_moved(arrival, begin_s) for arrival in arrivals]


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        is_packed = file.read(len(_GZIP)) == _GZIP
    return gzip.open(path, "rt", encoding="utf-8") if is_packed else path.open(encoding="utf-8")


def _from_csv(file: Iterable[str], path: Path) -> Iterator[Arrival]:
    rows = csv.DictReader(file)
    columns = set(rows.fieldnames or ())
    reader = next((reader for needed, reader in _READERS if needed <= columns), None)
    if reader is None:
        known = "; ".join(", ".join(sorted(needed)) for needed, _ in _READERS)
        found = ", ".join(sorted(columns)) or "none"
        raise InvalidRequest(f"{path} has the columns {found}; a trace has a row for each request, with: {known}")
    yield from _read(rows, reader, path, first=2)


def _from_json(file: Iterable[str], path: Path) -> Iterator[Arrival]:
    yield from _read((line for line in file if line.strip()), _mooncake, path, first=1)


def _read(rows: Iterable[Any], reader: Callable[[Any], Arrival], path: Path, *, first: int) -> Iterator[Arrival]:
    for number, row in enumerate(rows, start=first):
        try:
            yield reader(row)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest(f"{path}, line {number} is no request of a trace: {error}") from error


def _plain(row: Row) -> Arrival:
    return Arrival(
        at_s=float(row["arrival_s"]),
        prompt_tokens=int(row["input_tokens"]),
        answer_tokens=int(row["output_tokens"]),
        tenant=row.get("tenant") or "",
        blocks=_blocks(row.get("prefix_hashes") or ""),
    )


def _azure(row: Row) -> Arrival:
    at = datetime.fromisoformat(row["TIMESTAMP"][:26])
    return Arrival(
        at_s=at.replace(tzinfo=at.tzinfo or UTC).timestamp(),
        prompt_tokens=int(row["ContextTokens"]),
        answer_tokens=int(row["GeneratedTokens"]),
    )


def _burstgpt(row: Row) -> Arrival:
    return Arrival(
        at_s=float(row["Timestamp"]),
        prompt_tokens=int(row["Request tokens"]),
        answer_tokens=int(row["Response tokens"]),
        tenant="/".join(filter(None, (row.get("Model"), row.get("Log Type")))),
    )


def _mooncake(line: str) -> Arrival:
    row = json.loads(line)
    return Arrival(
        at_s=row["timestamp"] / 1000,
        prompt_tokens=int(row["input_length"]),
        answer_tokens=int(row["output_length"]),
        blocks=tuple(row.get("hash_ids", ())),
    )


def _blocks(text: str) -> tuple[int, ...]:
    """`"0-13 20"`: 0 to 13, and 20."""
    blocks: list[int] = []
    for part in text.split():
        first, _, last = part.partition("-")
        blocks += range(int(first), int(last or first) + 1)
    return tuple(blocks)


def _moved(arrival: Arrival, begin_s: float) -> Arrival:
    return Arrival(
        at_s=arrival.at_s - begin_s,
        prompt_tokens=arrival.prompt_tokens,
        answer_tokens=arrival.answer_tokens,
        tenant=arrival.tenant,
        blocks=arrival.blocks,
    )


_READERS: Final[tuple[tuple[frozenset[str], Callable[[Row], Arrival]], ...]] = (
    (frozenset({"arrival_s", "input_tokens", "output_tokens"}), _plain),
    (frozenset({"TIMESTAMP", "ContextTokens", "GeneratedTokens"}), _azure),
    (frozenset({"Timestamp", "Request tokens", "Response tokens"}), _burstgpt),
)

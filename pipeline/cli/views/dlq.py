"""Dead letters for people and as JSON. What a record holds is shown only where it was asked for: it may be a prompt."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from pipeline.cli.views.table import columns, count, table
from pipeline.deadletters.ledger import Ledger
from pipeline.deadletters.letters import Letter
from pipeline.deadletters.replay import Outcome
from topics.headers import DLQ_PREFIX

_STYLES: Final = {"replayed": "green", "would_replay": "", "skipped": "dim", "impossible": "red"}


def letters_table(letters: Sequence[Letter], ledger: Ledger) -> Table:
    """One line a letter: when, where from, why, and whether it was put back."""
    view = columns(table(), left=("position", "at (UTC)", "code", "from"), right=("bytes",), last=("replayed", "why"))
    for letter in letters:
        put_back = ledger.replayed_at(letter.position.address) or ""
        view.add_row(
            str(letter.position),
            _at(letter),
            letter.code,
            letter.origin,
            count(letter.value_bytes),
            Text(put_back, style="green"),
            Text(letter.message, style="dim"),
        )
    return view


def listed(letter: Letter, ledger: Ledger) -> dict[str, Any]:
    """A letter in a list, as JSON."""
    return {
        "position": str(letter.position),
        "at": _at(letter),
        "topic": letter.topic,
        "origin": letter.origin,
        "stage": letter.stage,
        "code": letter.code,
        "message": letter.message,
        "bytes": letter.value_bytes,
        "replayed": ledger.replayed_at(letter.position.address),
    }


def shown(letter: Letter, *, with_payload: bool) -> dict[str, Any]:
    """One letter whole, as JSON; the bytes only if asked for, as text where they are printable and else in hex."""
    said = {
        "position": str(letter.position),
        "at": _at(letter),
        "origin": letter.origin,
        "stage": letter.stage,
        "code": letter.code,
        "message": letter.message,
        "key": None if letter.key is None else printable(letter.key),
        "headers": {name: printable(v or b"") for name, v in letter.headers if not name.startswith(DLQ_PREFIX)},
        "bytes": letter.value_bytes,
        "missing_bytes": letter.missing_bytes,
    }
    if with_payload:
        said["payload"] = None if letter.value is None else printable(letter.value)
    return said


def letter_view(said: Mapping[str, Any]) -> Text:
    """What `shown` says, a line each."""
    view = Text()
    for name, value in said.items():
        if name == "headers":
            for header, content in value.items():
                view.append(f"{'header':<14}", style="dim").append(f"{header}: {content}\n")
        elif value is not None and value != "":
            view.append(f"{name:<14}", style="dim").append(f"{value}\n")
    if "payload" not in said:
        view.append(f"{'payload':<14}", style="dim").append("not shown, it may be a prompt; --payload shows it\n")
    return view


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """What became of each letter."""
    view = columns(table(), left=("letter", "outcome"), last=("record", "why"))
    for outcome in outcomes:
        state = Text(outcome.state.replace("_", " "), style=_STYLES[outcome.state])
        view.add_row(outcome.letter, state, outcome.record, Text(outcome.why, style="dim"))
    return view


def printable(content: bytes) -> str:
    """UTF-8 text that a terminal can show, line breaks and tabs among it; else `0x` and the bytes in hex."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"0x{content.hex()}"
    return text if all(c.isprintable() or c in "\n\t" for c in text) else f"0x{content.hex()}"


def _at(letter: Letter) -> str:
    return datetime.fromtimestamp(letter.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

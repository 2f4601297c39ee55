"""One line for each record of a followed request."""

from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from pipeline.cli.follow import Judged

_STYLES: Final = {
    "started": "cyan",
    "restarted": "yellow",
    "delivered": "",
    "ended": "bold",
    "ignored": "dim",
}


def record_line(judged: Judged) -> Text:
    """Time, address, verdict and content of a record; ignored ones are dim and say why."""
    at = datetime.fromtimestamp(judged.at_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
    mark = ("✓ ", "green") if judged.is_accepted else ("· ", "dim")
    line = Text.assemble(
        (f"{at}  {judged.record:<28}  ", "dim"),
        mark,
        (f"{judged.type:<10}", _STYLES[judged.verdict]),
        (f"{judged.attempt:<12}  ", "dim"),
        (judged.detail, _STYLES[judged.verdict]),
    )
    if judged.why:
        line.append(f"  ignored: {judged.why}", style="dim")
    return line

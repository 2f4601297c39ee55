"""The doctor's findings, one line each, and under what is not right how to mend it."""

from rich.text import Text

from pipeline.cli.checks.check import Check
from pipeline.cli.views.table import sign

_NAME_WIDTH = 20


def check_lines(check: Check) -> Text:
    """One finding."""
    line = Text.assemble(sign(check.state), " ", f"{check.name:<{_NAME_WIDTH}} ", (check.found, _style(check)))
    if check.mend:
        line.append(f"\n  {'':<{_NAME_WIDTH}} ")
        line.append(f"→ {check.mend}", style="dim")
    return line


def _style(check: Check) -> str:
    return {"ok": "dim", "warn": "yellow", "fail": "red"}[check.state]

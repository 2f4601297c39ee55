"""What a benchmark says: figures, gates that hold or do not, a file for machines and a table for people."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

RESULTS: Final = Path("bench-results")


def progress(line: str) -> None:
    """Tell people at once how far a benchmark is; nothing else is said before its end."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def percentile(values: Sequence[float], ratio: float) -> float:
    """What `ratio` of the values do not exceed; NaN where there are none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(ratio * len(ranked)))] if ranked else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A figure and its limit; `holds` says whether it is kept."""

    gate: str
    value: float
    limit: float
    holds: bool


@dataclass(slots=True)
class Report:
    """Collects figures and gates of the benchmark `name`."""

    name: str
    figures: dict[str, float] = field(default_factory=dict)
    gates: list[Gate] = field(default_factory=list)

    def figure(self, name: str, value: float) -> None:
        """Record one number; the unit is part of the name."""
        self.figures[name] = round(value, 4)

    def at_most(self, gate: str, value: float, limit: float) -> None:
        """A gate that holds when `value <= limit`."""
        self._gate(gate, value, limit, lambda v, li: v <= li)

    def at_least(self, gate: str, value: float, limit: float) -> None:
        """A gate that holds when `value >= limit`."""
        self._gate(gate, value, limit, lambda v, li: v >= li)

    def finish(self) -> int:
        """Write the file, print the tables and return the exit code: 1 when a gate does not hold."""
        RESULTS.mkdir(exist_ok=True)
        content = {"figures": self.figures, "gates": self.gates}
        (RESULTS / f"{self.name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
        console = Console()
        console.print(self._figures())
        console.print(self._gates())
        return 0 if all(gate.holds for gate in self.gates) else 1

    def _gate(self, gate: str, value: float, limit: float, holds: Callable[[float, float], bool]) -> None:
        self.gates.append(Gate(gate=gate, value=round(value, 4), limit=limit, holds=holds(value, limit)))

    def _figures(self) -> Table:
        table = Table("figure", title=self.name, title_justify="left")
        table.add_column("value", justify="right")
        for name, value in self.figures.items():
            table.add_row(name, f"{value:,.2f}")
        return table

    def _gates(self) -> Table:
        table = Table("gate", "value", "limit", "holds")
        for gate in self.gates:
            table.add_row(gate.gate, f"{gate.value:,.2f}", f"{gate.limit:,.2f}", "yes" if gate.holds else "NO")
        return table

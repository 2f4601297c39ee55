"""Dashboards, their variables and panels, as they are written down in `boards`. Pure.

A panel is a title, a kind, one statement over the account and a unit. What its kind needs of the rows:

- timeseries: `time` first and ascending, at most one text column (the name of the line), numbers
- stat: one row of numbers; bars: a text column, then numbers; table: anything; trace: the columns of Grafana's spans
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["timeseries", "stat", "bars", "table", "trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        unit: Grafana's name of a unit: ms, s, reqps, percentunit, short, currencyUSD …
        about: shown as the panel's description: what it means and what to do when it moves.
        decimals: digits after the point; None leaves it to Grafana.
        stacked: areas on each other instead of lines.
        counts: bars on each other: lines that are absent from times at which nothing of theirs happened.
        limits: of a stat, from which value on it has which colour, ascending; below the first it is green.
        at_least: like `limits` for what is to be large: below the first it is red.
        every: the shortest interval of a time series; percentiles of fewer seconds are noise.
        links: columns of a table whose values are ids of requests and lead to the page of one request.
        width: of 24.
        height: in units of 30 pixels.
    """

    title: str
    kind: Kind
    sql: str
    about: str
    unit: str = "short"
    decimals: int | None = None
    stacked: bool = False
    counts: bool = False
    limits: tuple[tuple[float, str], ...] = ()
    at_least: tuple[tuple[float, str], ...] = ()
    every: str = "30s"
    links: tuple[str, ...] = ()
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of a dashboard: by a statement, of fixed words (`choices`), or free text without either."""

    name: str
    label: str
    sql: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard. `uid` is its address in Grafana and the name of its file."""

    uid: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[Variable, ...] = ()
    since: str = "now-1h"
    refresh: str = "30s"


MODEL: Final = Variable(
    name="model",
    label="Model",
    sql="""
SELECT DISTINCT model
FROM (
    SELECT model FROM requests WHERE minute >= toStartOfMinute($__fromTime) AND minute <= $__toTime
    UNION DISTINCT
    SELECT model FROM gpu_samples WHERE $__timeFilter(ts)
)
ORDER BY model""".strip(),
)
"""Models that were asked for or paid for: an idle one costs, too."""
PLAN: Final = Variable(name="plan", label="Prices", choices=("on_demand", "reserved"))

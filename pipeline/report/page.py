"""The parts of a page: the document around everything, key figures, verdicts, figures with legends, tables. Pure.

A page refers to nothing outside itself: the style sheet is in it, and there are no scripts, fonts or images to fetch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final, Literal

from pipeline.report.markup import Markup, breakable, element, joined

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""The browser is told to fetch nothing, whatever an id or a reason might look like."""

Verdict = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: its head, and whether it holds names, numbers (to the right) or long text (gets room)."""

    head: str
    kind: Literal["name", "number", "long"] = "number"


def document(title: str, *body: str) -> str:
    """A whole HTML page."""
    style = Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8"))
    head = joined(
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        element("title", title),
        element("style", style),
        between="\n",
    )
    content = joined(*body, between="\n")
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{content}\n</body>\n</html>\n'


def tiles(figures: Sequence[tuple[str, str, str]]) -> Markup:
    """Key figures: (what, value, a note under it)."""
    return element(
        "div",
        *(
            element(
                "dl",
                element("dt", what),
                element("dd", value),
                element("dd", note, class_="note") if note else "",
                class_="tile",
            )
            for what, value, note in figures
        ),
        class_="tiles",
    )


def verdict(kind: Verdict, says: str, detail: str) -> Markup:
    """One sentence that says whether something holds, and the numbers behind it. Not by colour alone."""
    sign = {"good": "✓ ", "bad": "✗ ", "open": "– "}[kind]
    return element("div", element("b", sign + says), detail, class_=f"verdict {kind}")


def figure(title: str, unit: str, svg: Markup, *, legend: Sequence[tuple[str, str]] = (), wide: bool = False) -> Markup:
    """A plot with its title, what its axis counts, and a legend of (CSS class, name)."""
    entries = (element("li", element("i", class_=tone), element("span", name)) for tone, name in legend)
    return element(
        "figure",
        element("figcaption", element("h3", title), element("p", unit, class_="unit")),
        svg,
        element("ul", *entries, class_="legend") if legend else "",
        class_="wide" if wide else None,
    )


def table(
    title: str, meaning: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, more: str = ""
) -> Markup:
    """A table with a caption; its first column names the rows. `more` says what was left out."""
    heads = (element("th", column.head, scope="col", class_=_class(column)) for column in columns)
    caption = element("caption", element("b", title), element("span", meaning))
    body = (_row(columns, row) for row in rows) if rows else (_empty(len(columns)),)
    whole = element(
        "table", caption, element("thead", element("tr", *heads)), element("tbody", joined(*body, between="\n"))
    )
    note = element("p", more, class_="more") if more else ""
    return element("div", whole, note, class_="table", tabindex="0", role="region", aria_label=title)


def section(title: str, about: str, *content: str, new_page: bool = False) -> Markup:
    """A section with a heading and a sentence; on paper it may begin a page."""
    return element(
        "section",
        element("h2", title),
        element("p", about, class_="quiet"),
        joined(*content, between="\n"),
        class_="page" if new_page else None,
    )


def figures(*content: str) -> Markup:
    """Figures beside each other as far as the width goes."""
    return element("div", joined(*content, between="\n"), class_="figures")


def _row(columns: Sequence[Column], row: Sequence[str]) -> Markup:
    first, *others = zip(columns, row, strict=True)
    return element(
        "tr",
        element("th", _cell(*first), scope="row", class_=_class(first[0])),
        *(element("td", _cell(column, value), class_=_class(column)) for column, value in others),
    )


def _cell(column: Column, value: str) -> str:
    return breakable(value) if column.kind == "name" else value


def _empty(width: int) -> Markup:
    return element("tr", element("td", "nothing in this range", class_="quiet", colspan=width))


def _class(column: Column) -> str | None:
    return None if column.kind == "name" else column.kind

"""Elements of HTML and SVG as escaped text. Whoever builds a page calls this and never joins strings by hand."""

import re
from html import escape
from typing import Final

VOID: Final = frozenset({"meta", "br", "wbr"})
"""HTML elements without an end."""
_PART: Final = re.compile(r"([._/@:-])(?=[^._/@:-])")


class Markup(str):
    """Text that is markup already and is not escaped again."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Markup:
    """One element. Children that are no `Markup` are escaped.

    Attributes that are None are left out; `_` in their names becomes `-` and one at the end falls off (`class_`).
    Numbers are written with two decimals at most.
    """
    start = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    if name in VOID:
        return Markup(f"<{name}{start}>")
    return Markup(f"<{name}{start}>{joined(*children)}</{name}>")


def joined(*parts: str, between: str = "") -> Markup:
    """Parts one after the other; those that are no `Markup` are escaped."""
    return Markup(between.join(part if isinstance(part, Markup) else escape(part) for part in parts))


def breakable(text: str) -> Markup:
    """A name that may be broken where a part of it ends, and nowhere else."""
    return text if isinstance(text, Markup) else Markup(_PART.sub(r"\1<wbr>", escape(text)))


def _name(key: str) -> str:
    return key.removesuffix("_").replace("_", "-")


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"

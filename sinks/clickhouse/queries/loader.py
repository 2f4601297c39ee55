"""Reading the named queries. A file is a header of comments and one SELECT over the tables of the current database.

    -- title: A few words
    -- One or two sentences: what the rows mean.
    -- parameter: name Type = default  what it is for

A parameter without `= default` has to be given. Nothing here talks to a server.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from topics.errors import InvalidRequest, SettingsError

_PARAMETER = re.compile(r"(?P<name>\w+) (?P<type>\w+)(?: = (?P<default>\S+))?  (?P<meaning>.+)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What a query can be asked with. `type` is ClickHouse's; `default` is None where a value has to be given."""

    name: str
    type: str
    default: str | None
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A named query. `text` has `{name:Type}` where values go, as ClickHouse's own query parameters."""

    name: str
    title: str
    meaning: str
    parameters: tuple[Parameter, ...]
    text: str

    @property
    def sql(self) -> str:
        """The text with every default filled in: it runs as it is, unless a parameter has none."""
        text = self.text
        for parameter in self.parameters:
            if parameter.default is not None:
                literal = f"CAST('{parameter.default}' AS {parameter.type})"
                text = text.replace(f"{{{parameter.name}:{parameter.type}}}", literal)
        return text

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """A value for every parameter: what was given, else its default. To be sent along with `text`.

        Raises:
            InvalidRequest: one is missing, or one is given that the query has not.
        """
        unknown = given.keys() - {parameter.name for parameter in self.parameters}
        if unknown:
            raise InvalidRequest(f"query {self.name} has no parameter {min(unknown)}; {self._known()}")
        missing = [p.name for p in self.parameters if p.default is None and p.name not in given]
        if missing:
            raise InvalidRequest(f"query {self.name} needs a value for {missing[0]}; {self._known()}")
        return {p.name: given.get(p.name, p.default or "") for p in self.parameters}

    def _known(self) -> str:
        return "it has " + (", ".join(f"{p.name} ({p.meaning})" for p in self.parameters) or "none")


@cache
def load_queries() -> Mapping[str, Query]:
    """All named queries by name, sorted.

    Raises:
        SettingsError: a file's header cannot be read.
    """
    found = [file for file in files(__package__).iterdir() if file.name.endswith(".sql")]
    queries = [parse(file.name.removesuffix(".sql"), file.read_text()) for file in found]
    return MappingProxyType({query.name: query for query in sorted(queries, key=lambda query: query.name)})


def parse(name: str, source: str) -> Query:
    """A query from the text of its file.

    Raises:
        SettingsError: there is no title, no meaning, or a parameter that is not used or not understood.
    """
    lines = source.splitlines()
    size = next((i for i, line in enumerate(lines) if not line.startswith("--")), len(lines))
    header = [line.removeprefix("--").strip() for line in lines[:size]]
    text = "\n".join(lines[size:]).strip()
    titles = [line.removeprefix("title:").strip() for line in header if line.startswith("title:")]
    parameters = tuple(_parameter(name, line) for line in header if line.startswith("parameter:"))
    meaning = " ".join(line for line in header if not line.startswith(("title:", "parameter:")))
    if len(titles) != 1 or not meaning or not text:
        raise SettingsError(f"query {name}: it needs one title, a sentence of meaning and a statement")
    for parameter in parameters:
        if f"{{{parameter.name}:{parameter.type}}}" not in text:
            raise SettingsError(f"query {name}: parameter {parameter.name} of type {parameter.type} is not used")
    return Query(name=name, title=titles[0], meaning=meaning, parameters=parameters, text=text)


def _parameter(query: str, line: str) -> Parameter:
    match = _PARAMETER.match(line.removeprefix("parameter:").strip())
    if match is None:
        raise SettingsError(f"query {query}: {line!r} is not `parameter: name Type = default  meaning`")
    return Parameter(name=match["name"], type=match["type"], default=match["default"], meaning=match["meaning"])

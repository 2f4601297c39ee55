"""From the text of a migration to statements for one database, alone or on a replicated cluster. Pure.

The files are written for one server. On a cluster every statement runs everywhere (`ON CLUSTER`) and tables replicate:
`MergeTree` becomes `ReplicatedMergeTree`, with the path and replica name that the servers have as their defaults. Only
statements that are understood are changed; any other is an error, so that none runs on one server alone.
"""

import re
from typing import Final

from sinks.clickhouse.store import quoted
from topics.errors import SettingsError

_END: Final = re.compile(r";[ \t]*(?:\n|\Z)")
_COMMENT: Final = re.compile(r"^--.*\n?", re.MULTILINE)
_OBJECT: Final = re.compile(
    r"(?P<what>CREATE (?:OR REPLACE )?(?:TABLE|VIEW|MATERIALIZED VIEW|DICTIONARY) (?:IF NOT EXISTS )?|ALTER TABLE )"
    r"(?P<name>`\w+`\.\w+)\b"
)
_ENGINE: Final = re.compile(r"\bENGINE = (?P<kind>\w*)MergeTree\b")


def statements(text: str, database: str, cluster: str = "") -> list[str]:
    """The statements of a file, in order.

    Args:
        text: `{database}` stands for the quoted name, `{database_name}` for the name in a literal.
        database: where they run.
        cluster: of servers that replicate it; empty for one server.

    Raises:
        SettingsError: a name is no identifier, or a statement cannot run on a cluster.
    """
    filled = _COMMENT.sub("", text).replace("{database}", quoted(database)).replace("{database_name}", database)
    found = [statement.strip() for statement in _END.split(filled) if statement.strip()]
    return [on_cluster(statement, cluster) for statement in found]


def on_cluster(statement: str, cluster: str) -> str:
    """A statement of one server for a cluster; as it is where `cluster` is empty.

    Raises:
        SettingsError: it is none that can run on a cluster.
    """
    if not cluster:
        return statement
    match = _OBJECT.match(statement)
    if match is None:
        raise SettingsError(f"{statement.splitlines()[0]!r} has no form for a cluster; use CREATE or ALTER TABLE")
    where = f"{match['what']}{match['name']} ON CLUSTER {quoted(cluster)}"
    return _ENGINE.sub(r"ENGINE = Replicated\g<kind>MergeTree", where + statement[match.end() :])

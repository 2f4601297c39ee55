"""What the ClickHouse data source and Grafana make of a panel's statement before it is sent.

Source: grafana/clickhouse-datasource, pkg/macros/macros.go; Grafana's variable format `singlequote`.
"""

import re
from collections.abc import Mapping, Sequence


def expanded(sql: str, *, from_s: int, to_s: int, interval_s: int, variables: Mapping[str, str | Sequence[str]]) -> str:
    """The statement as ClickHouse gets it. What is not known stays and fails there."""
    for name, value in variables.items():
        words = [value] if isinstance(value, str) else value
        quoted = ",".join("'" + word.replace("'", "\\'") + "'" for word in words)
        sql = sql.replace(f"${{{name}:singlequote}}", quoted)
    sql = re.sub(r"\$__timeFilter\(([^)]*)\)", rf"\1 >= toDateTime({from_s}) AND \1 <= toDateTime({to_s})", sql)
    sql = re.sub(
        r"\$__timeInterval\(([^)]*)\)", rf"toStartOfInterval(toDateTime(\1), INTERVAL {interval_s} second)", sql
    )
    replaced = {"$__fromTime": f"toDateTime({from_s})", "$__toTime": f"toDateTime({to_s})"}
    for macro, text in {**replaced, "$__interval_s": str(interval_s)}.items():
        sql = sql.replace(macro, text)
    return sql

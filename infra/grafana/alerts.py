"""Alert rules over the account, for what metrics do not know: quality is judged later, by clients.

Alerts over metrics are Prometheus's (`infra/prometheus/alerts.yml`).
"""

from dataclasses import dataclass
from typing import Any, Final

from infra.grafana.panels import PLUGIN, query_json

SOURCE_UID: Final = "millrace-clickhouse"
_EXPRESSION: Final = "__expr__"
_WINDOW_S: Final = 86_400
"""So far back the statements look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule that fires for each row whose number is outside of its limits.

    Attributes:
        sql: text columns, which become labels, and one number.
        below, above: the limits; `above` may be none.
    """

    uid: str
    title: str
    sql: str
    below: float
    above: float | None = None
    summary: str
    description: str

    @property
    def evaluator(self) -> dict[str, Any]:
        """The limits in the words of Grafana's threshold expressions."""
        if self.above is None:
            return {"type": "lt", "params": [self.below]}
        return {"type": "outside_range", "params": [self.below, self.above]}


_JUDGED: Final = """
        WITH judged AS (SELECT request_id FROM feedback WHERE ts >= now() - toIntervalHour(24))
        SELECT
            r.deployment AS deployment,
            f.signal AS signal,
            f.score AS score,
            f.label AS label,
            f.ts >= now() - toIntervalHour(12) AS is_new
        FROM feedback AS f
        JOIN (
            SELECT
                request_id,
                toString(tenant) AS tenant,
                toString(model) AS model,
                argMaxIf(toString(deployment), produced_ts, deployment != '') AS deployment
            FROM requests_final
            WHERE request_id IN (SELECT * FROM judged)
                AND produced_ts IN (SELECT produced_ts FROM requests WHERE request_id IN (SELECT * FROM judged))
            GROUP BY request_id, tenant, model
        ) AS r ON r.request_id = f.request_id
        WHERE f.ts >= now() - toIntervalHour(24)
            AND (f.tenant = '' OR f.tenant = r.tenant) AND (f.model = '' OR f.model = r.model)
        QUALIFY count() OVER (PARTITION BY f.kp, f.ko, f.ki) = 1
""".strip()
"""Feedback of a day beside the version whose answer it judges; that which could be of several requests is left out."""

_SCORES: Final = f"""
SELECT
    deployment,
    signal,
    if(variance > 0, 1 / sqrt(variance * (1 / older_scores + 1 / newer_scores)), 0) * (newer - older) AS drift
FROM (
    SELECT
        deployment,
        signal,
        varSampStable(score) AS variance,
        countIf(NOT is_new) AS older_scores,
        countIf(is_new) AS newer_scores,
        avgIf(score, NOT is_new) AS older,
        avgIf(score, is_new) AS newer
    FROM (
        {_JUDGED}
    )
    WHERE NOT isNaN(score)
    GROUP BY deployment, signal
)
WHERE older_scores >= 10 AND newer_scores >= 10
""".strip()

_LABELS: Final = f"""
WITH
    sum(older) OVER (PARTITION BY deployment, signal) AS older_labels,
    sum(newer) OVER (PARTITION BY deployment, signal) AS newer_labels,
    (older + newer) / (older_labels + newer_labels) AS whole,
    if(whole < 1, 1 / sqrt(whole * (1 - whole) * (1 / older_labels + 1 / newer_labels)), 0) AS errors_per_share
SELECT deployment, signal, label, errors_per_share * (newer / newer_labels - older / older_labels) AS drift
FROM (
    SELECT deployment, signal, label, countIf(NOT is_new) AS older, countIf(is_new) AS newer
    FROM (
        {_JUDGED}
    )
    WHERE label != ''
    GROUP BY deployment, signal, label
)
QUALIFY older_labels >= 10 AND newer_labels >= 10
""".strip()

ALERTS: Final = (
    Alert(
        uid="millrace-quality-drifts",
        title="Quality of a version falls",
        sql=_SCORES,
        below=-3,
        summary="{{ $labels.signal }} of {{ $labels.deployment }} fell within the last day",
        description=(
            "The mean score of the last 12 hours is more than three standard errors below that of the 12 before, with "
            "ten scores or more in both. millrace sql --query quality_by_version shows both; compare the version's "
            "prompts, settings and model."
        ),
    ),
    Alert(
        uid="millrace-labels-drift",
        title="Labels of a version change",
        sql=_LABELS,
        below=-3,
        above=3,
        summary="{{ $labels.signal }} {{ $labels.label }} of {{ $labels.deployment }} changed within the last day",
        description=(
            "The label's share among those of its signal is more than three standard errors away from that of the 12 "
            "hours before, with ten labels or more in both. millrace sql --query labels_by_version shows both; compare "
            "the version's prompts, settings and model."
        ),
    ),
)


def provisioned(alerts: tuple[Alert, ...] = ALERTS) -> dict[str, Any]:
    """The file that Grafana provisions rules from."""
    group = {"orgId": 1, "name": "millrace", "folder": "Millrace", "interval": "10m", "rules": [*map(_rule, alerts)]}
    return {"apiVersion": 1, "groups": [group]}


def _rule(alert: Alert) -> dict[str, Any]:
    source = {"type": PLUGIN, "uid": SOURCE_UID}
    asked = {"datasource": source, **query_json(alert.sql, number=1, query_type="table")}
    limit = {
        "refId": "B",
        "type": "threshold",
        "expression": "A",
        "conditions": [{"evaluator": alert.evaluator}],
    }
    window = {"from": _WINDOW_S, "to": 0}
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "B",
        "data": [
            {"refId": "A", "relativeTimeRange": window, "datasourceUid": SOURCE_UID, "model": asked},
            {"refId": "B", "relativeTimeRange": window, "datasourceUid": _EXPRESSION, "model": limit},
        ],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "0s",
        "labels": {"severity": "ticket"},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }

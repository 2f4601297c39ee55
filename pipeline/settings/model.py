"""What can be configured: one frozen section per concern, each field with its meaning, unit and default.

Reading files and the environment is `pipeline.settings.resolve`'s business.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from topics import names
from topics.catalogue import Layout, ModelLayout
from topics.texts import Keeping, TextRules

Positive = Annotated[int, Meta(ge=1)]


class _Section(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    pass


class KafkaSettings(_Section, kw_only=True, frozen=True):
    """The broker, and how to be let in. Security fields are aiokafka's."""

    brokers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str | None = None
    password: str | None = None
    ssl_ca_file: str | None = None
    ssl_cert_file: str | None = None
    ssl_key_file: str | None = None
    ssl_password: str | None = None
    replication: Positive = 1
    """Replicas of each topic that `topics create` makes; 3 on a real cluster."""
    session_timeout_ms: Annotated[int, Meta(ge=1000)] = 6000
    """After so long without a heartbeat a member's partitions move; brokers allow 6 s or more by default."""


class ClickHouseSettings(_Section, kw_only=True, frozen=True):
    """Where the account is kept: `url = "embedded"` (chDB, owned by the recorder) or a server's URL."""

    url: str = "embedded"
    user: str = "default"
    password: str = ""
    database: str = "trace"
    path: str = ""
    """Folder of the embedded engine; empty for one below `$MILLRACE_HOME`."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8123
    """Where the recorder serves the embedded engine's HTTP interface; 0 for any free port."""
    reader: str = "reader"
    """A user of the embedded engine who may only read, for dashboards and guests; empty for none.

    Where `password` is set there is no such user before `reader_password` is."""
    reader_password: str = ""
    cluster: str = ""
    """Name of the cluster of servers that replicate the database; empty for one server. Not for the embedded engine."""
    retention_days: dict[str, Positive] = {}
    """Days that a table keeps its rows, e.g. `events = 30`; tables that are not named keep them for their default."""

    @property
    def is_embedded(self) -> bool:
        """Whether the recorder owns the engine."""
        return self.url == "embedded"

    @property
    def http_url(self) -> str:
        """URL that every process but the recorder talks to."""
        return f"http://{self.host}:{self.port}" if self.is_embedded else self.url


class ClassSettings(_Section, kw_only=True, frozen=True):
    """A latency class: its targets and what happens to it under load.

    Either `ttft_ms` and `tpot_ms` (answers that stream) or `e2e_ms` states the SLO, in milliseconds. It decides in what
    order requests are served, how large batches grow, and what is turned away: a request that would miss it is rejected
    at once or, where that shows later, expires (`predicted_late`); one that waits alone for a worker with nothing to do
    is served, late. One that names a `deadline_ms` of its own is judged by that instead. `deadline_ms` is the end for
    requests that name none. `priority` 0 goes first. A class without `shed` is never turned away: it fills what the
    others leave, and leaves them a reserve on every worker. Where that is not enough, its running sequences give way
    (they are parked) and go on where they stopped when there is room.
    """

    priority: Annotated[int, Meta(ge=0, le=100)]
    deadline_ms: Positive
    ttft_ms: Positive | None = None
    tpot_ms: Positive | None = None
    e2e_ms: Positive | None = None
    objective_ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.99
    """Share of requests that are to keep the SLO; the rest is the error budget."""
    shed: bool = True
    queue_limit: Positive = 2000
    """Requests of the class that a processor holds; its partition is paused at that, and the rest waits in Kafka."""


class VllmDeployment(_Section, kw_only=True, frozen=True, tag_field="engine", tag="vllm"):
    """A deployment on vLLM. `path` is a Hugging Face folder, or a name that the environment knows how to unpack."""

    path: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto` is what vLLM takes for the model; on a CPU bfloat16 where it computes in that, and float32 elsewhere."""
    max_context_tokens: Positive | None = None
    max_sequences: Positive = 32
    max_batch_tokens: Positive = 2048
    kv_cache_gib: Annotated[float, Meta(gt=0)] = 1.0
    tensor_parallel: Positive = 1
    quantization: str | None = None
    enforce_eager: bool = True
    prefix_caching: bool = True
    threads: Annotated[int, Meta(ge=0)] = 0
    """OpenMP threads of the CPU engine; 0: one less than cores, pinned to them by vLLM where there are more than 4."""
    step_limit_s: Annotated[float, Meta(gt=0)] = 60.0
    """An engine that has sequences and makes no step for so many seconds is killed and started again. On a GPU a step
    takes well below a second; on a CPU a large prompt may take many."""


class SimulatedDeployment(_Section, kw_only=True, frozen=True, tag_field="engine", tag="simulated"):
    """A cost model in place of an engine: a step takes `fixed_us + per_prefill_token_us * p + per_sequence_us * n +
    per_kv_token_us * kv` microseconds, and the text is a deterministic function of the request.

    In mode `run_to_completion` a whole batch is such a step (without keys and values), one batch runs at a time and all
    of its answers come at its end; `max_sequences` is the largest batch. `crash_every` kills the engine after about so
    many requests, `fail_ratio` fails single ones, `noise_sigma` and `straggler_ratio` vary the costs: all drawn from
    `seed`.
    """

    mode: Literal["continuous", "run_to_completion"] = "continuous"

    fixed_us: Annotated[float, Meta(ge=0)] = 6000.0
    per_prefill_token_us: Annotated[float, Meta(ge=0)] = 20.0
    per_sequence_us: Annotated[float, Meta(ge=0)] = 60.0
    per_kv_token_us: Annotated[float, Meta(ge=0)] = 0.01
    max_context_tokens: Positive = 8192
    max_sequences: Positive = 256
    max_batch_tokens: Positive = 8192
    max_kv_tokens: Positive = 400_000
    seed: int = 0
    crash_every: Annotated[int, Meta(ge=0)] = 0
    fail_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.0
    noise_sigma: Annotated[float, Meta(ge=0, le=2)] = 0.0
    """Standard deviation of the logarithm of a log-normal factor of mean 1 on the cost of each step or batch."""
    straggler_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of steps or batches that take twice as long."""
    batch_wait_s: Annotated[float, Meta(ge=0, le=60)] = 0.05
    """How long a batch waits for parts that do not come, because they ended before or their slot has moved."""
    step_limit_s: Annotated[float, Meta(gt=0)] = 60.0
    """An engine that has sequences and makes no step for so many seconds is killed and started again; a batch that runs
    to completion is one step."""


Deployment = VllmDeployment | SimulatedDeployment


class ModelSettings(_Section, kw_only=True, frozen=True):
    """What clients call by one name. `stable` serves it; `classes` are its lanes."""

    stable: str
    classes: tuple[str, ...] = ("realtime", "interactive", "bulk")
    shards: Positive = 1
    slots: Positive = 8
    coalesce: bool = True
    """Whether identical deterministic requests (temperature 0, or a seed) in flight share one generation."""
    cache_mib: Annotated[int, Meta(ge=0, le=65536)] = 0
    """Memory of the model's processors for answers of deterministic requests, in MiB, shared by its shards; 0 keeps
    none. To learn the answers each processor of the model then reads all response topics."""
    hop_ms: Annotated[float, Meta(ge=0, le=10_000)] = 5.0
    """One way through the broker, processor to worker or back, in milliseconds. Engines that run batches to completion
    are sent their next batch so long before they are free."""


ANY_TENANT: Final = "*"
"""The section of tenants that have none of their own."""


class TenantSettings(_Section, kw_only=True, frozen=True):
    """A tenant's share, and its limits. The section `"*"` is for every tenant that has none of its own.

    A share is soft: it says who goes first among those that wait, and an idle worker serves anybody. Limits are hard:
    what is over one is rejected as `rate_limited`, with the time after which there is room again. Each shard of a model
    enforces its part of a limit; models do not know of each other, so a limit holds for each of them.
    """

    weight: Annotated[float, Meta(ge=0.001, le=1000)] = 1.0
    """Tokens that the tenant is served for each token of one with a weight of 1, while both wait."""
    requests_per_s: Annotated[float, Meta(gt=0)] | None = None
    """Requests per second, with a burst of one second's worth; left out: no limit."""
    tokens_per_min: Positive | None = None
    """Tokens of prompts and answers per minute, with a burst of one minute's worth; left out: no limit.

    A request counts with all that it may use when it arrives: its prompt, as estimated (four characters a token), and
    `max_tokens` for each of its `n` answers, 512 where it names none. At its end what was really used counts, and the
    rest is given back: with a `max_tokens` near what is needed, more requests fit under a limit. One that may use more
    than a minute's worth is let in when all of that is there, and the next one when it is made up for. So a limit below
    what a request may use slows its tenant down and does not lock it out."""
    concurrent: Positive | None = None
    """Requests that wait or are being served at the same time; left out: no limit. A shard allows one at least."""
    shares_cache: bool = False
    """Whether its cached answers may be given to other tenants that share theirs, and theirs to it."""
    texts: Keeping = "hash"
    """What the account keeps of its prompts and answers: `hash` their lengths and hashes, `full` the texts too, which
    go over the trace topic and into a table of their own, `none` neither. What was kept stays until its time is over or
    it is erased."""


class TopicSettings(_Section, kw_only=True, frozen=True):
    """Sizes of the topics that all models share."""

    response_partitions: Positive = 8
    trace_partitions: Positive = 1
    pools: tuple[str, ...] = ()
    dedupe_window_ms: Positive = 3_600_000
    """How long an id is known: sent again with the same body it gets the same answer, with another `id_conflict`. No
    cached answer is older. It is added to the retention of lanes, slots and responses."""


class MetricsSettings(_Section, kw_only=True, frozen=True):
    """Where a process serves its `/metrics`. One machine's processes need a port each: `--metrics-port` gives it."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` where Prometheus comes from another machine. There is nothing secret in it."""
    port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Left out: not served. 0 is any free port, which the log names."""


class OtelSettings(_Section, kw_only=True, frozen=True):
    """What `millrace otel` exports, and to whom. Headers, certificates, timeouts and compression are told to it by the
    standard variables `OTEL_EXPORTER_OTLP_*`.
    """

    endpoint: str = ""
    """Base URL of an OTLP receiver, e.g. `http://collector:4318`; spans go to `/v1/traces` below it."""
    sample_ratio: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """Share of the traces that begin here, chosen by trace id. Those of a producer are kept if it sampled them."""
    keep_errors: bool = True
    """Whether requests that failed or expired are exported although they were not sampled."""


class TraceSettings(_Section, kw_only=True, frozen=True):
    """The trace that processes write."""

    enabled: bool = True
    """False leaves the account, metrics and spans empty, to measure what they cost. Nothing else changes."""
    hash_key: str = ""
    """Secret key of the hashes of texts, the same for all processes. Without one, who can read the account can find out
    whether a text that he guesses was sent by a tenant; with one he can see only which of its texts were equal. Hashes
    of another key cannot be compared with those before."""


DEFAULT_CLASSES: Final = {
    "realtime": ClassSettings(priority=0, deadline_ms=10_000, ttft_ms=400, tpot_ms=30),
    "interactive": ClassSettings(priority=1, deadline_ms=60_000, ttft_ms=1000, tpot_ms=50),
    "bulk": ClassSettings(priority=3, deadline_ms=86_400_000, e2e_ms=3_600_000, shed=False),
}


class Settings(_Section, kw_only=True, frozen=True):
    """Everything, resolved."""

    models: dict[str, ModelSettings] = {}
    deployments: dict[str, Deployment] = {}
    classes: dict[str, ClassSettings] = msgspec.field(default_factory=DEFAULT_CLASSES.copy)
    tenants: dict[str, TenantSettings] = {}
    kafka: KafkaSettings = KafkaSettings()
    clickhouse: ClickHouseSettings = ClickHouseSettings()
    topics: TopicSettings = TopicSettings()
    metrics: MetricsSettings = MetricsSettings()
    otel: OtelSettings = OtelSettings()
    trace: TraceSettings = TraceSettings()

    def layout(self) -> Layout:
        """What the catalogue of topics depends on."""
        return Layout(
            models=tuple(self._model_layout(name) for name in sorted(self.models)),
            pools=self.topics.pools,
            response_partitions=self.topics.response_partitions,
            trace_partitions=self.topics.trace_partitions,
            longest_deadline_ms=max((c.deadline_ms for c in self.classes.values()), default=86_400_000),
            dedupe_window_ms=self.topics.dedupe_window_ms,
        )

    def text_rules(self) -> TextRules:
        """What the account keeps of the texts of each tenant."""
        return TextRules(tenants={name: tenant.texts for name, tenant in self.tenants.items()}, key=self.trace.hash_key)

    def deployments_of(self, model: str) -> tuple[str, ...]:
        """Deployments of a model, sorted by version."""
        return tuple(sorted(name for name in self.deployments if names.model_of(name) == model))

    def _model_layout(self, name: str) -> ModelLayout:
        model = self.models[name]
        return ModelLayout(
            model=name,
            classes=model.classes,
            deployments=self.deployments_of(name),
            shards=model.shards,
            slots=model.slots,
        )

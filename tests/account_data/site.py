"""What the plant consists of and what goes wrong there, and the requests and workers that are under way in it."""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from topics import names

SECOND_US: Final = 1_000_000
CLASSES: Final = ("realtime", "interactive", "bulk")
TENANTS: Final = ("acme", "globex", "initech", "umbrella")
WHOLE_BATCHES: Final = ("large",)
"""Models of which batches are predicted, as of engines that run them to completion."""
CAPACITY: Final = 8
QUIET_S: Final = 90
"""Seconds at the end in which nothing arrives, so that everything ends."""
MESSAGE_ROWS: Final = 500

STEP_US: Final = 8_000
TOKEN_US: Final = 300
PROMPT_TOKEN_US: Final = {"L4": 120, "H100": 40}
"""What engines take for a step, for each token out of it, and for a prompt token by type of GPU."""

PRICES: Final = (
    ("L4", "on_demand", 0.8),
    ("L4", "reserved", 0.5),
    ("H100", "on_demand", 4.0),
    ("H100", "reserved", 2.5),
)
OBJECTIVE: Final = 0.9
TARGETS: Final = {"realtime": (400.0, 60.0, 0.0), "interactive": (1000.0, 80.0, 0.0), "bulk": (0.0, 0.0, 60_000.0)}
"""By class: milliseconds to the first token, per token, to the end; 0 where nothing is promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A worker of the plant: what it runs and when it dies (an engine while it works). Seconds since the beginning."""

    worker: str
    deployment: str
    gpu: str
    gpus: int
    crashes_s: int = 0
    engine_dies_s: int = 0
    stays: bool = False


MACHINES: Final = (
    Machine(worker="tiny-a", deployment="tiny@v1", gpu="L4", gpus=1, crashes_s=300),
    Machine(worker="tiny-b", deployment="tiny@v1", gpu="L4", gpus=1, engine_dies_s=420),
    Machine(worker="tiny-c", deployment="tiny@v2", gpu="H100", gpus=2, crashes_s=500),
    Machine(worker="large-a", deployment="large@v1", gpu="H100", gpus=2, stays=True),
)


class Rival(NamedTuple):
    """Another attempt that ends a request, beside the one that runs it. Microseconds from that one's start and end."""

    name: str
    hops: int
    mode: Literal["fresh", "resume"]
    starts_us: int
    ends_us: int


RIVALS: Final = {
    "zombie": Rival("heir", 1, "resume", 20_000, 900),
    "twin": Rival("twin", 0, "fresh", 500, -800),
    "frozen": Rival("taker", 0, "resume", 20_000, -700),
}
"""By fate: dispatched again as its worker was thought dead, dispatched twice, taken over as its worker stood still."""


@dataclass(slots=True, kw_only=True)
class Work:
    """A request on its way through the plant."""

    number: int
    offset: int
    model: str
    latency_class: str
    tenant: str
    produced_us: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    fate: str
    hop: int = 0
    tries: int = 0
    attempt: str = ""
    batch: str = ""
    batch_size: int = 0
    waited_us: int = 0
    started_us: int = 0
    first_us: int = 0
    last_us: int = 0
    ends_us: int = 0
    gpu_ns: int = 0
    token_us: int = 0
    continued: int = 0
    continued_first_us: int = 0
    continued_last_us: int = 0

    @property
    def left(self) -> int:
        """Tokens that the attempts before have not made."""
        return self.tokens_out - self.continued

    def stop(self, at_us: int) -> int:
        """Another attempt goes on after what this one has made, which is returned; the last token is always left."""
        made = min((at_us - self.first_us) // self.token_us + 1, self.left - 1) if at_us >= self.first_us else 0
        if made:
            self.continued_first_us = self.continued_first_us or self.first_us
            self.continued_last_us = self.first_us + (made - 1) * self.token_us
            self.continued += made
        return made

    @property
    def id(self) -> str:
        return f"r{self.number}"

    @property
    def lane(self) -> tuple[str, int, int]:
        return names.Lane(self.model, self.latency_class).topic, 0, self.offset

    @property
    def origin(self) -> str:
        return names.origin_of(*self.lane)


@dataclass(slots=True, kw_only=True)
class Site:
    """A machine's present start."""

    machine: Machine
    run: int = 1
    since_us: int = 0
    ready_us: int = 0
    running: list[Work] = field(default_factory=list)
    settled_ns: int = 0
    has_died: bool = False

"""Ways of feeding continuously batching engines, by name: the product's own and those it is compared with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pipeline.simulation.llm.baselines import (
    AimdConcurrency,
    Clumps,
    LeastOutstanding,
    SaturationGate,
    StaticCap,
    factory,
)
from processors.batching.modes import ControllerFactory, controller_for

ADAPTIVE: Final = "adaptive"
"""The product's scheduler as it runs in production."""

POLICIES: Final[Mapping[str, ControllerFactory]] = MappingProxyType(
    {
        ADAPTIVE: controller_for,
        "least-outstanding": factory(LeastOutstanding),
        "clump-16": factory(lambda *shared: Clumps(*shared, size=16, wait_s=0.05)),
        "aimd": factory(AimdConcurrency),
        "gate": factory(SaturationGate),
        "gate-ttl": factory(lambda *shared: SaturationGate(*shared, ttl_share=0.5)),
        "cap-64": factory(lambda *shared: StaticCap(*shared, limit=64, ttl_share=0.5)),
        "cap-128": factory(lambda *shared: StaticCap(*shared, limit=128, ttl_share=0.5)),
    }
)

MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ADAPTIVE: "Millrace's scheduler, as it runs in production",
        "least-outstanding": "everything at once to the worker with the fewest requests; the engine queues",
        "clump-16": "batches of 16, or what has come within 50 ms",
        "aimd": "a concurrency limit per worker, raised and cut by what the answers took",
        "gate": "held back while the workers are saturated, as the Gateway API inference extension does",
        "gate-ttl": "held back while the workers are saturated, and what waits for half of its target is dropped",
        "cap-64": "at most 64 requests in a worker, what waits for half of its target is dropped",
        "cap-128": "at most 128 requests in a worker, what waits for half of its target is dropped",
    }
)

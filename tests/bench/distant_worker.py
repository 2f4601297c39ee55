"""A worker whose engine is further away than the broker is: what it is given and what it tells both take a while.

On one machine a hop through the broker takes a few milliseconds. Where costs and targets are stretched, the hop has to
be stretched with them: it is the one thing that dispatching ahead of an idle worker can win or lose.

Usage: `python -m tests.bench.distant_worker --distance-ms D --deployment X ...`, with the flags of `millrace worker`.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable

from msgspec.structs import replace

from pipeline.cli.arguments import add_globals, settings_of
from pipeline.cli.failures import guarded
from pipeline.cli.launch import launch
from pipeline.cli.worker import add_arguments
from pipeline.engines.protocol import Deliver, Engine, EngineRequest, Load, Output, StepCounts, Timings
from pipeline.settings import Deployment
from pipeline.worker.main import engine_maker, main
from topics.fleet import EngineMode, Limits


class DistantEngine:
    """`pipeline.engines.protocol.Engine` behind two lines of `distance_s`: one to it, one back.

    What is on the way to it counts as waiting; what is on the way back counts as running.
    """

    def __init__(self, engine: Engine, distance_s: float) -> None:
        self._engine = engine
        self._distance_s = distance_s
        self._coming = 0
        self._returning = 0
        self._told: list[Timings] = []

    @property
    def limits(self) -> Limits:
        return self._engine.limits

    @property
    def gpus(self) -> int:
        return self._engine.gpus

    @property
    def mode(self) -> EngineMode:
        return self._engine.mode

    @property
    def caches_prefixes(self) -> bool:
        return self._engine.caches_prefixes

    async def start(self, deliver: Deliver) -> None:
        def depart(outputs: list[Output]) -> None:
            self._returning += sum(output.is_last for output in outputs)
            timings = self._engine.take_timings()
            self._later(lambda: arrive(outputs, timings))

        def arrive(outputs: list[Output], timings: Timings) -> None:
            self._returning -= sum(output.is_last for output in outputs)
            self._told.append(timings)
            deliver(outputs)

        await self._engine.start(depart)
        while (of_warm_up := self._engine.take_timings()) != Timings():
            self._told.append(of_warm_up)

    def submit(self, request: EngineRequest) -> None:
        self._coming += 1

        def arrive() -> None:
            self._coming -= 1
            self._engine.submit(request)

        self._later(arrive)

    def abort(self, key: str) -> None:
        self._later(lambda: self._engine.abort(key))

    def load(self) -> Load:
        load = self._engine.load()
        free = max(load.credits.free_sequences - self._coming, 0)
        return replace(
            load,
            running=load.running + self._returning,
            waiting=load.waiting + self._coming,
            credits=replace(load.credits, free_sequences=free),
        )

    def take_steps(self) -> StepCounts:
        return self._engine.take_steps()

    def take_timings(self) -> Timings:
        told, self._told = self._told, []
        return Timings(
            steps=tuple(step for each in told for step in each.steps),
            batches=tuple(batch for each in told for batch in each.batches),
        )

    def charged(self) -> dict[str, int]:
        return self._engine.charged()

    async def join(self) -> None:
        await self._engine.join()

    async def stop(self) -> None:
        await self._engine.stop()

    def _later(self, do: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._distance_s, do)


def run() -> int:
    """Run until asked to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--distance-ms", type=float, required=True, help="from the worker to its engine, and back")
    add_arguments(parser)
    add_globals(parser)
    args = parser.parse_args()
    settings = settings_of(args)

    def distant(deployment: Deployment) -> Callable[[int], Engine]:
        make = engine_maker(deployment)
        return lambda life: DistantEngine(make(life), args.distance_ms / 1000)

    return launch(
        args,
        settings,
        lambda stop: main(settings, args.deployment, stop, worker_id=args.worker_id, make_engine=distant),
    )


if __name__ == "__main__":
    sys.exit(guarded(run))

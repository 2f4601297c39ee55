"""What a processor knows at this moment, for its metrics: queues, lanes and workers of the models that it serves."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from aiokafka.errors import KafkaError

from pipeline.metrics.tally import Labels, Tally
from pipeline.processor.station import Station
from processors.execution import STAGE
from processors.queueing.lane import LaneQueue
from topics.fleet import STALE_AFTER_S, ModelFigures

logger = logging.getLogger(__name__)

LAG_EVERY_S: Final = 5.0
"""How often the broker is asked for the ends of the lanes: a paused lane is not fetched, and would look drained."""


class StationGauges:
    """Sources of one station's measures. What several shards have of the same labels is added up.

    Args:
        station: is looked at whenever somebody asks.
    """

    def __init__(self, station: Station) -> None:
        self._station = station
        self._lags: dict[Labels, float] = {}

    def register(self, tally: Tally) -> None:
        """Let a tally ask for all of them."""
        tally.ask("millrace_queue_depth", self._queued)
        tally.ask("millrace_lane_paused", self._paused)
        tally.ask("millrace_lane_lag", lambda: self._lags)
        tally.ask("millrace_credits", self._credits)
        tally.ask("millrace_heartbeat_age_seconds", self._ages)
        tally.ask("millrace_latency_model_error_ratio", lambda: self._learned(lambda model: model.error_ratio))
        tally.ask("millrace_latency_model_scale", lambda: self._learned(lambda model: model.scale))
        tally.ask("millrace_dead_letters_total", self._dead_letters)

    async def watch_lags(self) -> None:
        """Keep the lanes' lags up to date until cancelled."""
        while True:
            try:
                self._lags = await self._station.lane_lags()
            except (KafkaError, RuntimeError) as error:  # between two assignments there is no client to ask
                logger.debug("the lags of %s are not known: %r", self._station.model, error)
            await asyncio.sleep(LAG_EVERY_S)

    def _queued(self) -> Mapping[Labels, float]:
        found: dict[Labels, float] = {}
        for labels, lane in self._lanes():
            found[labels] = found.get(labels, 0.0) + len(lane)
        return found

    def _paused(self) -> Mapping[Labels, float]:
        found: dict[Labels, float] = {}
        for labels, lane in self._lanes():
            found[labels] = max(found.get(labels, 0.0), float(lane.is_paused))
        return found

    def _lanes(self) -> Iterator[tuple[Labels, LaneQueue]]:
        """Those of all shards; a lane has one for each."""
        for scheduler in self._station.shards.schedulers:
            for name, lane in scheduler.lanes.items():
                yield (self._station.model, name), lane

    def _credits(self) -> Mapping[Labels, float]:
        now_s = self._station.shards.now_s
        found: dict[Labels, float] = {}
        for scheduler in self._station.shards.schedulers:
            for worker in scheduler.workers.values():
                if now_s - worker.at_s <= STALE_AFTER_S:
                    labels = (worker.heartbeat.deployment, worker.name)
                    found[labels] = found.get(labels, 0) + max(worker.free_sequences, 0)
        return found

    def _ages(self) -> Mapping[Labels, float]:
        now_s = self._station.shards.now_s
        return {
            (worker.heartbeat.deployment, worker.name): max(0.0, now_s - worker.at_s)
            for scheduler in self._station.shards.schedulers
            for worker in scheduler.workers.values()
        }

    def _learned(self, figure: Callable[[ModelFigures], float]) -> Mapping[Labels, float]:
        """What is furthest from what it should be, of the shards."""
        found: dict[Labels, float] = {}
        for scheduler in self._station.shards.schedulers:
            model = scheduler.learned()
            if model is not None:
                labels = (model.deployment,)
                found[labels] = max(found.get(labels, 0.0), figure(model))
        return found

    def _dead_letters(self) -> Mapping[Labels, float]:
        return {(STAGE, code): float(count) for code, count in self._station.shards.dead_letters.items()}


def register_all(stations: Iterable[Station], tally: Tally) -> list[StationGauges]:
    """Let a tally ask all stations of a process."""
    gauges = [StationGauges(station) for station in stations]
    for gauge in gauges:
        gauge.register(tally)
    return gauges

"""A class as batching sees it: what its SLO asks for, its queue, and how fast it fills."""

from processors.batching.knobs import Knobs
from processors.batching.rates import ArrivalRate
from processors.queueing.lane import LaneQueue


class ClassLane:
    """The `index`-th class of a model, the most urgent one first from 0."""

    __slots__ = ("index", "knobs", "name", "queue", "rate")

    def __init__(self, index: int, name: str, knobs: Knobs, queue: LaneQueue) -> None:
        self.index = index
        self.name = name
        self.knobs = knobs
        self.queue = queue
        self.rate = ArrivalRate()

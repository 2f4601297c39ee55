"""How many requests a worker may hold guilty of its engine's deaths before it suspects its engine. Pure.

A request that kills engines is rare. Where one after the other seems to be such, the deployment is broken - a bad model
file, a bad driver - and sending its whole traffic to the dead letters would make that an outage with data loss.
"""

from collections import deque
from typing import Final

WINDOW: Final = 20
"""So many of the last distinct requests are judged by."""
OTHERS_EACH: Final = 6
"""Beyond the first, a worker may blame one request for every six others in the window that ended without a death: three
of twenty at most, and a worker on which nothing ever ends well blames one request only."""


class Blame:
    """The last requests that ended here, and whether they were held guilty."""

    __slots__ = ("_guilty",)

    def __init__(self) -> None:
        self._guilty: deque[bool] = deque(maxlen=WINDOW)

    def on_innocent(self) -> None:
        """The engine has ended a request, in whatever way, and lives."""
        self._guilty.append(False)

    def on_guilty(self) -> bool:
        """A request seems guilty: whether it may be held so. If not, nothing is counted; the engine is to blame."""
        guilty = sum(self._guilty)
        if guilty and guilty * OTHERS_EACH > len(self._guilty) - guilty:
            return False
        self._guilty.append(True)
        return True

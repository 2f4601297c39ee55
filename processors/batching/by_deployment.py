"""What is learned of each deployment of a model, bounded: they come and go for as long as a processor runs."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

DEPLOYMENTS_KEPT: Final = 16
"""Of one model."""


class ByDeployment(Generic[T]):
    """Values by deployment: the newest ones, and that of the deployment that serves.

    Args:
        make: a value for a deployment that is not known, or not any more.

    Attributes:
        serving: the deployment that gets work; it is never forgotten.
    """

    __slots__ = ("_known", "_make", "serving")

    def __init__(self, make: Callable[[], T], *, serving: str = "") -> None:
        self._make = make
        self._known: dict[str, T] = {}
        self.serving = serving

    def __len__(self) -> int:
        return len(self._known)

    def known(self, deployment: str) -> T | None:
        """What is known of a deployment, if anything is."""
        return self._known.get(deployment)

    def of(self, deployment: str) -> T:
        """What is known of a deployment; a new value where nothing is, and then the oldest of too many is forgotten."""
        value = self._known.get(deployment)
        if value is None:
            value = self._known[deployment] = self._make()
            if len(self._known) > DEPLOYMENTS_KEPT:
                del self._known[next(name for name in self._known if name not in (self.serving, deployment))]
        return value

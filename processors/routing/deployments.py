"""Which deployment of a model gets work, as rollouts and the states of deployments say."""

from typing import Final

from topics.control import ControlRecord, DeploymentState, Rollout
from topics.names import model_of

WITHDRAWN_KEPT: Final = 1000
"""Deployments of the model that are known to drain or to be retired; the oldest are forgotten first."""


class Deployments:
    """Those of one model.

    Args:
        model: its name.
        stable: the deployment that serves it until a rollout says otherwise; None for none.

    Attributes:
        stable: the deployment that serves the model.
    """

    def __init__(self, model: str, stable: str | None) -> None:
        self._model = model
        self._withdrawn: dict[str, str] = {}
        self.stable = stable

    def follow(self, record: ControlRecord) -> bool:
        """Take a decision in; False where it is not about this model."""
        match record:
            case Rollout() if record.model == self._model:
                self.stable = record.stable
            case DeploymentState() if model_of(record.deployment) == self._model:
                self._withdraw(record)
            case _:
                return False
        return True

    def target(self, *, admits: bool) -> str | None:
        """The deployment that gets work; one that drains gets none, but its model goes on taking requests."""
        if self.stable is None:
            return None
        state = self._withdrawn.get(self.stable, "active")
        return self.stable if state == "active" or (admits and state == "draining") else None

    def _withdraw(self, record: DeploymentState) -> None:
        """Remember that a deployment is not, or again, active."""
        self._withdrawn.pop(record.deployment, None)
        if record.state != "active":
            self._withdrawn[record.deployment] = record.state
            if len(self._withdrawn) > WITHDRAWN_KEPT:
                del self._withdrawn[next(name for name in self._withdrawn if name != self.stable)]

"""An engine that is a cost model: for load tests and simulations where there is no GPU."""

from pipeline.engines.simulated.batches import SimulatedBatches
from pipeline.engines.simulated.engine import SimulatedEngine
from pipeline.engines.simulated.steps import SimulatedSteps

__all__ = ["SimulatedBatches", "SimulatedEngine", "SimulatedSteps"]

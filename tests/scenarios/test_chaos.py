"""Three minutes of the chaos bench: every kind of fault, in a fixed order, under a hundred streams.

`make bench-chaos` is the same with 185 faults; how long take-overs last is measured there and not here.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.bench.chaos.plan import Fault, draw
from tests.bench.chaos.run import Run, chaos_cluster

pytestmark = [pytest.mark.scenario, pytest.mark.slow, pytest.mark.timeout(480)]

SEED = 20261121
MINUTES = 1.7
FAULTS = {
    Fault.WORKER_KILL: 6,
    Fault.PROCESSOR_KILL: 4,
    Fault.RECORDER_KILL: 2,
    Fault.WORKER_ZOMBIE: 3,
    Fault.PROCESSOR_ZOMBIE: 2,
    Fault.BROKER_RESTART: 1,
    Fault.DRAIN: 3,
}


async def test_no_token_is_lost_doubled_moved_or_wrong_whatever_dies(tmp_path: Path) -> None:
    async with chaos_cluster(tmp_path / "cluster", is_short_lived=True) as cluster:
        run = Run(cluster, draw(FAULTS, seed=SEED, minutes=MINUTES), seed=SEED)
        outcome = await run.whole(tmp_path / "evidence")

    assert outcome.violations == [], f"records of the first ones: {outcome.evidence}"
    assert outcome.told == outcome.asked == len(outcome.accepted)
    assert Counter(strike.fault for strike in run.ledger.strikes) == FAULTS
    assert run.ledger.modes["resume"] > 100
    assert "restart" not in run.ledger.modes

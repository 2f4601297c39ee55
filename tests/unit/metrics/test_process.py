"""What a process is asked about, whatever it does."""

from pipeline.metrics.process import shipper_of, tally_of
from pipeline.settings import load
from tests.unit.runtime.test_tracing import Faulty


async def test_rows_that_a_shipper_gives_up_can_be_seen() -> None:
    settings = load(environ={}, flags=["metrics.port=0"])
    tally = tally_of(settings, "worker")
    assert tally is not None
    shipper = shipper_of(settings, Faulty(), process="w", tally=tally)
    shipper._give_up(2, "EventRow: OverflowError")

    assert tally.values("millrace_trace_given_up_total") == {(): 2}

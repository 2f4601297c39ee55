"""What is learned of a former owner does not depend on the order in which its logs are read."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.recovery.answers import AnswerScan, Question
from processors.recovery.cancelled import Past
from processors.recovery.identities import IdentityScan
from processors.recovery.slots import Place, SlotScan
from tests.unit.processors.builders import DEPLOYMENT, REPLIES, T0_MS, a_body, a_request
from tests.unit.processors.test_recovery import LANE, REPLY, a_dispatch, at
from topics.codec import encode
from topics.responses import Delta, Expired, Response, Started

REQUESTS = 4


@st.composite
def slot_records(draw: st.DrawFn) -> list[tuple[Any, Any, Place]]:
    """Dispatches of a few requests, each at a place of its own."""
    count = draw(st.integers(0, 12))
    found = []
    for offset in range(count):
        request = draw(st.integers(0, REQUESTS - 1))
        place = Place(
            deployment=DEPLOYMENT,
            slot=draw(st.integers(0, 1)),
            offset=offset,
            at_ms=T0_MS + offset,
            is_open=draw(st.booleans()),
        )
        found.append((a_dispatch(request, hop=draw(st.integers(0, 2))), at(request), place))
    return found


@given(slot_records(), st.randoms(use_true_random=False), st.integers(0, REQUESTS))
def test_slots_may_be_read_in_any_order(records: list[Any], random: Any, committed: int) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    scans = [SlotScan({LANE: committed}) for _ in range(2)]
    for scan, order in zip(scans, (records, shuffled), strict=True):
        for record in order:
            scan.on_dispatch(*record)
    found = [{one.origin: one for one in scan} for scan in scans]
    assert found[0] == found[1]
    kept = [record for record in records if record[2].is_open or record[1].offset >= committed]
    assert set(found[0]) == {record[1].origin for record in kept}
    assert all(one.hop == max(r[0].hop for r in kept if r[1].origin == origin) for origin, one in found[0].items())


@st.composite
def answers(draw: st.DrawFn) -> list[Response]:
    """Records of one request's answer, some of which count."""
    names = st.sampled_from(["a", "b"])
    found: list[Response] = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["started", "delta", "end", "ours"]))
        attempt, origin = draw(names), at(0).origin
        if kind == "started":
            found.append(
                Started(
                    id="r0",
                    origin=origin,
                    attempt=attempt,
                    mode=draw(st.sampled_from(["fresh", "resume"])),
                    hop=draw(st.integers(0, 1)),
                    dispatch=draw(st.sampled_from(["inference.dispatch.m.v1/0/1", f"{LANE}/0/0"])),
                    term=0,
                    deployment=DEPLOYMENT,
                )
            )
        elif kind == "delta":
            found.append(Delta(id="r0", origin=origin, attempt=attempt, seq=0, text="x", token_ids=[1]))
        else:
            found.append(Expired(id="r0", origin=origin, attempt=attempt if kind == "end" else None))
    return found


@given(answers(), st.randoms(use_true_random=False))
def test_answers_may_be_read_in_any_order(records: list[Response], random: Any) -> None:
    shuffled = list(enumerate(records))
    random.shuffle(shuffled)
    scans = [AnswerScan([Question(at(0).origin, "r0", REPLY, T0_MS)]) for _ in range(2)]
    for scan, order in zip(scans, (list(enumerate(records)), shuffled), strict=True):
        for offset, record in order:
            scan.on_record(REPLY, offset, b"r0", encode(record))
    assert scans[0].fates() == scans[1].fates()
    if any(fate.terminal for fate in scans[0].fates().values()):
        assert any(isinstance(record, Expired) for record in records)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=8), st.randoms(use_true_random=False))
def test_ids_may_be_read_in_any_order(requests: list[tuple[int, int]], random: Any) -> None:
    numbered = list(enumerate(requests))
    shuffled = list(numbered)
    random.shuffle(shuffled)
    scans = [IdentityScan(REPLIES, window_s=60) for _ in range(2)]
    for scan, order in zip(scans, (numbered, shuffled), strict=True):
        for offset, (name, body) in order:
            value = encode(a_request(f"id{name}", body=a_body(max_tokens=body + 1)))
            scan.on_record(at(offset), T0_MS + offset, value)
    runs = [{run.key: run.origin for run in scan.runs()} for scan in scans]
    assert runs[0] == runs[1]
    newest = {("default", f"id{name}"): at(offset).origin for offset, (name, _) in numbered}
    assert runs[0] == newest


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 100)), max_size=20), st.integers(0, 100))
def test_a_cancellation_means_requests_that_were_there(records: list[tuple[int, int]], produced_ms: int) -> None:
    past = Past()
    for name, at_ms in records:
        past.on_record(("t", str(name)), at_ms)
    for name in range(4):
        times = [at_ms for other, at_ms in records if other == name]
        assert past.means(("t", str(name)), produced_ms) == any(at_ms >= produced_ms for at_ms in times)

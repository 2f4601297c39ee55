from processors.batching.rates import ArrivalRate


def a_rate(per_s: float, seconds: float) -> ArrivalRate:
    rate = ArrivalRate()
    for index in range(int(per_s * seconds)):
        rate.add(index / per_s)
    return rate


def test_a_steady_rate_is_found() -> None:
    assert abs(a_rate(1000, 5).per_s(5.0) / 1000 - 1) < 0.05


def test_a_burst_is_noticed_within_a_tenth_of_a_second() -> None:
    rate = a_rate(1000, 5)
    for index in range(500):
        rate.add(5.0 + index / 5000)

    assert rate.per_s(5.1) > 2000


def test_silence_is_noticed_within_a_few_tenths() -> None:
    assert a_rate(1000, 5).per_s(5.5) < 200


def test_time_that_goes_back_changes_nothing() -> None:
    rate = a_rate(1000, 5)
    later = rate.per_s(5.0)

    assert rate.per_s(4.9) == later

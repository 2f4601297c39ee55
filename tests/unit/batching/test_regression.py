from processors.batching.regression import BucketedFit, half_octave

PRIOR = (0.01, 0.001)
FLOORS = (1e-5, 1e-7)


def test_without_samples_the_prior_holds() -> None:
    fit = BucketedFit(PRIOR, floors=FLOORS)

    base, each = fit.fit()

    assert abs(base - PRIOR[0]) < 1e-4
    assert abs(each - PRIOR[1]) < 1e-5


def test_a_linear_law_is_found() -> None:
    fit = BucketedFit(PRIOR, floors=FLOORS)
    for size in (1, 4, 16, 64) * 10:
        fit.add(half_octave(size), (1.0, float(size)), 0.005 + 0.0008 * size)

    base, each = fit.fit()

    assert abs(base / 0.005 - 1) < 0.02
    assert abs(each / 0.0008 - 1) < 0.02


def test_thousands_of_small_samples_do_not_erase_the_slope() -> None:
    fit = BucketedFit(PRIOR, floors=FLOORS)
    for size in (1, 4, 16, 64):
        fit.add(half_octave(size), (1.0, float(size)), 0.005 + 0.0008 * size)
    for _ in range(5000):
        fit.add(half_octave(1), (1.0, 1.0), 0.0060)

    base, each = fit.fit()

    assert abs((base + 64 * each) / 0.0562 - 1) < 0.05


def test_coefficients_never_fall_below_their_floors() -> None:
    fit = BucketedFit((0.01, 0.0), floors=(0.001, 0.0))
    for size in (1, 10, 100):
        fit.add(size, (1.0, float(size)), 0.1 / size)

    assert min(fit.fit()) >= 0.0
    assert fit.fit()[1] == 0.0


def test_half_octaves_double_every_second_bucket() -> None:
    assert [half_octave(value) for value in (0.0, 1.0, 2.0, 4.0, 64.0)] == [0, 0, 2, 4, 12]


def test_features_that_always_go_together_keep_their_common_effect() -> None:
    fit = BucketedFit((0.01, 0.0012, 0.0), floors=(1e-5, 1e-7, 0.0))
    for size in (1, 4, 16, 64):
        fit.add(size, (1.0, float(size), float(size)), 0.005 + 0.0008 * size)

    base, each, token = fit.fit()

    assert abs((base + 15 * (each + token)) / 0.017 - 1) < 0.02

"""The layered detector and its calibration."""

from hypersphere.detectors import LayeredLOF, conformal_p_values, log_p_values

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.utils.estimator_checks import parametrize_with_checks


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(0)


def normal_rows(rng, n):
    """Two layers, of three and two features."""
    return np.column_stack([rng.normal(0, 1, (n, 3)), rng.normal(5, 0.1, (n, 2))])


@pytest.fixture(scope="module")
def detector(rng):
    detector = LayeredLOF(widths=(3, 2), truncations=(1, 0.05))
    return detector.fit(normal_rows(rng, 2000), X_calibration=normal_rows(rng, 2000))


def test_conformal_p_values_count():
    calibration = np.array([3.0, 1.0, 2.0, 2.0])
    p = conformal_p_values(calibration, np.array([0.0, 2.0, 2.5, 9.0]))
    np.testing.assert_allclose(p, [5 / 5, 4 / 5, 2 / 5, 1 / 5])


def test_conformal_p_values_of_like_data_are_uniform(rng):
    shares = []
    for _ in range(2000):
        scores = rng.exponential(size=40)
        shares.append(conformal_p_values(scores[:39], scores[39:])[0] <= 0.1)
    assert np.mean(shares) == pytest.approx(0.1, abs=0.03)  # four standard errors


def test_log_p_values_fall_beyond_the_calibration(rng):
    calibration = rng.exponential(2.0, 50_000)
    new = np.linspace(0.1, 60, 500)
    log_p = log_p_values(calibration, new)
    assert np.all(np.diff(log_p) < 0)
    np.testing.assert_allclose(log_p, -new / 2, rtol=0.05, atol=0.03)  # the distribution is known


@parametrize_with_checks([LayeredLOF(level=0.1)])  # at 0.01, the checks' few rows are all let through
def test_scikit_learn_estimator(estimator, check):
    check(estimator)


def test_the_promised_share_is_turned_away(detector, rng):
    away = np.mean(detector.predict(normal_rows(rng, 20_000)) == -1)
    assert away == pytest.approx(detector.level, abs=0.005)


def test_predict_is_the_p_value_against_the_level(detector, rng):
    rows = normal_rows(rng, 5000) * rng.uniform(0.9, 1.1, (5000, 1))
    p = detector.p_values(rows)
    assert 0.1 < np.mean(p <= detector.level) < 0.9
    np.testing.assert_array_equal(detector.predict(rows) == -1, p <= detector.level)
    np.testing.assert_array_equal(detector.predict(rows) == -1, detector.decision_function(rows) < 0)


@pytest.mark.parametrize("layer", [0, 1])
def test_one_strange_layer_is_enough(detector, rng, layer):
    rows = normal_rows(rng, 200)
    rows[:, [0, 3][layer]] += [8, 0.8][layer]
    assert np.all(detector.predict(rows) == -1)
    assert np.all(detector.layer_log_p_values(rows).argmin(axis=1) == layer)


def test_a_layer_has_no_say_above_its_truncation(detector, rng):
    rows = normal_rows(rng, 5000)
    first, second = detector.layer_log_p_values(rows).T
    speaks = second < np.log(0.05)
    assert np.mean(speaks) == pytest.approx(0.05, abs=0.02)
    np.testing.assert_allclose(detector.score_samples(rows), first + np.where(speaks, second - np.log(0.05), 0))


def test_measures_against_scikit_learn(rng):
    known, calibration, new = (normal_rows(rng, n) for n in [300, 100, 50])
    detector = LayeredLOF((3, 2), ("lof", "distance"), n_neighbors=7).fit(known, X_calibration=calibration)
    lof, distance = detector.layer_scores(new).T

    def standardised(x):
        return (x - known.mean(axis=0)) / known.std(axis=0)

    reference = LocalOutlierFactor(7, novelty=True).fit(standardised(known)[:, :3])
    np.testing.assert_allclose(lof, -reference.score_samples(standardised(new)[:, :3]), rtol=1e-6)
    pairs = np.linalg.norm(standardised(new)[:, None, 3:] - standardised(known)[:, 3:], axis=2)
    np.testing.assert_allclose(distance, np.sort(pairs, axis=1)[:, 6], rtol=1e-6)


def test_farther_is_stranger_beyond_the_calibration(detector):
    rows = np.array([[0, 0, 0, 5 + distance, 5] for distance in [0.5, 1, 2, 4]])
    assert np.all(np.diff(detector.score_samples(rows)) < 0)
    assert len(set(detector.p_values(rows))) == 1  # no calibration row is as strange as any of them


def test_without_calibration_rows_every_fifth_calibrates(rng):
    rows = normal_rows(rng, 500)
    calibrates = np.arange(500) % 5 == 4
    alone = LayeredLOF().fit(rows)
    given = LayeredLOF().fit(rows[~calibrates], X_calibration=rows[calibrates])
    np.testing.assert_array_equal(alone.score_samples(rows), given.score_samples(rows))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": (3, 3)}, "do not add up to the 5 columns"),
        ({"widths": (3, 2), "measures": ("lof",)}, "measures"),
        ({"widths": (3, 2), "measures": ("lof", "cosine")}, "'lof' or 'distance'"),
        ({"widths": (3, 2), "truncations": (0.5,)}, "truncations"),
        ({"widths": (3, 2), "truncations": (1.5, 0.5)}, "at most 1"),
        ({"widths": (3, 2), "truncations": (0, 0.5)}, "above 0"),
        ({"level": 0}, "level 0"),
        ({"level": 1}, "level 1"),
    ],
)
def test_wrong_arguments(arguments, message, rng):
    with pytest.raises(ValueError, match=message):
        LayeredLOF(**arguments).fit(normal_rows(rng, 100))

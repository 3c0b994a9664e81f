"""Thresholds, measures and p-values at known values and against known distributions."""

import numpy as np
import pytest

from hypersphere import scores


def test_measures_at_known_values():
    normal, anomalies = np.arange(100.0), np.array([94.0, 94.5, 200.0, -1.0])
    # The 95% quantile of 0..99 lies at 94.05: two of the four anomalies are not above it.
    found = scores.separation(normal, {"a": anomalies, "far": anomalies + 200})
    assert found["auroc"] == {"a": pytest.approx((94.5 + 95 + 100 + 0) / 400), "far": 1.0}
    assert found["fpr95"] == {"a": 0.5, "far": 0.0} and found["accepted"] == {"a": 0.75, "far": 0.0}
    sets = {"a": np.array([1.0, 2.0, 2.0, 3.0]), "b": np.array([9.0])}
    shares = scores.accepted_shares(sets, {0.01: 2.0, 0.1: 1.5})
    assert shares == {"0.01": {"a": 0.75, "b": 0.0}, "0.1": {"a": 0.25, "b": 0.0}}


def test_cosine_scores_see_directions_alone(rng):
    known, new = rng.normal(size=(30, 5)), rng.normal(size=(20, 5))
    cosines = [max(a @ b / np.sqrt((a @ a) * (b @ b)) for a in known) for b in new]
    lengths = np.geomspace(0.01, 100, 20)[:, np.newaxis]
    found = scores.cosine_score(scores.directions(known), scores.directions(new * lengths))
    np.testing.assert_allclose(found, -np.array(cosines), rtol=1e-10)
    np.testing.assert_array_equal(scores.directions(np.zeros((2, 3), np.float32)), 0)


@pytest.mark.parametrize(
    ("dtype", "length"),
    [(np.float16, 1e4), (np.float32, 1e30), (np.float32, 1e-30), (np.float64, 1e300), (np.float64, 1e-300)],
)
@pytest.mark.filterwarnings("error")
def test_directions_have_length_one_whatever_the_length_was(dtype, length):
    found = scores.directions((np.array([[3, -4], [0, 1]]) * length).astype(dtype))
    np.testing.assert_allclose(found, [[0.6, -0.8], [0, 1]], rtol=1e-3 if dtype is np.float16 else 1e-6)
    assert found.dtype == (np.float64 if dtype is np.float64 else np.float32)


def test_conformal_p_values_count():
    p = scores.conformal_p_values(np.array([3.0, 1.0, 2.0, 2.0]), np.array([0.0, 2.0, 2.5, 9.0]))
    np.testing.assert_allclose(p, [5 / 5, 4 / 5, 2 / 5, 1 / 5])


def test_log_p_values_are_those_of_a_known_distribution(rng):
    n, new = 50_000, np.linspace(0.1, 60, 500)
    log_p = scores.log_p_values(rng.exponential(2.0, n), new)
    assert np.all(np.diff(log_p) < 0)
    # Standard errors: sqrt(0.95 / (0.05 n)) of the logarithm at the tail's start, 1 / sqrt(0.05 n) of its slope.
    np.testing.assert_allclose(log_p, -new / 2, rtol=4 / np.sqrt(0.05 * n), atol=4 * np.sqrt(0.95 / (0.05 * n)))


@pytest.mark.parametrize("calibration", [[3.0], [3.0] * 40, [0.0] * 40, [1.0] * 30 + [3.0] * 10])
def test_log_p_values_stay_finite_where_calibration_scores_are_equal(calibration):
    new = np.array([0.0, 3.0, 3.5, 1e10])
    assert np.isfinite(scores.log_p_values(np.array(calibration), np.array([1e300, -1e300]))).all()
    for kind in [np.float32, np.float64]:
        log_p = scores.log_p_values(np.array(calibration, kind), new.astype(kind))
        assert np.isfinite(log_p).all() and np.all(np.diff(log_p) <= 0) and log_p[-1] < log_p[-2] < np.log(0.05)

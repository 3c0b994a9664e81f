"""The layered detector: its layers' scores, its calibration for few and many rows, and its files."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.spatial import distance
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

import hypersphere
from conftest import run_python
from hypersphere import detectors, heads, scores
from hypersphere.detectors import LayeredDetector
from hypersphere.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:nothing can be rejected")
LAYERS = [("first", slice(0, 2), "lof", 0.05), ("second", [2, 3], "lof", 1.0), ("third", slice(4, 7), "distance", 1.0)]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads cost more than they save on the few rows here."""
    with threadpool_limits(1):
        yield


def normal_rows(rng, n):
    """In-distribution rows: three layers, whose first features are correlated."""
    shared = rng.normal(size=(n, 1))
    return np.hstack([shared + rng.normal(0, 1, (n, 2)), shared + rng.normal(5, 0.1, (n, 2)), rng.normal(0, 9, (n, 3))])


def untrained(n_neighbors=20, level=0.01):
    return LayeredDetector(LAYERS, n_neighbors, level)


@pytest.fixture(scope="module")
def detector():
    rng = np.random.default_rng(1)
    return untrained().fit(normal_rows(rng, 1000), X_calibration=normal_rows(rng, 1000))


@parametrize_with_checks([LayeredDetector(level=0.1), hypersphere.Enrolment()])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_estimators(estimator, check):
    check(estimator)


def test_training_rows_are_not_judged():
    with pytest.raises(AttributeError, match="judges new rows alone"):
        _ = LayeredDetector().fit_predict


@pytest.mark.parametrize(("n_calibration", "level", "exact"), [(20, 0.1, 1 / 17), (99, 0.1, 8 / 80), (124, 0.01, 0.01)])
def test_rejection_is_at_most_the_level_for_few_calibration_rows(n_calibration, level, exact):
    """With n = 16, 79 or 99 rows of four fifths, the rate is the largest multiple of 1 / (n + 1) up to the level."""
    rng, rates = np.random.default_rng(n_calibration), []
    for _ in range(200):  # everything is drawn anew each time
        fitted = untrained(5, level).fit(normal_rows(rng, 30), X_calibration=normal_rows(rng, n_calibration))
        rates.append(np.mean(fitted.predict(normal_rows(rng, 100)) == -1))
    assert np.mean(rates) == pytest.approx(exact, abs=4 * np.std(rates) / np.sqrt(len(rates)))


def assert_decisions_are_the_p_values(fitted, rows):
    is_rejected = fitted.p_values(rows) <= fitted.level
    np.testing.assert_array_equal(fitted.predict(rows) == -1, is_rejected)
    np.testing.assert_array_equal(fitted.decision_function(rows) < 0, is_rejected)


@pytest.mark.parametrize("level", [0.01, 0.29, 1 - 0.9, 0.1 + 0.2, 1 - 1e-12])
@pytest.mark.parametrize("n_calibration", [1, 2, 3, 20, 99, 198])
@pytest.mark.parametrize("copies", [1, 10])
def test_decisions_are_the_p_values_against_the_level(level, n_calibration, copies, rng):
    calibration = np.repeat(normal_rows(rng, n_calibration), copies, axis=0)[:n_calibration]
    fitted = untrained(5, level).fit(normal_rows(rng, 40), X_calibration=calibration)
    rows = normal_rows(rng, 100) * rng.uniform(0.8, 1.5, (100, 1))
    assert_decisions_are_the_p_values(fitted, np.vstack([rows, calibration]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_calibration", [50, 300])  # with 50 none can be rejected
@pytest.mark.parametrize("case", ["a layer of zeros", "zeros alone", "far calibration rows"])
def test_whatever_the_rows_scores_are_finite_and_decisions_the_p_values(case, n_calibration, dtype, rng):
    known, calibration, new = (normal_rows(rng, n).astype(dtype) for n in [200, n_calibration, 50])
    if case == "a layer of zeros":
        known[:, :2] = calibration[:, :2] = 0
    if case == "zeros alone":
        known, calibration = known * 0, calibration * 0
    if case == "far calibration rows":
        calibration[::3] *= dtype(1e20)
    fitted = untrained().fit(known, X_calibration=calibration)
    rows = np.vstack([new, calibration, new * dtype(1e30), -new * dtype(1e35)])
    assert np.isfinite(fitted.decision_function(rows)).all() and np.isfinite(fitted.layer_scores(rows)).all()
    assert_decisions_are_the_p_values(fitted, rows)


def messages(detector, *rows, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        detector.fit(*rows, **options)
    return [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def test_too_few_calibration_rows_are_told(rng):
    rows = normal_rows(rng, 1000)
    (message,) = messages(untrained(), rows, X_calibration=rows[:123])
    assert "at least 124" in message
    assert messages(untrained(), rows, X_calibration=rows[:124]) == []
    (message,) = messages(untrained(), rows[:619])
    assert "at least 620" in message
    assert messages(untrained(), rows[:620]) == messages(untrained(level=0.1), rows[:60]) == []


def test_too_few_rows_for_neighbours_or_components_are_told(rng):
    found = messages(untrained(), normal_rows(rng, 20), X_calibration=normal_rows(rng, 130))
    assert [message.split(":")[0] for message in found] == [f"layer '{name}'" for name, *_ in LAYERS]
    wide, new = rng.normal(size=(20, 50)), rng.normal(size=(130, 50))
    (message,) = messages(LayeredDetector(n_neighbors=5, n_components=32), wide, X_calibration=new)
    assert "'all columns'" in message and "19 components" in message
    assert messages(LayeredDetector(n_neighbors=5, n_components=99), wide, X_calibration=new) == []
    assert messages(LayeredDetector([("s", [0], "score", 1.0)]), wide[:15], X_calibration=new) == []


@pytest.mark.filterwarnings("error")
def test_data_frames_are_judged_like_arrays(rng):
    arrays = [normal_rows(rng, n) for n in [100, 130, 20]]
    names = [f"feature {number}" for number in range(7)]
    known, calibration, new = (pd.DataFrame(rows, columns=names) for rows in arrays)
    fitted = untrained().fit(known, X_calibration=calibration)
    of_arrays = untrained().fit(arrays[0], X_calibration=arrays[1])
    np.testing.assert_allclose(fitted.layer_scores(new), of_arrays.layer_scores(arrays[2]), rtol=1e-6)
    assert np.all(fitted.predict(new + 99) == -1)


def test_a_score_counts_as_it_is(rng):
    known, calibration, new = (rng.normal(3, 5, (n, 1)) for n in [50, 200, 40])
    fitted = LayeredDetector([("score", [0], "score", 1.0)], level=0.1).fit(known, X_calibration=calibration)
    p = scores.conformal_p_values(calibration[np.arange(200) % 5 > 0, 0], new[:, 0])
    np.testing.assert_array_equal(fitted.predict(new) == -1, p <= 0.1)  # monotone, so its calibration alone counts
    coarse = fitted.fit(known.astype(np.float16), X_calibration=calibration.astype(np.float16))
    np.testing.assert_array_equal(coarse.predict(new + 100), -1)


def test_a_wide_layer_is_reduced_to_its_principal_components(rng):
    known, new = (rng.normal(size=(n, 3)) * [1, 5, 1] + [0, 0, 9] for n in [300, 50])
    known[:, 2] += known[:, 0]
    layers = [("wide", slice(None), "distance", 1.0)]
    fitted = LayeredDetector(layers, n_neighbors=7, n_components=2).fit(known, X_calibration=new)
    x_known, x_new = ((x - known.mean(axis=0)) / known.std(axis=0) for x in [known, new])
    components = np.linalg.svd(x_known, full_matrices=False)[2][:2]
    distances = np.linalg.norm((x_new @ components.T)[:, None] - x_known @ components.T, axis=2)
    np.testing.assert_allclose(fitted.layer_scores(new)[:, 0], np.sort(distances, axis=1)[:, 6], rtol=1e-6)
    narrow, whole = (LayeredDetector(layers, n_components=n).fit(known, X_calibration=new) for n in [3, None])
    np.testing.assert_array_equal(narrow.layer_scores(new), whole.layer_scores(new))


def test_layer_scores_are_scikit_learns_with_duplicates_too(rng):
    known, calibration, new = (normal_rows(rng, n).astype(np.float32) for n in [300, 100, 50])
    known[:5], new[:3] = known[5], known[5]  # fewer copies than neighbours
    found = untrained(7).fit(known, X_calibration=calibration).layer_scores(new)
    mean, deviation = known.mean(axis=0, dtype=float), known.std(axis=0, dtype=float)
    known, new = (known - mean) / deviation, (new - mean) / deviation
    for number, columns in [(0, slice(0, 2)), (1, slice(2, 4))]:
        direct = LocalOutlierFactor(n_neighbors=7, novelty=True).fit(known[:, columns])
        np.testing.assert_allclose(found[:, number], -direct.score_samples(new[:, columns]), rtol=1e-4)
    pairs = np.linalg.norm(new[:, None, 4:] - known[:, 4:], axis=2)
    np.testing.assert_allclose(found[:, 2], np.sort(pairs, axis=1)[:, 6], rtol=1e-4)


def test_the_evidence_is_the_truncated_product_of_two_calibrations(rng):
    """Each calibration row has one use, every fifth another than the others; truncated layers say nothing."""
    rows, calibration, new = (normal_rows(rng, n) for n in [200, 101, 50])
    fitted = untrained().fit(rows, X_calibration=calibration)
    is_reference = np.arange(101) % 5 == 0
    evidence, calibrating = np.zeros(50), np.zeros(80)
    columns = zip(fitted.layer_scores(calibration).T, fitted.layer_scores(new).T, LAYERS, strict=True)
    for found, found_new, (*_, truncation) in columns:
        for target, values in [(evidence, found_new), (calibrating, found[~is_reference])]:
            target += np.minimum(scores.log_p_values(found[is_reference], values) - np.log(truncation), 0)
    np.testing.assert_allclose(fitted.score_samples(new), evidence, rtol=1e-6)
    expected = [(1 + np.sum(calibrating <= value)) / 81 for value in evidence]
    np.testing.assert_allclose(fitted.p_values(new), expected, rtol=1e-12)


@pytest.mark.parametrize(("layer", "column", "shift"), [(0, 0, 25), (1, 2, 25), (2, 4, 200)])
def test_one_novel_layer_is_enough(detector, rng, layer, column, shift):
    rows = normal_rows(rng, 100)
    rows[:, column] += shift
    assert np.all(detector.predict(rows) == -1) and np.all(detector.layer_log_p_values(rows).argmin(axis=1) == layer)


def test_without_calibration_rows_every_fifth_calibrates(rng):
    rows = normal_rows(rng, 500)
    is_calibration = np.arange(500) % 5 == 4
    given = LayeredDetector().fit(rows[~is_calibration], X_calibration=rows[is_calibration])
    np.testing.assert_array_equal(LayeredDetector().fit(rows).decision_function(rows), given.decision_function(rows))
    scaler, new = StandardScaler().fit(rows[~is_calibration]), normal_rows(rng, 9)
    distances = distance.cdist(scaler.transform(new), scaler.transform(rows[~is_calibration]))
    np.testing.assert_allclose(given.layer_scores(new)[:, 0], np.sort(distances)[:, 19], err_msg="to the 20th nearest")
    for by_position in [rows[is_calibration], rows[is_calibration].tolist()]:
        with pytest.raises(ValueError, match="X_calibration="):
            LayeredDetector().fit(rows[~is_calibration], by_position)


def layer(name="a", columns=slice(0, 3), measure="lof", truncation=1.0):
    return (name, columns, measure, truncation)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": [layer(columns=slice(0, 8))]}, "'a': columns .*; give a slice or a list of X's 7 columns"),
        ({"layers": [layer(columns=[0, 7])]}, "'a': columns .*; give a slice or a list of X's 7 columns"),
        ({"layers": [layer(columns=[])]}, "'a': columns .*; give a slice or a list of X's 7 columns"),
        ({"layers": [layer(columns=3)]}, "'a': columns 3; give a slice or a list of X's 7 columns"),
        ({"layers": []}, "layers: there are none"),
        ({"layers": [layer(), layer()]}, "'a': there are two"),
        ({"layers": [layer(), layer("b", measure="cosine")]}, "'b': measure 'cosine', give 'lof', 'distance'"),
        ({"layers": [layer(measure="score")]}, "'a': a score is one column, here there are 3"),
        ({"layers": [layer(truncation=1.5)]}, "'a': truncation 1.5"),
        ({"layers": [("a", slice(0, 3), "lof")]}, r"'a'.* give a tuple \(name, columns, measure, truncation\)"),
        *(({name: 0}, f"{name} 0") for name in ["n_components", "n_neighbors", "level"]),
        ({"level": 1}, "level 1"),
    ],
)
def test_wrong_arguments(arguments, message, rng):
    with pytest.raises(ValueError, match=message):
        LayeredDetector(**arguments).fit(normal_rows(rng, 100))


def test_a_table_of_layers_makes_a_detector_and_its_rows(rng):
    found = {name: rng.normal(size=(60, width)) for name, width in [("logits", 9), ("wide", 5), ("narrow", 2)]}
    table = {"narrow": ("lof", 0.05), "wide": ("distance", 1.0)}
    layers = detectors.layers_of(found, table)
    assert layers == [("narrow", slice(0, 2), "lof", 0.05), ("wide", slice(2, 7), "distance", 1.0)]
    np.testing.assert_array_equal(detectors.side_by_side(found, table), np.hstack([found["narrow"], found["wide"]]))


@pytest.mark.parametrize(("kind", "path_type"), [("layered", str), ("reduced", Path), ("lof", Path)])
def test_a_saved_detector_scores_the_same(kind, path_type, detector, rng, tmp_path):
    if kind == "reduced":
        detector = LayeredDetector(LAYERS, level=0.1, n_components=2).fit(normal_rows(rng, 200))
    if kind == "lof":
        detector = LocalOutlierFactor(novelty=True, algorithm="brute").fit(normal_rows(rng, 100))
    detectors.save_detector(detector, path_type(tmp_path / "d.skops"))
    loaded = detectors.load_detector(path_type(tmp_path / "d.skops"), "fit again")
    rows = normal_rows(rng, 50)
    np.testing.assert_allclose(loaded.score_samples(rows), detector.score_samples(rows), rtol=1e-12)
    np.testing.assert_array_equal(loaded.predict(rows), detector.predict(rows))


class Foreign(LocalOutlierFactor):
    """A type that is neither scikit-learn's nor the package's."""


def test_load_detector_names_what_is_no_detector(tmp_path, rng):
    path, rows = tmp_path / "d.skops", normal_rows(rng, 30)
    with pytest.raises(InputError, match=r"d\.skops: missing; fit again"):
        detectors.load_detector(str(path), "fit again")
    foreign = Foreign(novelty=True, algorithm="brute").fit(rows)
    for content in [b"nothing", b"", *map(skops.io.dumps, [StandardScaler().fit(rows), foreign])]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"d\.skops: not a detector of this project; fit again"):
            detectors.load_detector(path, "fit again")


def test_what_works_on_arrays_does_not_load_keras():
    code = "import sys; from hypersphere import LayeredDetector, datasets, files, outliers, pictures, scores, tsne"
    assert run_python(code + "; print({'keras', 'tensorflow'} & set(sys.modules))") == "set()"


def test_the_package_gives_heads_and_detector():
    assert hypersphere.AdaCos is heads.AdaCos and set(dir(hypersphere)) == set(hypersphere.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Arcface'"):
        _ = hypersphere.Arcface

"""The scoreboard's detectors against NumPy, and its tables."""

import copy

from hypersphere import novelty, outlier_tables, scoreboard

import numpy as np
import pytest


@pytest.fixture(scope="module")
def features():
    """Features of training, calibration and new images in four classes, and of outliers between them."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 6)) * 4

    def draw(n, strange):
        labels = rng.integers(0, 4, n)
        embedding = centers[labels] * (0.3 if strange else 1) + rng.normal(0, 0.5, (n, 6))
        logits = embedding @ centers.T
        spread = 3 if strange else 1
        layers = {"block1": rng.normal(0, spread, (n, 9)), "block3": rng.normal(0, spread, (n, 8))}
        pixels = rng.random((n, 12)) * (0.2 if strange else 1)
        return layers | {"embedding": embedding, "logits": logits, "pixels": pixels}, labels

    train, labels = draw(400, strange=False)
    known = scoreboard.Known(train, labels, draw(200, strange=False)[0])
    return known, draw(100, strange=False)[0], draw(80, strange=True)[0]


@pytest.mark.parametrize("name", scoreboard.DETECTORS)
def test_detectors_score_what_is_stranger_higher(features, name):
    known, normal, strange = features
    score = scoreboard.DETECTORS[name](known)
    assert score(normal).shape == (100,)
    assert novelty.auroc(score(normal), score(strange)) > 0.7


def test_logit_detectors_against_numpy(features):
    known, normal, _ = features
    exponentials = np.exp(normal["logits"])
    expected = {
        "softmax probability": -np.log(exponentials.max(axis=1) / exponentials.sum(axis=1)),
        "largest logit": -normal["logits"].max(axis=1),
        "energy": -np.log(exponentials.sum(axis=1)),
    }
    for name, scores in expected.items():
        np.testing.assert_allclose(scoreboard.DETECTORS[name](known)(normal), scores, atol=1e-9)


def test_distance_detectors_against_numpy(features):
    known, normal, _ = features
    train, new = known.train["embedding"], normal["embedding"]
    means = np.stack([train[known.labels == label].mean(axis=0) for label in range(4)])
    within = train - means[known.labels]
    inverse = np.linalg.inv(within.T @ within / len(train))
    mahalanobis = [min((x - m) @ inverse @ (x - m) for m in means) for x in new]
    np.testing.assert_allclose(scoreboard.mahalanobis(known)(normal), mahalanobis)
    unit_train, unit_new = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in [train, new])
    distances = np.sort(np.linalg.norm(unit_new[:, None] - unit_train, axis=2), axis=1)[:, 49]
    np.testing.assert_allclose(scoreboard.nearest_neighbors(known)(normal), distances, atol=1e-7)


def test_judge(features):
    known, normal, strange = features
    verdict = scoreboard.judge(scoreboard.energy, known, normal, {"strange": strange, "normal": normal})
    scores = scoreboard.energy(known)
    assert verdict["auroc"]["strange"] == novelty.auroc(scores(normal), scores(strange))
    assert verdict["auroc"]["normal"] == 0.5
    assert verdict["fpr95"]["normal"] == pytest.approx(0.95)
    assert verdict["judged_normal"]["normal"] == pytest.approx(0.99)
    assert verdict["fit_seconds"] >= 0 and verdict["score_seconds"] >= 0


def record(seed, classes, auroc, recipe="best"):
    names = {10: "Fashion-MNIST", 5: outlier_tables.NEAR}
    verdict = {key: {names[classes]: auroc} for key in ["auroc", "fpr95", "judged_normal"]}
    detectors = {name: verdict | {"fit_seconds": 1.0, "score_seconds": 2.0} for name in ["energy", "a", "b"]}
    detectors = {
        outlier_tables.OURS: detectors["a"],
        outlier_tables.ARTICLE: detectors["b"],
        "energy": detectors["energy"],
    }
    metrics = {"detectors": detectors, "parts": {"sphere alone": verdict}, "accuracy": {"test": auroc, "val": auroc}}
    metrics["calibration"] = {"at_1_percent": 0.012, "halves": [0.01, 0.02], "turned_away": list(outlier_tables.LEVELS)}
    flags = {"recipe_name": recipe, "classes": classes, "seed": seed, "epochs": 3, "precision": "float32"}
    machine = {"cpu": "a processor", "cores": 2, "system": "Linux"}
    versions = dict.fromkeys(["python", "tensorflow", "keras", "scikit-learn"], "1")
    more = {"machine": machine, "versions": versions, "seconds": 60, "peak_memory_mb": 900}
    return copy.deepcopy({"flags": flags, "metrics": metrics} | more)


def test_tables_put_both_kinds_of_networks_side_by_side():
    records = [record(0, 5, 0.5), record(0, 10, 0.75), record(1, 10, 0.85)]
    header, _, *rows = outlier_tables.board(records).splitlines()
    assert header.index("Fashion-MNIST") < header.index(outlier_tables.NEAR)
    assert "80.00 ± 7.07 / 80.00 ± 7.07" in rows[-1] and "50.00 / 50.00" in rows[-1]
    assert outlier_tables.OURS in rows[-1]
    assert "0.8000 ± 0.0707" in outlier_tables.judged_normal(records)
    assert "1.20%" in outlier_tables.calibration(records) and "1.50 ± 0.71" in outlier_tables.calibration(records)
    assert outlier_tables.parts(records).splitlines()[-1].startswith("| all of it")
    assert "900 MB" in outlier_tables.seconds(records)


def test_recipes_are_sorted_by_accuracy():
    records = [record(0, 10, 0.7), record(0, 5, 0.6), record(0, 10, 0.9, "other"), record(0, 5, 0.8, "other")]
    _, _, first, second = outlier_tables.recipe_table(records).splitlines()
    assert first.startswith("| other") and second.startswith("| best")
    assert "90.00" in first and "80.00 / 80.00" in first

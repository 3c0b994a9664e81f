"""The scoreboard: detectors against NumPy, outliers made of digits, rotation-prediction networks, and small trials."""

from argparse import Namespace

import keras
import numpy as np
import pytest
from scipy.spatial import distance
from scipy.special import log_softmax
from sklearn.neighbors import LocalOutlierFactor

from common import records
from experiments import building, made_up_outliers, scoreboard
from hypersphere import datasets, features, rotation, scores


def plan(**changes):
    return scoreboard.plan(Namespace(**{"choose": False, "seeds": None, "smoke": True} | changes), None)


def test_detectors_from_the_literature(rng):
    """Against SciPy, on training images in four classes, new images, and outliers between the classes."""
    centers, labels = rng.normal(size=(4, 6)) * 4, rng.integers(0, 4, 400)

    def features_of(means):
        embedding = means + rng.normal(0, 0.5, means.shape)
        return {"embedding": embedding, "logits": embedding @ centers.T}

    train, new = features_of(centers[labels]), features_of(centers[labels[:100]])
    found = {title: fit(train, labels) for title, (_, fit) in scoreboard.DETECTORS.items()}
    outliers = features_of(0.3 * centers[labels[:80]])
    assert all(scores.auroc(score(new), score(outliers)) > 0.7 for score in found.values())
    np.testing.assert_array_equal(found["largest logit"](new), -new["logits"].max(axis=1))
    x, x_new = train["embedding"], new["embedding"]
    lof = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(x)
    np.testing.assert_allclose(found["LOF, embedding"](new), -lof.score_samples(x_new))
    means = np.stack([x[labels == label].mean(axis=0) for label in range(4)])
    inverse = np.linalg.inv(np.cov(x - means[labels], rowvar=False, bias=True))
    distances = distance.cdist(x_new, means, "mahalanobis", VI=inverse)
    np.testing.assert_allclose(found["Mahalanobis"](new), distances.min(axis=1) ** 2)
    chords = np.sqrt(2 * distance.cdist(x_new, x, "cosine"))
    np.testing.assert_allclose(found["nearest neighbours"](new), np.sort(chords)[:, 49], atol=1e-7)


@pytest.fixture
def digits():
    x, y = datasets.load_labelled("mnist", "train")
    return x[:300], y[:300]


def test_outliers_of_one_digit(digits, rng):
    x, y = digits
    np.testing.assert_array_equal(made_up_outliers.mirrored(x, y, rng), x[~np.isin(y, [0, 1, 8])][:, :, ::-1])
    np.testing.assert_array_equal(made_up_outliers.turned(x, y, rng), np.rot90(x[y != 0], axes=(1, 2)))
    assert np.mean(made_up_outliers.enlarged(x, y, rng) > 0.5) > 1.2 * np.mean(x > 0.5)
    erased, scratched = made_up_outliers.erased(x, y, rng), made_up_outliers.scratched(x[:20], y[:20], rng)
    assert (erased <= x).all() and np.mean((erased != x).any(axis=(1, 2, 3))) > 0.95
    assert (scratched >= x[:20]).all() and all((scratched > x[:20]).any(axis=(1, 2, 3)))
    strokes = made_up_outliers.strokes(x[:20], y[:20], rng)
    assert strokes.shape == (20, 28, 28, 1) and all(0.01 < np.mean(image > 0.5) < 0.4 for image in strokes)


def test_outliers_of_two_digits(digits, rng):
    x, y = digits
    for make, axis in [(made_up_outliers.joined, 1), (made_up_outliers.joined_sides, 2)]:
        (first, second), (own, other) = (np.split(images, 2, axis=axis) for images in [x, make(x, y, rng)])
        np.testing.assert_array_equal(own, first)
        for half, label in zip(other, y, strict=True):
            assert (y[(second == half).all(axis=(1, 2, 3))] != label).any()
    for image, own, label in zip(made_up_outliers.laid_over(x, y, rng), x, y, strict=True):
        assert any(np.array_equal(np.maximum(own, other), image) for other in x[y != label])


def test_what_rotation_prediction_networks_learn(digits, rng):
    x, y = made_up_outliers.turns_and_none(*digits, rng)
    assert len(x) == len(y) == 4 * 300 + 4 * 30 and x.dtype == np.uint8
    for turn in range(4):
        rows = slice(300 * turn, 300 * (turn + 1))
        np.testing.assert_array_equal(x[rows], np.rot90(made_up_outliers.to_bytes(digits[0]), turn, axes=(1, 2)))
        np.testing.assert_array_equal(y[rows], digits[1] + 10 * turn)
    assert (y[1200:] == 40).all()


def small_network(seed, classes):
    image = keras.Input((16, 16, 1))
    options = {"filters": [2, 3, 4], "units": 5, "batch_norm": True}
    embedding = building.convolutional_embedding(image, building.layer_seeds(seed), **options)
    return keras.Model(image, keras.layers.Dense(classes)(embedding))


def test_features_of_all_networks_side_by_side():
    images = np.random.default_rng(0).random((50, 16, 16, 1), dtype=np.float32)
    classifier, *others = (small_network(seed, classes) for seed, classes in [(0, 10), (1, 41), (2, 41)])
    found = rotation.feature_model(classifier, others).predict(images, verbose=0)
    alone, *of_others = (features.extract(network, images) for network in [classifier, *others])
    log_p = np.mean([log_softmax(each["logits"], axis=1)[:, :10] for each in of_others], axis=0)
    log_p += log_softmax(alone["logits"], axis=1)
    expected = alone | {"log_probabilities": log_p, "disagreement": -log_p.max(axis=1, keepdims=True)}
    expected |= {"turn block1": np.hstack([each["block1"] for each in of_others])}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5)
    upright = of_others[1]["embedding"]
    np.testing.assert_allclose(found["turn embeddings"][:, 20:25], upright, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_trial_judges_every_detector_and_keeps_what_the_pages_show(tmp_path, data_folder):
    found = {name: scoreboard.run_trial(name, settings, data_folder, tmp_path) for name, settings in plan().items()}
    made = [records.new_record(name, plan()[name], {}, 0) | one for name, one in found.items()]
    whole, near = (record["metrics"] for record in made)
    assert set(whole["detectors"]) == {*scoreboard.DETECTORS, scoreboard.OURS, scoreboard.ENSEMBLE}
    sets = {"Fashion-MNIST", "CIFAR-10", "photographs", "printed letters", "turned digits"}
    assert set(whole["detectors"][scoreboard.OURS]["auroc"]) == sets
    assert all(set(found["auroc"]) == {"digits 5-9"} for found in near["detectors"].values())
    assert all(found["auroc"]["Fashion-MNIST"] > 0.6 for found in whole["detectors"].values())
    assert whole["accuracy"]["test"] > 0.5 and np.all(np.diff([0, *whole["calibration"]["rejected"], 1]) >= 0)
    for name in plan():
        assert (tmp_path / f"{name}-classifier.keras").is_file() and (tmp_path / f"{name}-accepted.png").is_file()
    table = scoreboard.tables(made)["scoreboard"]
    assert all(f"| {title} " in table for title in [*scoreboard.DETECTORS, scoreboard.OURS, scoreboard.ENSEMBLE])
    assert set(scoreboard.figures(made)) == {"scoreboard.png", "scoreboard_reliability.png"}


def test_digits_left_out_are_the_outliers_of_a_choice(monkeypatch, tmp_path):
    monkeypatch.setattr(scoreboard, "VARIANTS", {"chosen": (1, {})})
    (name, settings), *_ = plan(choose=True).items()
    record = scoreboard.run_trial(name, settings, None, tmp_path)
    found = record["metrics"]["combinations"]
    assert set(found) == {"chosen"} and set(found["chosen"]) == set(scoreboard.COMBINATIONS)
    chosen = found["chosen"]["chosen"]["auroc"]
    assert set(chosen) == {"left out", *made_up_outliers.NEW, *made_up_outliers.LEARNED}
    assert chosen["enlarged"] > 0.95 and chosen["left out"] > 0.7 and chosen["strokes"] > 0.8
    assert scoreboard.csvs([record])["scoreboard_evidence.csv"].count("\n") == 1 + len(scoreboard.COMBINATIONS)

"""The scoreboard: detectors against NumPy, outliers made of digits, rotation-prediction networks, and small trials."""

from argparse import Namespace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from experiments import building, pseudo, rotation, scoreboard
from hypersphere import datasets, features, scores
from hypersphere.detectors import side_by_side
from hypersphere.errors import InputError


def plan(choose=False, cifar10=None):
    return scoreboard.plan(Namespace(choose=choose, seeds=None, precision="float32", smoke=True), cifar10)


@pytest.fixture(scope="module")
def made_up():
    """Features and labels of training images in four classes, and features of new images and of outliers."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 6)) * 4

    def draw(n, is_ood):
        labels = rng.integers(0, 4, n)
        embedding = centers[labels] * (0.3 if is_ood else 1) + rng.normal(0, 0.5, (n, 6))
        pixels = rng.random((n, 12)) * (0.2 if is_ood else 1)
        return {"embedding": embedding, "logits": embedding @ centers.T, "pixels": pixels}, labels

    return *draw(400, is_ood=False), draw(100, is_ood=False)[0], draw(80, is_ood=True)[0]


@pytest.mark.parametrize("name", scoreboard.DETECTORS)
def test_detectors_score_ood_higher(made_up, name):
    train, labels, test, ood = made_up
    score = scoreboard.DETECTORS[name](train, labels)
    assert score(test).shape == (100,)
    assert scores.auroc(score(test), score(ood)) > 0.7


def test_detectors_against_numpy(made_up):
    known, labels, test, _ = made_up
    np.testing.assert_array_equal(scoreboard.largest_logit(known, labels)(test), -test["logits"].max(axis=1))
    train, new = known["embedding"], test["embedding"]
    means = np.stack([train[labels == label].mean(axis=0) for label in range(4)])
    within = train - means[labels]
    inverse = np.linalg.inv(within.T @ within / len(train))
    mahalanobis = [min((x - m) @ inverse @ (x - m) for m in means) for x in new]
    np.testing.assert_allclose(scoreboard.mahalanobis(known, labels)(test), mahalanobis)
    unit_train, unit_new = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in [train, new])
    distances = np.sort(np.linalg.norm(unit_new[:, None] - unit_train, axis=2), axis=1)[:, 49]
    np.testing.assert_allclose(scoreboard.nearest_neighbors(known, labels)(test), distances, atol=1e-7)


def test_a_part_counts_its_layers_up_to_their_truncations():
    log_p = {"test": np.log(np.full((50, 3), 0.5)), "odd": np.log(np.full((2, 3), 0.5))}
    log_p["test"][:, 2] = np.log(np.linspace(0.02, 1, 50))
    log_p["odd"][:, 0] = np.log([0.06, 0.0001])  # of which the first has no say
    found = scoreboard.ablation(log_p, ["first", "second", "third"], {"part": {"first": 0.05, "third": 1.0}})
    test, odd = -np.log(np.linspace(0.02, 1, 50)), -np.log(0.5) - np.log([1, 0.0001 / 0.05])
    assert found == {"part": scores.separation(test, {"odd": odd})}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def digits():
    x, y = datasets.load_labelled("mnist", "train")
    return x[:300], y[:300]


def test_outliers_of_one_digit(digits, rng):
    x, y = digits
    np.testing.assert_array_equal(pseudo.mirrored(x, y, rng), x[~np.isin(y, [0, 1, 8])][:, :, ::-1])
    np.testing.assert_array_equal(pseudo.turned(x, y, rng), np.rot90(x[y != 0], axes=(1, 2)))
    assert np.mean(pseudo.enlarged(x, y, rng) > 0.5) > 1.2 * np.mean(x > 0.5)
    erased = pseudo.erased(x, y, rng)
    is_gone = erased != x
    assert not erased[is_gone].any() and np.mean(is_gone.any(axis=(1, 2, 3))) > 0.95
    for axes in [(2, 3), (1, 3)]:
        assert is_gone.any(axis=axes).sum(axis=1).max() == 10  # rows, then columns
    scratched = pseudo.scratched(x[:20], y[:20], rng)
    assert (scratched >= x[:20]).all() and all((scratched > x[:20]).any(axis=(1, 2, 3)))
    strokes = pseudo.strokes(x[:20], y[:20], rng)
    assert strokes.shape == (20, 28, 28, 1) and strokes.max() <= 1
    assert all(0.01 < np.mean(image > 0.5) < 0.4 for image in strokes)


@pytest.mark.parametrize("make, axis", [(pseudo.joined, 0), (pseudo.joined_sides, 1)])
def test_outliers_joined_of_two_digits(make, axis, digits, rng):
    x, y = digits
    (first, second), (own, other) = (np.split(images, 2, axis=axis + 1) for images in [x, make(x, y, rng)])
    np.testing.assert_array_equal(own, first)
    for half, label in zip(other, y, strict=True):
        assert (y[(second == half).all(axis=(1, 2, 3))] != label).any()


def test_outliers_of_two_digits_over_each_other(digits, rng):
    x, y = digits
    for image, own, label in zip(pseudo.laid_over(x, y, rng), x, y, strict=True):
        assert any(np.array_equal(np.maximum(own, other), image) for other in x[y != label])


def test_what_rotation_prediction_networks_learn(digits, rng):
    x, y = pseudo.turns_and_none(*digits, rng)
    assert len(x) == len(y) == 4 * 300 + 4 * 30 and x.dtype == np.uint8
    for turn in range(4):
        rows = slice(300 * turn, 300 * (turn + 1))
        np.testing.assert_array_equal(x[rows], np.rot90(pseudo.to_bytes(digits[0]), turn, axes=(1, 2)))
        np.testing.assert_array_equal(y[rows], digits[1] + 10 * turn)
    assert (y[1200:] == 40).all()
    upper, lower = (np.split(images, 2, axis=1) for images in [pseudo.to_bytes(digits[0]), x[1200:1230]])
    for number, half in enumerate(upper):
        assert all((half == image).all(axis=(1, 2, 3)).any() for image in lower[number])


def small_network(seed, classes):
    image = keras.Input((16, 16, 1))
    options = {"filters": [2, 3, 4], "units": 5, "batch_norm": True}
    embedding = building.convolutional_embedding(image, building.layer_seeds(seed), **options)
    return keras.Model(image, keras.layers.Dense(classes)(embedding))


def output(network, name, x):
    return keras.ops.convert_to_numpy(keras.Model(network.input, network.get_layer(name).output)(x))


def statistics(network, name, x):
    found = output(network, name, x)
    return np.concatenate([found.mean(axis=(1, 2)), found.std(axis=(1, 2)), found.max(axis=(1, 2))], axis=1)


def test_features_of_all_networks_side_by_side():
    images = np.random.default_rng(0).random((50, 16, 16, 1), dtype=np.float32)
    classifier, *others = (small_network(seed, classes) for seed, classes in [(0, 10), (1, 41), (2, 41)])
    found = rotation.feature_model(classifier, others).predict(images, verbose=0)
    assert {values.dtype.name for values in found.values()} == {"float32"}
    alone = features.extract(classifier, images)
    turned = [np.rot90(images, number, axes=(1, 2)) for number in range(4)]
    others_log_p = [log_softmax(network.predict(images, verbose=0), axis=1)[:, :10] for network in others]
    together = log_softmax(alone["logits"], axis=1) + np.mean(others_log_p, axis=0)
    blocks = [statistics(network, name, images) for network in others for name in ["block2", "block3"]]
    expected = alone | {
        "turn block1": np.hstack([statistics(network, "block1", images) for network in others]),
        "turn blocks": np.hstack(blocks),
        "turn embeddings": np.hstack([output(network, "embedding", x) for network in others for x in turned]),
        "log_probabilities": together,
        "disagreement": -together.max(axis=1, keepdims=True),
    }
    assert set(found) == set(expected)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5)
    detector = rotation.detector_for(found)
    assert [name for name, *_ in detector.layers] == list(rotation.LAYERS)
    rows = side_by_side(found, rotation.LAYERS)
    for name, columns, *_ in detector.layers:
        np.testing.assert_array_equal(rows[:, columns], found[name])


def test_a_trial_judges_every_detector_and_keeps_what_the_pages_show(tmp_path, data_folder):
    trials = plan(cifar10=datasets.cifar10_sha256(data_folder))
    assert list(trials) == ["ensemble/10-digits-seed42", "ensemble/5-digits-seed42"]
    (tmp_path / "figures").mkdir()
    made = []
    for name, settings in trials.items():
        made.append(scoreboard.run_trial(name, settings, data_folder, tmp_path / "models" / "scoreboard"))
    whole, near = (record["metrics"] for record in made)
    assert set(whole["detectors"]) == {*scoreboard.DETECTORS, scoreboard.OURS, scoreboard.ENSEMBLE}
    sets = {"Fashion-MNIST", "CIFAR-10", "photographs", "printed letters", "turned digits"}
    assert set(whole["detectors"][scoreboard.OURS]["auroc"]) == sets
    assert all(set(found["auroc"]) == {"digits 5-9"} for found in near["detectors"].values())
    assert all(found["auroc"]["Fashion-MNIST"] > 0.6 for found in whole["detectors"].values())
    assert whole["accuracy"]["test"] > 0.5 and min(whole["calibration"]["rejected"]) >= 0
    kept = tmp_path / "models" / "scoreboard" / "ensemble"
    networks = [f"10-digits-seed42-{network}.keras" for network in ["classifier", "rotation1", "rotation2"]]
    assert all((kept / name).is_file() for name in networks)
    assert set(scoreboard.tables(made)) == {"near", "near_accepted", "near_parts"}
    assert set(scoreboard.figures(made)) == {"scoreboard_reliability.png"}
    scoreboard.draw_galleries(trials, tmp_path)
    assert len(list((tmp_path / "figures").glob("*_accepted.png"))) == 2
    (kept / "10-digits-seed42-accepted.npz").unlink()
    with pytest.raises(InputError, match="delete it and its line"):
        scoreboard.draw_galleries(trials, tmp_path)


def test_digits_left_out_are_the_outliers_of_a_choice(monkeypatch, tmp_path):
    monkeypatch.setattr(scoreboard, "VARIANTS", {"chosen": (2, {}), "one": (1, {})})
    (name, settings), *_ = plan(choose=True).items()
    record = scoreboard.run_trial(name, settings, None, tmp_path)
    found = record["metrics"]["combinations"]
    assert set(found) == {"chosen", "one"} and set(found["one"]) == set(scoreboard.COMBINATIONS)
    chosen = found["chosen"]["chosen"]["auroc"]
    assert set(chosen) == {"left out", *pseudo.NEW, *pseudo.LEARNED}
    assert chosen["enlarged"] > 0.95 and chosen["left out"] > 0.7 and chosen["strokes"] > 0.8
    made = scoreboard.csvs([record])["scoreboard_evidence.csv"].splitlines()
    assert len(made) == 1 + 2 * len(scoreboard.COMBINATIONS)


def test_a_cifar10_with_files_missing_is_an_error(tmp_path):
    (tmp_path / datasets.CIFAR10_FOLDER).mkdir()
    name, settings = next(iter(plan().items()))
    with pytest.raises(InputError, match=r"test_batch\.bin: missing"):
        scoreboard.run_trial(name, settings, tmp_path, tmp_path)


def test_a_gallery_shows_accepted_images_alone():
    images = {"letters": np.arange(4.0).reshape(4, 1, 1, 1) * np.ones((4, 28, 28, 1))}
    accepted = {scoreboard.OURS: {"letters": np.array([True, False, True, False])}}
    accepted[scoreboard.ENSEMBLE] = {"letters": np.array([False, False, False, True])}
    shown = scoreboard.gallery(accepted, images, {"letters": np.arange(4)})
    assert sorted(shown["image"][:2, 0, 0, 0]) == [0, 2] and shown["image"][2, 0, 0, 0] == 3
    assert list(shown["row"]) == ["letters: 50.00%"] * 2 + ["letters: 25.00%"] and shown["caption"][2] == "as 3"

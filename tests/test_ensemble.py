"""The detector of an ensemble, on small slices, and what it looks at, on outliers made from digits."""

from argparse import Namespace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from experiments import building, ensemble, evidence, pseudo, rotation, scoreboard
from experiments.draws import turned_classes, turns
from experiments.old_tables import scoreboard as tables
from hypersphere import datasets, features, files, scores
from hypersphere.detectors import side_by_side

SMOKE = Namespace(precision="float32", smoke=True, seeds=1)


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
    np.testing.assert_array_equal(pseudo.turned(x, y, rng), turns(x[y != 0])[1])
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
    halves = [np.stack(np.split(of, 2, axis=axis + 1)) for of in [x, make(x, y, rng)]]
    (_, second), (own, other) = halves
    np.testing.assert_array_equal(own, halves[0][0])
    for half, label in zip(other, y, strict=True):
        assert (y[(second == half).all(axis=(1, 2, 3))] != label).any()


def test_outliers_of_two_digits_over_each_other(digits, rng):
    x, y = digits
    for image, own, label in zip(pseudo.laid_over(x, y, rng), x, y, strict=True):
        assert any(np.array_equal(np.maximum(own, other), image) for other in x[y != label])


def test_what_rotation_prediction_networks_learn(digits, rng):
    x, y = pseudo.turns_and_none(*digits, rng)
    assert len(x) == len(y) == 4 * 300 + 4 * 30 and x.dtype == np.uint8
    expected, labels = turned_classes(*digits, 4)
    np.testing.assert_array_equal(x[:1200].astype(np.float32) / 255, expected)
    np.testing.assert_array_equal(y, [*labels, *[40] * 120])
    upper, lower = (np.split(of, 2, axis=1) for of in [pseudo.to_bytes(digits[0]), x[1200:1230]])
    for number, half in enumerate(upper):
        assert all((half == image).all(axis=(1, 2, 3)).any() for image in lower[number])


def test_turns_are_counter_clockwise():
    turned = turns(np.arange(8.0).reshape(2, 2, 2, 1))
    np.testing.assert_array_equal(turned[1][0, :, :, 0], [[1, 3], [0, 2]])


def test_evidence_multiplies_truncated_p_values():
    names = list(evidence.PARTS)
    log_p = {"judged": np.log(np.full((50, len(names)), 0.5)), "odd": np.log(np.full((2, len(names)), 0.5))}
    log_p["judged"][:, names.index("disagreement")] = np.log(np.linspace(0.02, 1, 50))
    log_p["odd"][:, names.index("turn block1")] = np.log([0.06, 0.0001])  # of which the first has no say
    found = evidence.separation(log_p, {"turn block1": 0.05, "disagreement": 1.0})
    of_judged, of_odd = -np.log(np.linspace(0.02, 1, 50)), -np.log(0.5) - np.log([1, 0.0001 / 0.05])
    assert found == scores.separation(of_judged, {"odd": of_odd})


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


def test_the_networks_are_looked_at_side_by_side():
    images = np.random.default_rng(0).random((50, 16, 16, 1), dtype=np.float32)
    classifier, *others = (small_network(seed, classes) for seed, classes in [(0, 10), (1, 41), (2, 41)])
    found = rotation.feature_model(classifier, others).predict(images, verbose=0)
    assert {of_layer.dtype.name for of_layer in found.values()} == {"float32"}
    alone = features.extract(classifier, images)
    turned = [np.rot90(images, number, axes=(1, 2)) for number in range(4)]
    of_others = [log_softmax(network.predict(images, verbose=0), axis=1)[:, :10] for network in others]
    together = log_softmax(alone["logits"], axis=1) + np.mean(of_others, axis=0)
    blocks = [statistics(network, name, images) for network in others for name in ["block2", "block3"]]
    expected = alone | {
        "turn block1": np.hstack([statistics(network, "block1", images) for network in others]),
        "turn blocks": np.hstack(blocks),
        "turn embeddings": np.hstack([output(network, "embedding", x) for network in others for x in turned]),
        "log_probabilities": together,
        "disagreement": -together.max(axis=1, keepdims=True),
    }
    assert set(found) == set(expected)
    for name, of_layer in found.items():
        np.testing.assert_allclose(of_layer, expected[name], rtol=1e-4, atol=1e-5)
    detector = rotation.detector_for(found)
    assert [name for name, *_ in detector.layers] == list(rotation.LAYERS)
    rows = side_by_side(found, rotation.LAYERS)
    for name, columns, *_ in detector.layers:
        np.testing.assert_array_equal(rows[:, columns], found[name])


def test_what_is_looked_at_besides_is_part_of_the_ensemble():
    images = np.random.default_rng(0).random((4, 28, 28, 1), np.float32)
    classifier, *others = (scoreboard.build(ensemble.TURNS, classes, classes)[1] for classes in [10, 41, 42])
    found = evidence.looked_at(rotation.feature_model(classifier, others), images)
    alone = [features.extract(network, images) for network in [classifier, *others]]
    for part, layer, of_networks in [
        ("turn block3", "block3", alone[1:]),
        ("upright turn embeddings", "embedding", alone[1:]),
    ]:
        np.testing.assert_allclose(found[part], np.hstack([of[layer] for of in of_networks]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["embeddings"], np.hstack([found["embedding"], found["turn embeddings"]]))


def test_a_digit_left_out_is_not_learned(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "WAYS", {way: evidence.WAYS[way] for way in ["chosen", "1 turn network"]})
    (name, settings), *_ = evidence.plan(SMOKE).items()
    record = evidence.run_trial(name, settings, None, tmp_path)
    found = record["metrics"]["combinations"]
    assert set(found) == set(evidence.WAYS) and set(found["1 turn network"]) == set(evidence.COMBINATIONS)
    chosen = found["chosen"]["chosen"]["auroc"]
    assert set(chosen) == {"left out", *pseudo.NEW, *pseudo.LEARNED}
    assert chosen["enlarged"] > 0.95 and chosen["left out"] > 0.7 and chosen["strokes"] > 0.8
    assert "evidence" in tables.evidence([record])
    assert record["metrics"]["val_accuracy"] > 0.5


def test_all_detectors_meet_the_same_images(tmp_path):
    trials = ensemble.plan(SMOKE, None)
    assert list(trials) == ["10-digits-seed42", "5-digits-seed42"]
    name, settings = "5-digits-seed42", trials["5-digits-seed42"]
    record = ensemble.run_trial(name, settings, None, tmp_path)
    found = record["metrics"]["detectors"]
    assert list(found) == [scoreboard.ARTICLE, scoreboard.OURS, ensemble.ENSEMBLE]
    assert all(of_detector["auroc"]["digits 5-9"] > 0.6 for of_detector in found.values())
    assert list(record["metrics"]["parts"]) == [f"without {layer}" for layer in rotation.LAYERS]
    arrays = files.load_arrays(tmp_path / f"{name}-accepted.npz", "")
    assert [row.split(" (")[0] for row in arrays["rows"]] == [
        f"digits 5-9: {words}" for words in ["no longer", "still", "only now"]
    ]
    assert len(arrays["image"]) == len(arrays["row"]) == len(arrays["caption"]) > 0
    assert {path.name for path in tmp_path.glob("*.keras")} == {
        f"{name}-{network}.keras" for network in ["classifier", "turns1", "turns2"]
    }


def test_what_passes_is_sorted_by_detector():
    ood = {"printed letters": np.arange(4.0).reshape(4, 1, 1, 1) * np.ones((4, 28, 28, 1))}
    before, now = np.array([0.5, 0.5, 0.001, 0.001]), np.array([0.5, 0.001, 0.5, 0.001])
    p_values = {ensemble.OURS: {"printed letters": before}, ensemble.ENSEMBLE: {"printed letters": now}}
    found = {"printed letters": {"log_probabilities": np.eye(10)[:4]}}
    arrays = ensemble.accepted(ood, p_values, found, level=0.01, seed=0)
    assert list(arrays["rows"]) == [f"printed letters: {words} (25.0%)" for words in ["no longer", "still", "only now"]]
    assert list(arrays["image"][:, 0, 0, 0]) == [1, 0, 2] and list(arrays["row"]) == [0, 1, 2]
    assert list(arrays["caption"]) == ["as 1", "as 0", "as 2"]

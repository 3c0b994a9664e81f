"""The scoreboard: detectors from the literature against NumPy, and trials on small slices."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

from experiments import baselines, scoreboard
from hypersphere import datasets, features, networks, scores
from hypersphere.detectors import LayeredDetector, layers_of, side_by_side
from hypersphere.errors import InputError


def plan(data_folder, recipe="best", epochs=None):
    cifar10 = datasets.cifar10_sha256(data_folder)
    args = Namespace(recipes=[recipe], seeds=None, epochs=epochs, precision="float32", smoke=True)
    return scoreboard.plan(args, cifar10)


@pytest.fixture(scope="module")
def trials(tmp_path_factory, data_folder):
    """The models' folder and the records of the best recipe's two networks, on a small slice."""
    models = tmp_path_factory.mktemp("models")
    planned = plan(data_folder).items()
    return models, {name: scoreboard.run_trial(name, settings, data_folder, models) for name, settings in planned}


@pytest.fixture(scope="module")
def made_up():
    """Features of training, calibration and new images in four classes, and of outliers between them."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(4, 6)) * 4

    def draw(n, is_ood):
        labels = rng.integers(0, 4, n)
        embedding = centers[labels] * (0.3 if is_ood else 1) + rng.normal(0, 0.5, (n, 6))
        spread = 3 if is_ood else 1
        layers = {"block1": rng.normal(0, spread, (n, 9)), "block3": rng.normal(0, spread, (n, 8))}
        pixels = rng.random((n, 12)) * (0.2 if is_ood else 1)
        return layers | {"embedding": embedding, "logits": embedding @ centers.T, "pixels": pixels}, labels

    train, labels = draw(400, is_ood=False)
    known = baselines.Known(train, labels, draw(200, is_ood=False)[0])
    return known, draw(100, is_ood=False)[0], draw(80, is_ood=True)[0]


@pytest.mark.parametrize("name", baselines.DETECTORS)
def test_detectors_score_ood_higher(made_up, name):
    known, test, ood = made_up
    score = baselines.DETECTORS[name](known)
    assert score(test).shape == (100,)
    assert scores.auroc(score(test), score(ood)) > 0.7


def test_logit_detectors_against_numpy(made_up):
    known, test, _ = made_up
    exponentials = np.exp(test["logits"])
    expected = {
        "softmax probability": -np.log(exponentials.max(axis=1) / exponentials.sum(axis=1)),
        "largest logit": -test["logits"].max(axis=1),
        "energy": -np.log(exponentials.sum(axis=1)),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(baselines.DETECTORS[name](known)(test), values, atol=1e-9)


def test_distance_detectors_against_numpy(made_up):
    known, test, _ = made_up
    train, new = known.train["embedding"], test["embedding"]
    means = np.stack([train[known.labels == label].mean(axis=0) for label in range(4)])
    within = train - means[known.labels]
    inverse = np.linalg.inv(within.T @ within / len(train))
    mahalanobis = [min((x - m) @ inverse @ (x - m) for m in means) for x in new]
    np.testing.assert_allclose(baselines.mahalanobis(known)(test), mahalanobis)
    unit_train, unit_new = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in [train, new])
    distances = np.sort(np.linalg.norm(unit_new[:, None] - unit_train, axis=2), axis=1)[:, 49]
    np.testing.assert_allclose(baselines.nearest_neighbors(known)(test), distances, atol=1e-7)


def test_judge(made_up):
    known, test, ood = made_up
    verdict = scoreboard.judge(baselines.energy, known, test, {"ood": ood, "test": test})
    score = baselines.energy(known)
    assert verdict["auroc"] == {"ood": scores.auroc(score(test), score(ood)), "test": 0.5}
    assert verdict["fpr95"]["test"] == pytest.approx(0.95) and verdict["accepted"]["test"] == pytest.approx(0.99)


def test_without_a_radius_the_embedding_lies_on_no_sphere():
    x = np.random.default_rng(0).random((20, 28, 28, 1), dtype=np.float32)
    for alpha in [16.0, None]:
        _, network = scoreboard.build(replace(scoreboard.BEST, width=2, alpha=alpha), seed=0)
        embedding, _ = features.embed(network, x)
        lengths = np.linalg.norm(embedding, axis=1)
        assert np.allclose(lengths, 16, rtol=1e-5) == (alpha is not None) and embedding.shape == (20, 64)


def test_parts_are_made_of_the_detector():
    log_p = -np.random.default_rng(0).exponential(3, (50, 4))
    without_third = scoreboard.PARTS["without the third block"](log_p)
    np.testing.assert_allclose(without_third, [min(row[0] - np.log(0.05), 0) + row[2] for row in log_p])


def test_calibration_counts_what_is_rejected():
    test_scores = np.arange(1000.0)
    result = scoreboard.calibration(test_scores[:999] + 0.5, test_scores)
    np.testing.assert_allclose(result["rejected"], scoreboard.LEVELS, atol=1.1e-3)
    assert result["rejected_at_1_percent"] == pytest.approx(0.01, abs=1.1e-3)
    assert len(result["halves"]) == scoreboard.HALVINGS
    assert np.mean(result["halves"]) == pytest.approx(0.01, abs=0.002)


def test_trials_judge_every_detector_on_every_set(trials):
    _, records = trials
    whole, near = records["best/10-digits-seed0"], records["best/5-digits-seed0"]
    assert set(whole["metrics"]["detectors"]) == {*baselines.DETECTORS, scoreboard.OURS}
    assert set(whole["metrics"]["parts"]) == set(scoreboard.PARTS)
    sets = {"Fashion-MNIST", "CIFAR-10", "photographs", "printed letters", "turned digits"}
    assert sets < set(whole["metrics"]["detectors"][scoreboard.OURS]["auroc"])
    assert set(near["metrics"]["detectors"][scoreboard.OURS]["auroc"]) == {"digits 5-9"}
    assert whole["metrics"]["accuracy"]["test"] > 0.5 and whole["metrics"]["parameters"] <= 200_000
    assert "cifar10_sha256" in whole["settings"] and "cifar10_sha256" not in near["settings"]


def test_the_kept_network_gives_the_recorded_numbers(trials):
    models, records = trials
    network = networks.load_network(models / "best" / "10-digits-seed0.keras", "run again")
    (x_train, _), (x_val, _), (x_test, y_test) = datasets.load_mnist(smoke=True)
    train, val, test = (features.extract(network, x) for x in [x_train, x_val, x_test])
    metrics = records["best/10-digits-seed0"]["metrics"]
    assert np.mean(test["logits"].argmax(axis=1) == y_test) == metrics["accuracy"]["test"]
    train_rows, val_rows, test_rows = (side_by_side(found, features.LAYERS) for found in [train, val, test])
    detector = LayeredDetector(layers_of(train, features.LAYERS)).fit(train_rows, X_calibration=val_rows)
    rejected = np.mean(detector.predict(test_rows) == -1)
    assert rejected == pytest.approx(metrics["calibration"]["rejected_at_1_percent"], abs=0.005)


def test_a_kept_network_is_judged_anew_and_a_damaged_note_trains_anew(trials, data_folder, tmp_path, monkeypatch):
    models, records = trials
    shutil.copytree(models, tmp_path, dirs_exist_ok=True)
    name, settings = "best/5-digits-seed0", plan(data_folder)["best/5-digits-seed0"]
    (tmp_path / "best" / "5-digits-seed0.json").write_text("{")
    again = scoreboard.run_trial(name, settings, data_folder, tmp_path)
    assert again["metrics"]["accuracy"] == records[name]["metrics"]["accuracy"]

    def no_training(*args, **kwargs):
        raise AssertionError("it was trained")

    monkeypatch.setattr(scoreboard.training, "fit", no_training)
    kept = scoreboard.run_trial(name, settings, data_folder, tmp_path)
    assert kept["metrics"]["accuracy"] == again["metrics"]["accuracy"] and kept["loss"] == again["loss"]


def test_the_gallery_needs_its_images_but_the_records_do_not(trials, tmp_path, capsys):
    models, records = trials
    scoreboard.draw_accepted(records, tmp_path)
    assert "missing, so no gallery" in capsys.readouterr().out
    shutil.copytree(models, tmp_path / "models" / "scoreboard")
    (tmp_path / "figures").mkdir()
    scoreboard.draw_accepted(records, tmp_path)
    assert (tmp_path / "figures" / "scoreboard_accepted.png").stat().st_size > 10_000


def test_without_cifar10_its_column_alone_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10_URL", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setattr(datasets, "CIFAR10_FOLDER", "not-here")
    (name, settings), _ = plan(None, "article", epochs=1).items()
    assert settings["cifar10_sha256"] is None
    record = scoreboard.run_trial(name, settings, None, tmp_path)
    sets = set(record["metrics"]["detectors"][scoreboard.OURS]["auroc"])
    assert "CIFAR-10" not in sets and "Fashion-MNIST" in sets and "run again with a network" in record["missing"]


def test_a_cifar10_with_files_missing_is_an_error(tmp_path, data_folder):
    (tmp_path / datasets.CIFAR10_FOLDER).mkdir()
    name, settings = next(iter(plan(data_folder, "article", epochs=1).items()))
    with pytest.raises(InputError, match=r"test_batch\.bin: missing"):
        scoreboard.run_trial(name, settings, tmp_path, tmp_path)


def test_every_recipe_builds_the_network_that_it_says():
    for name, recipe in scoreboard.RECIPES.items():
        training_network, network = scoreboard.build(recipe, classes=10, seed=0)
        kinds = [type(layer).__name__ for layer in network.layers]
        assert ("BatchNormalization" in kinds) == recipe.batch_norm, name
        assert network.get_layer("block1").output.shape[-1] == recipe.width
        assert (training_network is network) == (not recipe.augment)
        assert json.dumps(network.get_layer("embedding").get_config()["arguments"]) == f'{{"alpha": {recipe.alpha}}}'
    sizes = {name: scoreboard.build(scoreboard.RECIPES[name])[1].count_params() for name in ["best", "half the width"]}
    assert sizes == {"best": 167_978, "half the width": 61_402}


def test_initial_weights_are_those_of_the_seed():
    first, second, other = (scoreboard.build(scoreboard.BEST, seed=seed)[1].get_weights() for seed in [0, 0, 1])
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_label_smoothing_against_numpy():
    logits = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    labels = np.arange(6)
    loss = scoreboard.loss_of(scoreboard.RECIPES["label smoothing"])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = 0.9 * np.eye(10)[labels] + 0.01
    np.testing.assert_allclose(loss(labels, logits), -(target * log_p).sum(axis=1).mean(), rtol=1e-5)
    assert scoreboard.loss_of(scoreboard.BEST) is None

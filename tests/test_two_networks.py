"""The detector of two networks, on small slices, and what it looks at, on outliers made from digits."""

from argparse import Namespace

from experiments import evidence, scoreboard, two_networks
from experiments.draws import turns
from hypersphere import datasets, detectors, files, scores

import numpy as np
import pytest

SMOKE = Namespace(precision="float32", smoke=True, seeds=1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def digits():
    x, y = datasets.load_labelled("mnist", "train")
    return x[:300], y[:300]


def test_outliers_are_made_of_two_digits_or_of_one_changed(digits, rng):
    x, y = digits
    upper, lower = x[:, :14], x[:, 14:]
    for image, own, label in zip(evidence.joined(x, y, rng), upper, y, strict=True):
        np.testing.assert_array_equal(image[:14], own)
        assert y[(lower == image[14:]).all(axis=(1, 2, 3))][0] != label
    for image, own, label in zip(evidence.laid_over(x, y, rng), x, y, strict=True):
        covered = (x <= image).all(axis=(1, 2, 3)) & (y != label)
        assert (image >= own).all() and any(
            np.array_equal(np.maximum(own, x[row]), image) for row in np.flatnonzero(covered)
        )
    np.testing.assert_array_equal(evidence.mirrored(x, y, rng), x[~np.isin(y, [0, 1, 8])][:, :, ::-1])
    assert np.mean(evidence.enlarged(x, y, rng) > 0.5) > 1.2 * np.mean(x > 0.5)
    strokes = evidence.strokes(x[:20], y[:20], rng)
    assert strokes.shape == (20, 28, 28, 1) and strokes.max() <= 1
    assert all(0.01 < np.mean(image > 0.5) < 0.4 for image in strokes)


def test_turn_surprise_is_of_the_best_class_over_the_right_turns():
    turned = turns(np.arange(8.0).reshape(2, 2, 2, 1))
    np.testing.assert_array_equal(turned[1][0, :, :, 0], [[1, 3], [0, 2]])
    rng = np.random.default_rng(0)
    of_turns = [rng.normal(size=(6, 12)) for _ in range(4)]  # three classes, four turns
    found = evidence.turn_surprise(of_turns)
    for row in range(6):
        by_class = []
        for label in range(3):
            shares = [np.exp(logits[row]) / np.exp(logits[row]).sum() for logits in of_turns]
            by_class.append(-sum(np.log(share[label + 3 * turn]) for turn, share in enumerate(shares)))
        assert found[row] == pytest.approx(min(by_class))


def test_evidence_multiplies_truncated_p_values():
    names = list(evidence.PARTS)
    log_p = {"judged": np.log(np.full((50, len(names)), 0.5)), "odd": np.log(np.full((2, len(names)), 0.5))}
    log_p["judged"][:, names.index("turns")] = np.log(np.linspace(0.02, 1, 50))
    log_p["odd"][:, names.index("block1")] = np.log([0.06, 0.0001])  # of which the first has no say
    found = evidence.separation(log_p, ["block1", "turns"])
    of_judged, of_odd = -np.log(np.linspace(0.02, 1, 50)), -np.log(0.5) - np.log([1, 0.0001 / 0.05])
    assert found == scores.separation(of_judged, {"odd": of_odd})


def test_a_digit_left_out_is_not_learned(tmp_path):
    (name, settings), *_ = evidence.plan(SMOKE).items()
    record = evidence.run_trial(name, settings, None, tmp_path)
    of_all = record["metrics"]["combinations"]["all"]
    assert set(of_all) == {*evidence.COMBINATIONS, *evidence.PARTS}
    assert set(of_all["turns"]["auroc"]) == {"left out", *evidence.PSEUDO}
    best = of_all["second's block1 and block3, both embeddings"]["auroc"]
    assert best["enlarged"] > 0.95 and best["left out"] > 0.7 and best["strokes"] > 0.8
    assert record["metrics"]["val_accuracy"] > 0.5


def test_both_detectors_meet_the_same_images(tmp_path):
    trials = two_networks.plan(SMOKE, None)
    assert list(trials) == ["10-digits-seed20", "5-digits-seed20"]
    name, settings = "5-digits-seed20", trials["5-digits-seed20"]
    record = two_networks.run_trial(name, settings, None, tmp_path)
    found = record["metrics"]["detectors"]
    assert list(found) == [scoreboard.ARTICLE, scoreboard.OURS, two_networks.TWO_NETWORKS]
    assert all(of_detector["auroc"]["digits 5-9"] > 0.6 for of_detector in found.values())
    assert len(record["metrics"]["parts"]) == len(detectors.TWO_NETWORKS)
    arrays = files.load_arrays(tmp_path / f"{name}-accepted.npz", "")
    assert [row.split(" (")[0] for row in arrays["rows"]] == [
        f"digits 5-9: {words}" for words in ["no longer", "still", "only now"]
    ]
    assert len(arrays["image"]) == len(arrays["row"]) == len(arrays["caption"]) > 0
    assert {path.name for path in tmp_path.glob("*.keras")} == {f"{name}-classifier.keras", f"{name}-second.keras"}


def test_what_passes_is_sorted_by_detector():
    ood = {"printed letters": np.arange(4.0).reshape(4, 1, 1, 1) * np.ones((4, 28, 28, 1))}
    before, now = np.array([0.5, 0.5, 0.001, 0.001]), np.array([0.5, 0.001, 0.5, 0.001])
    p_values = {two_networks.OURS: {"printed letters": before}, two_networks.TWO_NETWORKS: {"printed letters": now}}
    found = {"printed letters": {"logits": np.eye(10)[:4]}}
    arrays = two_networks.accepted(ood, p_values, found, level=0.01, seed=0)
    assert list(arrays["rows"]) == [f"printed letters: {words} (25.0%)" for words in ["no longer", "still", "only now"]]
    assert list(arrays["image"][:, 0, 0, 0]) == [1, 0, 2] and list(arrays["row"]) == [0, 1, 2]
    assert list(arrays["caption"]) == ["as 1", "as 0", "as 2"]

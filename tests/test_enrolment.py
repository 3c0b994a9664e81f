"""Enrolment from few examples, and retrieval held against values computed by hand."""

import numpy as np
import pytest
import skops.io

from hypersphere import Enrolment
from hypersphere.enrolment import few_shot, retrieval


def at(*degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


def test_the_nearest_mean_direction_names_a_row():
    enrolment = Enrolment().fit([[1], [9], [5]] * at(0, 20, 90), ["east", "east", "north"])
    cosine = np.cos(np.radians(80))
    np.testing.assert_allclose(enrolment.cosines(at(10, 90)), [[1, cosine], [cosine, 1]])
    assert list(enrolment.predict(at(49, 51))) == ["east", "north"]


def test_classes_are_added_and_taken_away_without_training():
    enrolment = Enrolment().fit(at(0, 90), ["east", "north"])
    enrolment.partial_fit(at(170, 190), ["west", "west"]).partial_fit(at(20), ["east"])
    assert list(enrolment.classes_) == ["east", "north", "west"] and list(enrolment.counts_) == [2, 1, 2]
    one_go = Enrolment().fit(at(0, 90, 170, 190, 20), ["east", "north", "west", "west", "east"])
    np.testing.assert_allclose(enrolment.cosines(at(33)), one_go.cosines(at(33)))
    assert list(enrolment.forget("west").predict(at(180))) == ["north"]
    with pytest.raises(ValueError, match="'west' is not enrolled"):
        enrolment.forget("west")


@pytest.mark.parametrize(("enrolled", "other", "words"), [([0, 1], "heart", "strings"), (["a", "b"], 7, "numbers")])
def test_numbers_and_strings_are_not_mixed(enrolled, other, words):
    enrolment = Enrolment().fit(at(0, 90), enrolled)
    with pytest.raises(ValueError, match=f"are {words}, the enrolled"):
        enrolment.partial_fit(at(45), [other])
    assert enrolment.predict(at(10)).tolist() == enrolled[:1]


def test_without_a_class_nothing_is_named():
    enrolment = Enrolment().fit(at(0, 90), [0, 1]).forget(0).forget(1)
    for method in [enrolment.predict, enrolment.cosines]:
        with pytest.raises(ValueError, match="every class was forgotten"):
            method(at(5))
    assert list(enrolment.partial_fit(at(45), ["heart"]).predict(at(5))) == ["heart"]
    assert enrolment.forget("heart").partial_fit(at(0, 90), [3, 4]).predict(at(5)).tolist() == [3], "numbers again"


def test_it_is_saved_without_pickle(tmp_path):
    enrolment = Enrolment().fit(at(0, 90), ["east", "north"])
    skops.io.dump(enrolment, tmp_path / "e.skops")
    loaded = skops.io.load(tmp_path / "e.skops", trusted=["hypersphere.enrolment.Enrolment"])
    np.testing.assert_array_equal(loaded.cosines(at(40)), enrolment.cosines(at(40)))


def test_retrieval_by_hand():
    # R = 2 for an a, 1 for a b. The nearest R of 0: b a, of 10: a, of 25: b b, of 27: a, of 60: b a.
    found = retrieval(3 * at(0, 10, 25, 27, 60), ["a", "b", "a", "b", "a"])
    assert found == {"recall_at_1": 0.0, "map_at_r": pytest.approx((0.25 + 0 + 0 + 0 + 0.25) / 5)}
    # The c stands alone and is left out. The nearest two of 0: a c, of 10: a c, of 40: c a.
    found = retrieval(at(0, 10, 40, 30), ["a", "a", "a", "c"])
    assert found["recall_at_1"] == pytest.approx(2 / 3)
    assert found["map_at_r"] == pytest.approx((1 / 2 + 1 / 2 + (1 / 2) / 2) / 3)
    with pytest.raises(ValueError, match="no class has two images"):
        retrieval(at(0, 10), ["a", "b"])


def clusters(seed, labels):
    """Points around an axis for each label."""
    return np.eye(8)[labels] + np.random.default_rng(seed).normal(0, 0.1, (len(labels), 8))


def test_examples_are_not_among_the_images_that_they_name():
    known, new = (at(0, 180), np.array([0, 1])), (at(90, 270, 91, 271), np.array([2, 2, 3, 3]))
    found = few_shot(known, known, new, n_examples=[1], choices=20, seed=0)["1"]
    assert found["new"] == 0, "each class's other image is nearer to the other class's example"


def test_a_few_examples_name_clusters_that_stand_apart_and_no_others():
    labels = {"train": np.repeat(range(3), 40), "known": np.repeat(range(3), 30), "new": np.repeat(range(3, 6), 30)}
    parts = {part: (clusters(number, y), y) for number, (part, y) in enumerate(labels.items())}
    options = {"n_examples": [1, 20], "choices": 50, "seed": 0}
    assert few_shot(**parts, **options)["20"] == {"new": 1.0, "all": 1.0}
    parts["new"] = clusters(9, np.zeros_like(labels["new"])), labels["new"]  # all where a known class is
    accuracy = few_shot(**parts, **options)["1"]
    assert abs(accuracy["new"] - 1 / 3) < 0.1 and accuracy["all"] < 0.6

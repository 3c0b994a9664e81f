"""The experiment with unseen classes, on small slices and on made embeddings."""

from argparse import Namespace
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from conftest import run
from experiments import unseen
from hypersphere import datasets
from hypersphere.errors import InputError


def args_of(**flags):
    defaults = {"dataset": "mnist", "images": None, "heads": ["arcface"], "seeds": 1, "precision": "float32"}
    return Namespace(**defaults | {"smoke": True, "choose": False, "scales": False} | flags)


def clusters(seed, labels, spread=0.1, dimensions=8):
    """Points around an axis for each label."""
    return np.eye(dimensions)[labels] + np.random.default_rng(seed).normal(0, spread, (len(labels), dimensions))


def test_the_known_classes_are_0_to_4_and_no_image_is_in_two_sets():
    images = unseen.load({"dataset": "mnist", "smoke": True}, None)
    assert {of_set: set(y) for of_set, (_, y) in images.items()} == {
        "train": set(range(5)),
        "val": set(range(5)),
        "known": set(range(5)),
        "new": set(range(5, 10)),
    }
    seen = [image.tobytes() for x, _ in images.values() for image in x]
    assert len(set(seen)) == len(seen)


def test_the_choice_sees_known_classes_and_training_images_alone():
    trials = unseen.plan(args_of(choose=True))
    assert len(trials) == len(unseen.CANDIDATES) * len(unseen.CHOICE_PAIRS)
    assert "mnist/turns_twice_as_long-new_2_4/arcface-seed100" in trials
    x, y = datasets.load_labelled("mnist", "train")
    label_of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    images = unseen.load({"dataset": "mnist", "smoke": False, "pair": (2, 4)}, None)
    assert {label_of[image.tobytes()] for image in images["new"][0]} == {2, 4}
    for of_set in ["train", "val", "known"]:
        of_images, labels = images[of_set]
        original = np.array([label_of[image.tobytes()] for image in of_images])
        np.testing.assert_array_equal(original, np.array([0, 1, 3])[labels])
    assert sum(len(images[of_set][1]) for of_set in ["train", "val", "known"]) == np.isin(y, [0, 1, 3]).sum()


def test_the_scales_are_of_a_cosine_softmax():
    trials = unseen.plan(args_of(scales=True, smoke=False, seeds=None))
    assert len(trials) == 5 * len(unseen.SCALES)
    settings = trials["mnist/scale16-seed4"]
    assert (settings["head"], settings["head_arguments"]) == ("cosface", {"scale": 16.0, "margin": 0.0})
    assert unseen.build(settings, (28, 28, 1), 20)[1].output.shape == (None, 20)


def test_the_nearest_images_follow_their_query():
    y = np.repeat([5, 6, 7, 8, 9], 30)
    x = np.arange(len(y), dtype=float).reshape(-1, 1, 1, 1) * np.ones((1, 28, 28, 1))
    found = unseen.nearest(clusters(0, y, dimensions=10), x, y)
    np.testing.assert_array_equal(found["label"], np.repeat([[5], [7], [9]], 11, axis=1))
    np.testing.assert_array_equal(found["image"][:, 0, 0, 0, 0], [0, 60, 120])
    assert all(len(np.unique(of[:, 0, 0, 0])) == 11 for of in found["image"])


def test_turns_of_the_known_classes_are_classes_of_their_own():
    ((_, settings),) = unseen.plan(args_of()).items()
    recipe, turns = unseen.CANDIDATES["turns"]
    settings |= {"turns": turns, "recipe": asdict(replace(recipe, epochs=1))}
    x, y = unseen.load(settings, None)["train"]
    network, loss = unseen.train(settings, x[:40], y[:40])
    assert network.output.shape == (None, 20) and len(loss) == 1


def test_examples_and_others_share_no_row():
    labels = np.repeat([5, 6, 7], 30)
    rows, others = unseen.choose_examples(labels, 4, np.random.default_rng(0))
    assert sorted([*rows, *others]) == list(range(90))
    np.testing.assert_array_equal(np.bincount(labels[rows])[5:], [4, 4, 4])


def test_clusters_that_stand_apart_are_enrolled_without_a_mistake():
    labels = {"train": np.repeat(range(3), 40), "known": np.repeat(range(3), 30), "new": np.repeat(range(3, 6), 30)}
    points = {name: clusters(number, y) for number, (name, y) in enumerate(labels.items())}
    accuracy = unseen.enrolment(points, labels, seed=0)
    assert accuracy["20"] == {"new": 1.0, "all": 1.0}
    points["new"] = clusters(9, np.zeros_like(labels["new"]))  # all where a known class is: nothing to tell them by
    accuracy = unseen.enrolment(points, labels, seed=0)
    assert abs(accuracy["1"]["new"] - 1 / 3) < 0.1 and accuracy["1"]["all"] < 0.6


def test_what_is_neither_known_nor_enrolled_is_rejected():
    sets = {"train": (range(3), 200), "val": (range(3), 200), "known": (range(3), 100), "new": (range(3, 6), 100)}
    labels = {name: np.repeat(of, n) for name, (of, n) in sets.items()}
    extracted = {}
    for number, (name, y) in enumerate(labels.items()):
        x = clusters(number, y)
        extracted[name] = {"block1": x, "block3": x, "embedding": x, "logits": x[:, :3]}
    shares = unseen.rejection(extracted, labels, seed=0, drawings=2)
    assert shares["known named"] > 0.95 and shares["enrolled named"] > 0.9 and shares["others rejected"] > 0.95


def write_folders(folder, counts):
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


def test_ones_own_folders(tmp_path):
    write_folders(tmp_path / "mine", dict.fromkeys("abcd", 63))
    images = unseen.load({"dataset": str(tmp_path / "mine"), "smoke": False}, None)
    assert set(images["train"][1]) == {0, 1} and set(images["new"][1]) == {2, 3}
    assert images["train"][0].shape[1:] == (28, 28, 1)
    assert min(np.bincount(images["new"][1])[2:]) > max(unseen.EXAMPLES)


@pytest.mark.parametrize(
    ("counts", "words"), [({}, "0 classes"), ({"a": 63}, "1 classes"), (dict.fromkeys("abcd", 5), "5 images")]
)
def test_wrong_folders_are_named(tmp_path, counts, words):
    write_folders(tmp_path / "mine", counts)
    with pytest.raises(InputError, match=words):
        unseen.load_folders(tmp_path / "mine")


@pytest.mark.slow
def test_the_command_ends_with_what_it_found(tmp_path):
    flags = ["--smoke", "--dataset", "mnist", "--heads", "pca64", "softmax", "adacos", "--out", tmp_path]
    said = run("experiments.unseen", *flags)
    assert "mnist/softmax-seed0: Recall@1" in said and "mnist/adacos-seed0: Recall@1" in said
    assert (tmp_path / "figures" / "unseen_nearest_mnist.png").is_file()

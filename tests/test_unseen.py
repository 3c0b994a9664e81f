"""The experiment with unseen classes, on small slices and on made records."""

import re
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import distance

from conftest import run
from experiments import unseen
from hypersphere import datasets, outliers
from hypersphere.enrolment import retrieval
from hypersphere.errors import InputError


def args_of(**flags):
    defaults = {"dataset": "mnist", "images": None, "heads": ["arcface"], "seeds": 1}
    return Namespace(**defaults | {"smoke": True, "choose": False, "scales": False} | flags)


def test_the_known_classes_are_0_to_4_and_no_image_is_in_two_sets():
    images = unseen.load({"dataset": "mnist", "smoke": True}, None)
    known, new = set(range(5)), set(range(5, 10))
    assert {part: set(y) for part, (_, y) in images.items()} == {"train": known, "known": known, "new": new}
    seen = [image.tobytes() for x, _ in images.values() for image in x]
    assert len(set(seen)) == len(seen)


def test_the_choice_sees_known_classes_and_training_images_alone():
    trials = unseen.plan(args_of(choose=True))
    assert len(trials) == len(unseen.CANDIDATES) * len(unseen.PAIRS)
    assert trials["choice/mnist/turns_twice_as_long-new_2_4/arcface-seed100"]["pair"] == (2, 4)
    x, y = datasets.load_labelled("mnist", "train")
    label_of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    images = unseen.load({"dataset": "mnist", "smoke": False, "pair": (2, 4)}, None)
    assert {label_of[image.tobytes()] for image in images["new"][0]} == {2, 4}
    for part in ["train", "known"]:
        original = np.array([label_of[image.tobytes()] for image in images[part][0]])
        np.testing.assert_array_equal(original, np.array([0, 1, 3])[images[part][1]])


def write_folders(folder, counts):
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")


def test_ones_own_folders(tmp_path, monkeypatch):
    write_folders(tmp_path / "mine", dict.fromkeys(["a", "b", "c", "d", ".hidden"], 63))
    monkeypatch.chdir(tmp_path / "mine")
    ((name, settings),) = unseen.plan(args_of(images=".", smoke=False)).items()
    assert name == "images/mine/arcface-seed0", "a name inside the folder to write to"
    monkeypatch.chdir(tmp_path)
    images = unseen.load(settings, None)
    assert set(images["train"][1]) == {0, 1} and set(images["new"][1]) == {2, 3}
    assert images["train"][0].shape[1:] == (28, 28, 1)
    assert min(np.bincount(images["new"][1])[2:]) > max(unseen.EXAMPLES)
    with pytest.raises(SystemExit):
        run("experiments.unseen", "--images", ".", "--scales")


@pytest.mark.parametrize(
    ("words", "counts"), [("0 classes", {}), ("1 classes", {"a": 63}), ("5 images", {"a": 5, "b": 5})]
)
def test_wrong_folders_are_named(words, counts, tmp_path):
    write_folders(tmp_path, counts)
    with pytest.raises(InputError, match=words):
        outliers.load_class_folders(tmp_path, 2, 63)


def made_record(dataset, head, seed, map_at_r):
    enrolment = {str(count): {"new": 0.7, "all": 0.8} for count in unseen.EXAMPLES}
    metrics = {"recall_at_1": 0.9, "map_at_r": map_at_r, "enrolment": enrolment, "rejection_auroc": map_at_r}
    settings = {"dataset": dataset, "head": head, "seed": seed}
    machine = {"cpu": "a processor", "cores": 2}
    return {"name": f"{dataset}/{head}-seed{seed}", "settings": settings, "metrics": metrics, "machine": machine}


def test_a_contrast_is_paired_by_seed_and_the_caption_has_the_range_of_n():
    gains = {"mnist": [0.1, 0.2, 0.3], "fashion-mnist": [0.1, 0.1]}  # the last data set has fewer seeds
    rows = [(dataset, seed, gain) for dataset, values in gains.items() for seed, gain in enumerate(values)]
    records = [made_record(dataset, "softmax", seed, 0.5) for dataset, seed, _ in rows]
    records += [made_record(dataset, "l2softmax", seed, 0.5 + gain) for dataset, seed, gain in reversed(rows)]
    made = unseen.tables(records)
    table = made["unseen"]
    assert "L2-softmax minus softmax | MNIST         | +0.200" in made["unseen_contrasts"]
    assert "2 of 2" in made["unseen_contrasts"] and "n = 2 to 3 seeds" in made["unseen_contrasts"]
    assert re.search(
        r"softmax +\| 0.900 ± 0.000 +\| 0.500 ± 0.000 +\| 0.700 ± 0.000 +\| 0.900 ± 0.000 \(n = 2\)", table
    )
    assert "Fashion-MNIST 0.500 (softmax) to 0.600 (L2-softmax)." in table and "n = 3 seeds" in table


def test_new_classes_are_found_again_and_told_from_new_images_of_the_known():
    (name, settings), *_ = unseen.plan(args_of(heads=["pixels"])).items()
    found, images = unseen.run_trial(name, settings, None, None)["metrics"], unseen.load(settings, None)
    points = {part: x.reshape(len(x), 784) for part, (x, _) in images.items()}
    points = {part: x - points["train"].mean(axis=0) for part, x in points.items()}
    assert retrieval(points["new"], images["new"][1]).items() <= found.items()
    known, new = (distance.cdist(points[part], points["train"], "cosine").min(axis=1) for part in ["known", "new"])
    assert found["rejection_auroc"] == pytest.approx(np.mean(known[:, np.newaxis] < new), abs=1e-3)


@pytest.mark.slow
def test_the_command_ends_with_what_it_found(tmp_path):
    flags = ["--smoke", "--dataset", "mnist", "--heads", "pca64", "subcluster", "--out", tmp_path]
    assert "mnist/subcluster-seed0: MAP@R" in run("experiments.unseen", *flags)

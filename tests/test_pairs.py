"""The anomaly benchmark's protocol: which images, which labels, which pairs."""

from conftest import write_cifar10
from hypersphere import data, pairs
from hypersphere.errors import InputError

import numpy as np
import pytest

X, Y = data.load_labelled("fashion-mnist", "train")
X_TEST, Y_TEST = data.load_labelled("fashion-mnist", "t10k")


def original_labels(images, x, y):
    """The data set's own labels of some images, found by their pixels."""
    label_of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    return np.array([label_of[image.tobytes()] for image in images])


def test_a_draw_follows_the_protocol():
    drawn = pairs.draw(pairs.SNEAKER_BOOT, seed=3)
    shapes = [drawn.x_train.shape, drawn.x_val.shape, drawn.x_normal.shape, drawn.x_anomaly.shape]
    assert shapes == [(n, 28, 28, 1) for n in [9000, 1800, 1000, 1000]]
    labels = original_labels(drawn.x_train, X, Y)
    assert 9 not in labels and 9 not in original_labels(drawn.x_val, X, Y)
    references = [0, 1, 2, 3, 4, 5, 6, 8]
    np.testing.assert_array_equal(labels, np.array([*references, 7])[drawn.y_train])
    np.testing.assert_array_equal(np.bincount(drawn.y_train), [1000] * 9)
    np.testing.assert_array_equal(drawn.is_normal, labels == 7)
    assert set(original_labels(drawn.x_normal, X_TEST, Y_TEST)) == {7}
    assert set(original_labels(drawn.x_anomaly, X_TEST, Y_TEST)) == {9}
    used = {image.tobytes() for image in drawn.x_train}
    assert not any(image.tobytes() in used for image in drawn.x_val)


def test_a_draw_is_decided_by_its_seed():
    first, second = pairs.draw(pairs.SNEAKER_BOOT, 0, smoke=True), pairs.draw(pairs.SNEAKER_BOOT, 1, smoke=True)
    assert not np.array_equal(first.x_train, second.x_train)
    pairs.draw.cache_clear()
    np.testing.assert_array_equal(first.x_train, pairs.draw(pairs.SNEAKER_BOOT, 0, smoke=True).x_train)


def test_legacy_labels_collide_as_in_the_published_code():
    plain = pairs.draw(pairs.SNEAKER_BOOT, 0, smoke=True)
    legacy = pairs.draw(pairs.SNEAKER_BOOT, 0, legacy=True, smoke=True)
    np.testing.assert_array_equal(plain.x_train, legacy.x_train)
    shirt = pairs.class_number("fashion-mnist", "shirt")
    assert set(legacy.y_train[legacy.is_normal]) == {shirt} == set(legacy.y_train[plain.y_train == shirt])
    np.testing.assert_array_equal(plain.y_train[~plain.is_normal], legacy.y_train[~plain.is_normal])


def test_legacy_calls_deer_cats(tmp_path):
    write_cifar10(tmp_path / data.CIFAR10_FOLDER, np.random.default_rng(0))
    for name in data.CIFAR10_FILES[:-1]:
        (tmp_path / data.CIFAR10_FOLDER / name).symlink_to("test_batch.bin")
    legacy = pairs.draw(pairs.DEER_HORSE, 0, legacy=True, smoke=True, folder=tmp_path)
    assert legacy.x_train.shape[1:] == (32, 32, 3)
    assert set(legacy.y_train[legacy.is_normal]) == {pairs.class_number("cifar10", "cat")}


def test_the_articles_pairs_are_the_default(tmp_path):
    write_cifar10(tmp_path / data.CIFAR10_FOLDER, np.random.default_rng(0))
    for name in data.CIFAR10_FILES[:-1]:
        with pytest.raises(InputError, match=f"{name}: missing"):
            pairs.choose(None, None, None, tmp_path)
        (tmp_path / data.CIFAR10_FOLDER / name).symlink_to("test_batch.bin")
    assert pairs.choose(None, None, None, tmp_path) == ([pairs.SNEAKER_BOOT, pairs.DEER_HORSE], "")
    assert pairs.choose("cifar10", None, None, tmp_path) == ([pairs.DEER_HORSE], "")
    names = [data.CLASS_NAMES[pair.dataset] for pair in [pairs.SNEAKER_BOOT, pairs.DEER_HORSE]]
    assert [names[0][7], names[0][9], names[1][4], names[1][7]] == ["sneaker", "ankle boot", "deer", "horse"]


def test_without_cifar10_its_pair_is_left_out_or_an_error(monkeypatch):
    def no_network(folder):
        raise data.DownloadError("no network")

    monkeypatch.setattr(data, "find_cifar10", no_network)
    assert pairs.choose(None, None, None) == ([pairs.SNEAKER_BOOT], "no network")
    with pytest.raises(data.DownloadError):
        pairs.choose("cifar10", "cat", "dog")


def test_classes_by_name_or_number():
    assert pairs.choose("fashion-mnist", "Ankle Boot", "t-shirt/top") == ([("fashion-mnist", 9, 0)], "")
    assert pairs.choose("mnist", "4", "9") == ([("mnist", 4, 9)], "")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((None, "7", "9"), "need --dataset"),
        (("mnist", None, None), "give both --normal and --anomaly, two of: 0, 1, 2"),
        (("fashion-mnist", "7", None), "give both --normal and --anomaly"),
        (("fashion-mnist", "boots", "9"), "boots: no class of fashion-mnist; choose one of: 0 T-shirt/top, 1 trouser"),
        (("mnist", "4", "10"), "10: no class of mnist; choose one of: 0, 1, 2"),
        (("fashion-mnist", "9", "ankle boot"), "the same class"),
    ],
)
def test_wrong_classes_are_named(flags, words):
    with pytest.raises(InputError, match=words):
        pairs.choose(*flags)

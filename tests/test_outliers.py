"""Images that are not digits."""

import re
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from experiments import near_outliers
from hypersphere import datasets, files, outliers
from hypersphere.errors import InputError


def test_photograph_patches_are_tiles():
    patches = outliers.load_photograph_patches()
    assert patches.shape == (2 * 15 * 22, 28, 28, 1) and patches.dtype == np.float32
    grey = np.asarray(Image.fromarray(load_sample_image("china.jpg")).convert("L"))
    np.testing.assert_allclose(patches[22 + 1].squeeze() * 255, grey[28:56, 28:56], atol=1e-4)


def test_an_image_folder_is_read_and_what_is_unreadable_named(tmp_path, capsys):
    Image.new("L", (100, 60), 128).save(tmp_path / "a.png")
    Image.new("RGB", (50, 50), (255, 255, 255)).save(tmp_path / "b.JPG")
    (tmp_path / "c.jpg").write_bytes(b"not an image")
    Image.new("L", (60, 60), 200).save(tmp_path / "e.webp", lossless=True)
    wide = Image.new("L", (90, 30))
    wide.paste(255, (30, 0, 60, 30))
    wide.save(tmp_path / "f.png")
    (tmp_path / "notes.txt").write_text("passed over")
    images = outliers.load_image_folder(tmp_path)
    assert images.shape == (4, 28, 28, 1) and images.dtype == np.float32
    np.testing.assert_allclose(images[:, 14, 14, 0], [128 / 255, 1, 200 / 255, 1], atol=1 / 255)
    np.testing.assert_array_equal(images[3], 1, "cropped to its middle")
    assert capsys.readouterr().err.startswith(f"skipped {tmp_path / 'c.jpg'}: not a readable image")
    (tmp_path / "empty").mkdir()
    for name, words in [("empty", "no readable PNG, JPEG or WebP"), ("nowhere", "not a folder")]:
        with pytest.raises(InputError, match=f"{tmp_path / name}: {words}"):
            outliers.load_image_folder(tmp_path / name)


@pytest.mark.parametrize(
    ("error", "words"), [(None, "run again with a network"), (PermissionError(13, "denied"), "cannot write")]
)
def test_without_cifar10_its_set_is_left_out(error, words, tmp_path, monkeypatch):
    (tmp_path / "fashion-mnist").symlink_to(datasets.CLONE_DATA / "fashion-mnist", target_is_directory=True)
    monkeypatch.setattr(datasets, "CLONE_DATA", tmp_path)
    monkeypatch.setattr(datasets, "CIFAR10_URL", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.delenv("HYPERSPHERE_DATA", raising=False)
    if error:
        monkeypatch.setattr(files.tempfile, "TemporaryFile", Mock(side_effect=error))
    sets, missing = outliers.load_far(smoke=True)
    assert {name: len(images) for name, images in sets.items()} == {"Fashion-MNIST": 500, "photographs": 500}
    assert words in missing and str(tmp_path) in missing and "\n" not in missing
    with pytest.raises(datasets.DownloadError, match=re.escape(missing)):
        outliers.load_far(strict=True)
    assert [path.name for path in tmp_path.iterdir()] == ["fashion-mnist"]


def test_far_sets_are_whole_or_their_first_images(data_folder, tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "own.png")
    sets, missing = outliers.load_far(data_folder, tmp_path)
    sizes = {"Fashion-MNIST": 10_000, "CIFAR-10": 10_000, "photographs": 660, "own folder": 1}
    assert missing == "" and {name: len(images) for name, images in sets.items()} == sizes
    home = data_folder / datasets.CIFAR10_FOLDER
    of_test, _ = outliers.load_far(data_folder, split="test")
    for name, x in {"data_batch_2.bin": sets["CIFAR-10"], "test_batch.bin": of_test["CIFAR-10"]}.items():
        grey = Image.fromarray(datasets.read_cifar10(home / name)[0][3]).convert("L").resize((28, 28), Image.BILINEAR)
        np.testing.assert_allclose(x[3, ..., 0] * 255, grey, atol=1)
    _, few, _ = near_outliers.load_split(10, data_folder, smoke=True)
    assert [*few] == [*[*sets][:3], "printed letters", "turned digits"]
    for name, images in few.items():
        assert images.shape[1:] == (28, 28, 1) and images.dtype == np.float32 and len(images) <= 500
        assert images.min() >= 0 and images.max() <= 1
        if name in sets:
            np.testing.assert_array_equal(images, sets[name][:500])


def test_a_damaged_cifar10_is_an_error_and_not_left_out(tmp_path):
    (tmp_path / datasets.CIFAR10_FOLDER).mkdir()
    for name in datasets.CIFAR10_FILES:
        (tmp_path / datasets.CIFAR10_FOLDER / name).write_bytes(b"short")
    with pytest.raises(InputError, match="bytes instead of"):
        outliers.load_far(tmp_path)


def test_letters_are_as_described():
    letters = near_outliers.draw_letters(copies=1)
    assert letters.shape == (20 * 24, 28, 28, 1)
    heights = np.sum(letters.max(axis=(2, 3)) > 0.2, axis=1)
    assert heights.min() >= 8 and heights.std() > 1, "a letter is missing, or all are of one size"
    assert letters[:, [0, -1]].max() < 0.2, "a letter is cut off"
    assert len(np.unique(letters.reshape(len(letters), -1), axis=0)) == len(letters)
    np.testing.assert_array_equal(letters, near_outliers.draw_letters(copies=1))


def test_turned_digits_and_digits_that_are_not_learned_are_outliers(data_folder):
    x, y = datasets.load_labelled("mnist", "test")
    turned = near_outliers.load_split(10, data_folder, smoke=True)[1]["turned digits"]
    assert len(turned) == np.isin(y[:500], [3, 4, 7]).sum()
    np.testing.assert_array_equal(turned[0, :, :, 0], np.rot90(x[0, :, :, 0], 2))  # the first test image is a 7
    learned, ood, _ = near_outliers.load_split(5, smoke=True)
    assert all(set(y) == set(range(5)) for _, y in learned)
    assert list(ood) == ["digits 5-9"] and len(ood["digits 5-9"]) + len(learned[2][0]) == 500

"""Images that are no digit."""

from hypersphere import data, outlier_sets
from hypersphere.errors import InputError

import numpy as np
import pytest
from PIL import Image


def test_grey_is_itu_r_601_luma():
    color = np.full((32, 32, 3), [200, 100, 50], dtype=np.uint8)
    grey = outlier_sets.to_grey_digit_size(Image.fromarray(color))
    assert grey.shape == (28, 28, 1)
    assert set(grey.ravel()) == {round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)}


def test_photograph_patches_are_tiles():
    from sklearn.datasets import load_sample_image

    patches = outlier_sets.load_photograph_patches()
    assert patches.shape == (2 * 15 * 22, 28, 28, 1)
    grey = np.asarray(Image.fromarray(load_sample_image("china.jpg")).convert("L"))
    np.testing.assert_allclose(patches[22 + 1].squeeze() * 255, grey[28:56, 28:56], atol=1e-4)


def test_image_folder(tmp_path, capsys):
    Image.new("L", (100, 60), 128).save(tmp_path / "a.png")
    Image.new("RGB", (50, 50), (255, 255, 255)).save(tmp_path / "b.JPG")
    Image.new("RGBA", (9, 30), (0, 0, 0, 255)).save(tmp_path / "d.png")
    (tmp_path / "c.jpg").write_bytes(b"not an image")
    (tmp_path / "notes.txt").write_text("passed over")
    images = outlier_sets.load_image_folder(tmp_path)
    assert images.shape == (3, 28, 28, 1)
    np.testing.assert_allclose(images[:, 14, 14, 0], [128 / 255, 1, 0], atol=0.01)
    messages = capsys.readouterr().err
    assert str(tmp_path / "c.jpg") in messages and "notes.txt" not in messages


def test_image_folder_without_images(tmp_path):
    with pytest.raises(InputError, match="no readable PNG or JPEG"):
        outlier_sets.load_image_folder(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        outlier_sets.load_image_folder(tmp_path / "nowhere")


def test_outliers_without_cifar10(tmp_path, monkeypatch):
    fashion_mnist = data.PROJECT_DATA / "fashion-mnist"
    monkeypatch.setattr(data, "PROJECT_DATA", tmp_path)
    monkeypatch.setattr(data, "CIFAR10_URL", "http://127.0.0.1:9/nothing-listens-here")
    (tmp_path / "fashion-mnist").symlink_to(fashion_mnist, target_is_directory=True)
    sets, missing = outlier_sets.load_article(smoke=True)
    assert list(sets) == ["Fashion-MNIST", "photographs"]
    assert "run again with a network" in missing and "\n" not in missing
    with pytest.raises(data.DownloadError):
        outlier_sets.load_article(strict=True)


def test_a_damaged_cifar10_is_an_error_not_a_missing_row(tmp_path):
    folder = tmp_path / data.CIFAR10_FOLDER
    folder.mkdir()
    (folder / "test_batch.bin").write_bytes(b"short")
    with pytest.raises(InputError, match="bytes instead of"):
        outlier_sets.load_article(tmp_path)


def test_letters_are_as_described():
    letters = outlier_sets.draw_letters(copies=1)
    assert letters.shape == (20 * 24, 28, 28, 1) and letters.dtype == np.float32
    heights = np.array([np.flatnonzero(image.max(axis=(1, 2)) > 0.2) for image in letters], dtype=object)
    heights = np.array([rows[-1] - rows[0] + 1 for rows in heights])
    assert heights.min() >= 10 and heights.max() <= 28 and heights.std() > 1
    assert letters.max(axis=(1, 2, 3)).min() > 0.3, "a letter is missing"
    assert letters[:, [0, -1]].max() < 0.2, "a letter is cut off"
    distinct = np.unique(letters.reshape(len(letters), -1), axis=0)
    assert len(distinct) == len(letters)
    np.testing.assert_array_equal(letters, outlier_sets.draw_letters(copies=1))


def test_turned_digits():
    x, y = data.load_labelled("mnist", "t10k")
    turned = outlier_sets.turned_digits()
    assert len(turned) == np.isin(y, [3, 4, 7]).sum()
    np.testing.assert_array_equal(turned[0, :, :, 0], np.rot90(x[0, :, :, 0], 2))  # the first test image is a 7


@pytest.mark.parametrize(("kind", "sd"), [("uniform", np.sqrt(1 / 12)), ("gaussian", 0.25)])
def test_noise(kind, sd):
    x = outlier_sets.noise(kind, n=200)
    assert x.shape == (200, 28, 28, 1) and x.min() >= 0 and x.max() <= 1
    assert x.dtype == np.float32 and x.mean() == pytest.approx(0.5, abs=0.01)
    assert x.std() == pytest.approx(sd, abs=0.02)

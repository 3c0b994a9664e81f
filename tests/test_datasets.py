"""Readers on good and damaged bytes, the search for data folders, and the download of CIFAR-10."""

import gzip
import hashlib
import tarfile

import numpy as np
import pytest

from conftest import write_cifar10
from hypersphere import datasets
from hypersphere.errors import InputError


def test_mnist_has_the_articles_split_and_smoke_is_a_slice_of_it():
    full = datasets.load_mnist()
    (x_train, y_train), (x_val, _), (x_test, y_test) = full
    assert x_train.shape == (50_000, 28, 28, 1) and x_val.shape == x_test.shape == (10_000, 28, 28, 1)
    assert x_train.dtype == np.float32 and x_train.min() == 0 and x_train.max() == 1
    # Facts of the official files: the first labels, and the counts of the labels.
    assert list(y_train[:8]) == [5, 0, 4, 1, 9, 2, 1, 3]
    assert list(np.bincount(y_test)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for (x, y), (x_small, y_small), n in zip(full, datasets.load_mnist(smoke=True), [2000, 500, 500], strict=True):
        np.testing.assert_array_equal(x_small, x[:n])
        np.testing.assert_array_equal(y_small, y[:n])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b[: len(b) // 2], "damaged or truncated"),
        (lambda b: b"not gzip at all", "damaged or truncated"),
        (lambda b: b[:20] + bytes([b[20] ^ 255]) + b[21:], "damaged or truncated"),
        (lambda b: gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)), "not the official one"),
        (lambda b: gzip.compress(b"\x00\x00\x08\x03\x00"), "not the official one"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-1]), "not the official one"),
    ],
)
def test_read_idx_names_a_damaged_file(tmp_path, monkeypatch, damage, words):
    path = tmp_path / "images-idx3-ubyte.gz"
    content = b"\0\0\x08\x03" + bytes([0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, *range(24)])
    path.write_bytes(gzip.compress(content))
    monkeypatch.setitem(datasets.IDX_SHA256, f"{tmp_path.name}/images-idx3-ubyte", hashlib.sha256(content).hexdigest())
    np.testing.assert_array_equal(datasets.read_idx(path), np.arange(24).reshape(2, 3, 4))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{path}.*{words}"):
        datasets.read_idx(path)


def test_read_idx_names_a_missing_file_and_checks_the_official_content(tmp_path):
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    with pytest.raises(InputError, match=f"{path}: missing"):
        datasets.read_idx(path)
    path.parent.mkdir()
    content = bytearray(gzip.decompress((datasets.CLONE_DATA / "mnist" / path.name).read_bytes()))
    content[100] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match="SHA-256"):
        datasets.read_idx(path)


def test_the_named_folder_comes_first_and_the_projects_is_the_last(tmp_path, data_folder, monkeypatch):
    monkeypatch.delenv("HYPERSPHERE_DATA", raising=False)
    assert datasets.data_folders(data_folder) == [data_folder, datasets.CLONE_DATA]
    monkeypatch.setenv("HYPERSPHERE_DATA", str(data_folder))
    assert datasets.data_folders() == [data_folder, datasets.CLONE_DATA]
    assert datasets.find_cifar10() == data_folder / datasets.CIFAR10_FOLDER
    assert len(datasets.read_labelled("mnist", "test")[1]) == 10_000, "MNIST is in the project's folder alone"
    with pytest.raises(InputError, match=f"{tmp_path}: no data set in this folder"):
        datasets.data_folders(tmp_path)


def test_read_cifar10(data_folder):
    path = data_folder / datasets.CIFAR10_FOLDER / "test_batch.bin"
    images, labels = datasets.read_cifar10(path)
    records = np.fromfile(path, np.uint8).reshape(10_000, 1 + 3 * 1024)
    np.testing.assert_array_equal(labels, records[:, 0])
    # Row 3, column 7 of image 5: one byte in each of three planes of 1,024.
    np.testing.assert_array_equal(images[5, 3, 7], records[5, [1 + plane * 1024 + 3 * 32 + 7 for plane in range(3)]])
    assert datasets.cifar10_sha256(data_folder) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_all_files_of_cifar10_are_read_and_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10_RECORDS", 20)
    home, rng = tmp_path / datasets.CIFAR10_FOLDER, np.random.default_rng(0)
    home.mkdir()
    for name in datasets.CIFAR10_FILES:
        with pytest.raises(InputError, match=f"{home / name}: missing"):
            datasets.find_cifar10(tmp_path)
        write_cifar10(tmp_path / name, rng)
        (tmp_path / name / "test_batch.bin").rename(home / name)
    for split, names in [("train", datasets.CIFAR10_FILES[:5]), ("test", ["test_batch.bin"])]:
        images, labels = datasets.load_labelled("cifar10", split, tmp_path)
        parts = [datasets.read_cifar10(home / name) for name in names]
        np.testing.assert_allclose(images, np.concatenate([x for x, _ in parts]) / 255, rtol=1e-6)
        np.testing.assert_array_equal(labels, np.concatenate([y for _, y in parts]))
    path, content = home / "test_batch.bin", (home / "test_batch.bin").read_bytes()
    for damaged, words in [(content[:-1], "bytes instead of"), (b"\x0a" + content[1:], "a label above 9")]:
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{path}: .*{words}"):
            datasets.read_cifar10(path)


def test_a_download_is_checked_and_unpacked(tmp_path, monkeypatch):
    (tmp_path / "test_batch.bin").write_bytes(b"some records")
    archive, folder = tmp_path / "cifar.tar.gz", tmp_path / "data"  # the folder is made, too
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "test_batch.bin", f"{datasets.CIFAR10_FOLDER}/test_batch.bin")
    monkeypatch.setattr(datasets, "CIFAR10_URL", archive.as_uri())
    with pytest.raises(datasets.DownloadError, match="run again with a network"):  # not the official archive
        datasets.download_cifar10(folder)
    assert not (folder / datasets.CIFAR10_FOLDER).exists()
    monkeypatch.setattr(datasets, "CIFAR10_MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    home = datasets.download_cifar10(folder)
    assert (home / "test_batch.bin").read_bytes() == b"some records"
    assert list(folder.iterdir()) == [home] == [folder / datasets.CIFAR10_FOLDER]

"""Readers on good and damaged bytes, the search for data folders, and the download of CIFAR-10."""

import functools
import gzip
import hashlib
import http.server
import tarfile
import threading

import numpy as np
import pytest

from conftest import write_cifar10
from hypersphere import datasets
from hypersphere.errors import InputError


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def idx_file(tmp_path):
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4))))
    return path


def test_mnist_has_the_articles_split_and_smoke_is_a_slice_of_it():
    full = datasets.load_mnist()
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = full
    assert x_train.shape == (50_000, 28, 28, 1) and x_val.shape == x_test.shape == (10_000, 28, 28, 1)
    assert x_train.dtype == np.float32 and x_train.min() == 0 and x_train.max() == 1
    # Facts of the official files: the first labels, and the counts of the labels.
    assert list(y_train[:8]) == [5, 0, 4, 1, 9, 2, 1, 3]
    assert list(np.bincount(y_test)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    everything = np.concatenate([y_train, y_val])
    assert list(np.bincount(everything)) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    for (x, y), (x_small, y_small), n in zip(full, datasets.load_mnist(smoke=True), [2000, 500, 500], strict=True):
        np.testing.assert_array_equal(x_small, x[:n])
        np.testing.assert_array_equal(y_small, y[:n])


def test_every_class_of_fashion_mnist_has_a_name():
    _, labels = datasets.read_labelled("fashion-mnist", "test")
    assert list(np.bincount(labels)) == [1000] * len(datasets.CLASS_NAMES["fashion-mnist"])


def test_read_idx(idx_file):
    np.testing.assert_array_equal(datasets.read_idx(idx_file), np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b[: len(b) // 2], "damaged or truncated"),
        (lambda b: b"not gzip at all", "damaged or truncated"),
        (lambda b: b[:20] + bytes([b[20] ^ 255]) + b[21:], "damaged or truncated"),
        (lambda b: gzip.compress(b"\x00\x00\x0d\x01" + bytes(8)), "not an IDX file"),
        (lambda b: gzip.compress(b""), "not an IDX file"),
        (lambda b: gzip.compress(b"\x00\x00\x08\x03\x00"), "header"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-1]), "does not fit its header"),
    ],
)
def test_read_idx_names_a_damaged_file(idx_file, damage, words):
    idx_file.write_bytes(damage(idx_file.read_bytes()))
    with pytest.raises(InputError, match=words) as error:
        datasets.read_idx(idx_file)
    assert str(idx_file) in str(error.value)


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
    assert datasets.data_folders() == [datasets.CLONE_DATA]
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
    assert images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(labels, records[:, 0])
    # Row 3, column 7 of image 5: one byte in each of three planes of 1,024.
    np.testing.assert_array_equal(images[5, 3, 7], records[5, [1 + plane * 1024 + 3 * 32 + 7 for plane in range(3)]])


def test_all_files_of_cifar10_are_read_and_must_be_there(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10_RECORDS", 20)
    home, rng = tmp_path / datasets.CIFAR10_FOLDER, np.random.default_rng(0)
    home.mkdir()
    for name in datasets.CIFAR10_FILES:
        assert datasets.find_cifar10(tmp_path) == home
        with pytest.raises(InputError, match=f"{home / name}: missing"):
            datasets.complete_cifar10(tmp_path)
        write_cifar10(tmp_path / name, rng)
        (tmp_path / name / "test_batch.bin").rename(home / name)
    for split, names in [("train", datasets.CIFAR10_FILES[:5]), ("test", ["test_batch.bin"])]:
        images, labels = datasets.load_labelled("cifar10", split, tmp_path)
        parts = [datasets.read_cifar10(home / name) for name in names]
        np.testing.assert_allclose(images, np.concatenate([x for x, _ in parts]) / 255, rtol=1e-6)
        np.testing.assert_array_equal(labels, np.concatenate([y for _, y in parts]))


def test_read_cifar10_names_a_damaged_file(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10_RECORDS", 20)
    path = tmp_path / "c" / "test_batch.bin"
    write_cifar10(path.parent, np.random.default_rng(1))
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"{path}: .* bytes instead of"):
        datasets.read_cifar10(path)
    path.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(InputError, match=f"{path}: a label above 9"):
        datasets.read_cifar10(path)
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: missing"):
        datasets.read_cifar10(path)


def test_copies_of_cifar10_are_told_apart(data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CLONE_DATA", tmp_path)
    monkeypatch.delenv("HYPERSPHERE_DATA", raising=False)
    assert datasets.cifar10_sha256() is None
    content = (data_folder / datasets.CIFAR10_FOLDER / "test_batch.bin").read_bytes()
    assert datasets.cifar10_sha256(data_folder) == hashlib.sha256(content).hexdigest()


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The bytes of a small archive of CIFAR-10's layout, which a local server has."""
    served = tmp_path / "served"
    (served / datasets.CIFAR10_FOLDER).mkdir(parents=True)
    (served / datasets.CIFAR10_FOLDER / "test_batch.bin").write_bytes(b"some records")
    with tarfile.open(served / "cifar.tar.gz", "w:gz") as tar:
        tar.add(served / datasets.CIFAR10_FOLDER, datasets.CIFAR10_FOLDER)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=served))
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    monkeypatch.setattr(datasets, "CIFAR10_URL", f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
    yield (served / "cifar.tar.gz").read_bytes()
    server.shutdown()
    server.server_close()


def test_a_download_is_checked_and_unpacked(archive, tmp_path, monkeypatch):
    folder = tmp_path / "data"  # it is made, too
    with pytest.raises(datasets.DownloadError, match="run again with a network"):  # not the official archive
        datasets.download_cifar10(folder)
    assert not (folder / datasets.CIFAR10_FOLDER).exists()
    monkeypatch.setattr(datasets, "CIFAR10_MD5", hashlib.md5(archive).hexdigest())
    home = datasets.download_cifar10(folder)
    assert (home / "test_batch.bin").read_bytes() == b"some records"
    assert list(folder.iterdir()) == [home] == [folder / datasets.CIFAR10_FOLDER]

"""Readers on good and damaged bytes, the search for data folders, and the outlier sets."""

import functools
import gzip
import hashlib
import http.server
import tarfile
import threading

from conftest import write_cifar10
from hypersphere import data
from hypersphere.errors import InputError

import numpy as np
import pytest


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def idx_file(tmp_path):
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4))))
    return path


def test_mnist_has_the_articles_split():
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = data.load_mnist()
    assert x_train.shape == (50_000, 28, 28, 1)
    assert x_val.shape == x_test.shape == (10_000, 28, 28, 1)
    assert x_train.dtype == np.float32 and x_train.min() == 0 and x_train.max() == 1
    # Facts of the official files: the first labels, and the counts of the test labels.
    assert list(y_train[:8]) == [5, 0, 4, 1, 9, 2, 1, 3]
    assert list(np.bincount(y_test)) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    everything = np.concatenate([y_train, y_val])
    assert list(np.bincount(everything)) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_smoke_is_a_slice_of_the_real_splits():
    full, small = data.load_mnist(), data.load_mnist(smoke=True)
    for (x, y), (x_small, y_small), n in zip(full, small, [2000, 500, 500], strict=True):
        np.testing.assert_array_equal(x_small, x[:n])
        np.testing.assert_array_equal(y_small, y[:n])


def test_read_idx(idx_file):
    np.testing.assert_array_equal(data.read_idx(idx_file).ravel(), np.arange(24))


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
        data.read_idx(idx_file)
    assert str(idx_file) in str(error.value)


def test_read_idx_checks_the_official_content(tmp_path):
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.parent.mkdir()
    content = bytearray(gzip.decompress((data.PROJECT_DATA / "mnist" / path.name).read_bytes()))
    content[100] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))
    with pytest.raises(InputError, match="SHA-256"):
        data.read_idx(path)


def test_named_folder_comes_first_and_falls_back_to_the_projects(tmp_path, data_folder, monkeypatch):
    monkeypatch.delenv("HYPERSPHERE_DATA", raising=False)
    assert data.data_folders() == [data.PROJECT_DATA]
    assert data.data_folders(data_folder) == [data_folder, data.PROJECT_DATA]
    monkeypatch.setenv("HYPERSPHERE_DATA", str(data_folder))
    assert data.data_folders() == [data_folder, data.PROJECT_DATA]
    assert data.find_cifar10() == data_folder / data.CIFAR10_FOLDER
    assert data.load_mnist(smoke=True)[0][0].shape == (2000, 28, 28, 1)
    with pytest.raises(InputError, match="no data set in this folder"):
        data.data_folders(tmp_path)


def test_read_cifar10(tmp_path):
    records = write_cifar10(tmp_path / "c", np.random.default_rng(1))
    images, labels = data.read_cifar10(tmp_path / "c" / "test_batch.bin")
    assert images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(labels, records[:, 0])
    # Row 3, column 7 of image 5: one byte in each of three planes of 1,024.
    np.testing.assert_array_equal(images[5, 3, 7], records[5, [1 + plane * 1024 + 3 * 32 + 7 for plane in range(3)]])


def test_read_cifar10_names_a_damaged_file(tmp_path):
    write_cifar10(tmp_path / "c", np.random.default_rng(1))
    path = tmp_path / "c" / "test_batch.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"{path}: .* bytes instead of"):
        data.read_cifar10(path)
    path.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(InputError, match="label above 9"):
        data.read_cifar10(path)
    path.unlink()
    with pytest.raises(InputError, match="missing"):
        data.read_cifar10(path)


@pytest.fixture
def archive_server(tmp_path):
    """A server on loopback with an archive of CIFAR-10's layout; gives its URL and folder."""
    served = tmp_path / "served"
    write_cifar10(served / data.CIFAR10_FOLDER, np.random.default_rng(2))
    with tarfile.open(served / "cifar.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(served / data.CIFAR10_FOLDER, data.CIFAR10_FOLDER)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=served)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/cifar.tar.gz", served
    server.shutdown()


def test_download(tmp_path, archive_server, monkeypatch):
    url, served = archive_server
    target = tmp_path / "data"
    target.mkdir()
    monkeypatch.setattr(data, "CIFAR10_URL", url)
    monkeypatch.setattr(data, "CIFAR10_MD5", "0" * 32)
    with pytest.raises(data.DownloadError):  # not the official archive
        data.download_cifar10(target)
    assert not (target / data.CIFAR10_FOLDER).exists()
    monkeypatch.setattr(data, "CIFAR10_MD5", hashlib.md5((served / "cifar.tar.gz").read_bytes()).hexdigest())
    folder = data.download_cifar10(target)
    assert (folder / "test_batch.bin").read_bytes() == (served / data.CIFAR10_FOLDER / "test_batch.bin").read_bytes()
    assert [path.name for path in target.iterdir()] == [data.CIFAR10_FOLDER]

"""The data sets: MNIST, Fashion-MNIST and CIFAR-10.

Images leave this module as float32 in [0, 1], or as bytes where the name says `read`. A data set is looked for in the
folder that is named, as an argument or in the variable HYPERSPHERE_DATA, and then in a clone's own `data/`.
"""

import gzip
import hashlib
import os
import socket
import tempfile
from pathlib import Path

import numpy as np

from hypersphere.errors import InputError
from hypersphere.files import make_writable, reading

CLONE_DATA = Path(__file__).resolve().parent.parent / "data"  # is there in a clone alone

# SHA-256 of the files' uncompressed contents: the same for every way of compressing them.
IDX_SHA256 = {
    "mnist/train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "mnist/train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "mnist/t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "mnist/t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "fashion-mnist/train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "fashion-mnist/train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "fashion-mnist/t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "fashion-mnist/t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR10_FILES = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
CIFAR10_SPLITS = {"train": CIFAR10_FILES[:5], "test": CIFAR10_FILES[5:]}
CIFAR10_RECORD = 1 + 3 * 32 * 32  # a label byte, then the red, green and blue planes
CIFAR10_RECORDS = 10_000  # in each file

CLOTHES = ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"]
OBJECTS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CLASS_NAMES = {"mnist": list("0123456789"), "fashion-mnist": CLOTHES, "cifar10": OBJECTS}

N_TRAIN = 50_000  # of MNIST's 60,000 training images; the last 10,000 validate
SMOKE = {"train": 2_000, "val": 500, "test": 500}


class DownloadError(InputError):
    """A data set is not on this machine and could not be downloaded."""


def data_folders(folder=None):
    """The folders to look in, first one first.

    Raises InputError if the named folder is missing or holds none of the data sets, or if there is no folder at all.
    """
    named = folder or os.environ.get("HYPERSPHERE_DATA")
    folders = [Path(named).expanduser()] if named else []
    names = ["mnist", "fashion-mnist", CIFAR10_FOLDER]
    if named and not any((folders[0] / name).is_dir() for name in names):
        raise InputError(f"{folders[0]}: no data set in this folder (looked for {', '.join(names)}); name another one")
    folders += [CLONE_DATA] if CLONE_DATA.is_dir() else []
    if not folders:
        raise InputError("no folder of data sets; name one in the variable HYPERSPHERE_DATA")
    return folders


def read_idx(path):
    """Read one of the official gzip-compressed IDX files: uint8, of the shape that its header states.

    Raises InputError if the file is missing, damaged, truncated or not the official one.
    Source of the format: http://yann.lecun.com/exdb/mnist/
    """
    with reading(path, "damaged or truncated", "restore it, or name a folder that has it"):
        content = gzip.decompress(path.read_bytes())
    if hashlib.sha256(content).hexdigest() != IDX_SHA256[f"{path.parent.name}/{path.stem}"]:
        raise InputError(f"{path}: the content is not the official one (SHA-256); restore the file")
    n_dimensions = content[3]  # whose sizes follow, four bytes each
    shape = np.frombuffer(content, ">u4", n_dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions).reshape(shape)


def read_labelled(dataset, split, folder=None):
    """Images and labels of a key of `CLASS_NAMES`, split "train" or "test"; CIFAR-10 is downloaded if absent.

    Returns x : (n, height, width, channels) uint8 and y : (n,) int64; see `to_float`.
    """
    if dataset == "cifar10":
        home = find_cifar10(folder)
        images, labels = zip(*(read_cifar10(home / name) for name in CIFAR10_SPLITS[split]), strict=True)
        return np.concatenate(images), np.concatenate(labels)
    folders = data_folders(folder)
    home = next((f / dataset for f in folders if (f / dataset).is_dir()), folders[-1] / dataset)
    prefix = "train" if split == "train" else "t10k"
    images, labels = (read_idx(home / f"{prefix}-{part}-ubyte.gz") for part in ["images-idx3", "labels-idx1"])
    return images[..., np.newaxis], labels.astype(np.int64)


def load_labelled(dataset, split, folder=None):
    """As `read_labelled`, with x : float32 in [0, 1]."""
    images, labels = read_labelled(dataset, split, folder)
    return to_float(images), labels


def load_mnist(folder=None, smoke=False):
    """MNIST as (x_train, y_train), (x_val, y_val), (x_test, y_test): 50,000 / 10,000 / 10,000.

    `smoke` keeps the first 2,000 / 500 / 500 of each split. x : (n, 28, 28, 1) float32 in [0, 1].
    """
    (x, y), test = load_labelled("mnist", "train", folder), load_labelled("mnist", "test", folder)
    sizes = SMOKE.values() if smoke else [None] * 3
    splits = [(x[:N_TRAIN], y[:N_TRAIN]), (x[N_TRAIN:], y[N_TRAIN:]), test]
    return tuple((x[:n], y[:n]) for (x, y), n in zip(splits, sizes, strict=True))


def to_float(images):
    """Bytes, (n, height, width, channels), to float32 in [0, 1]."""
    return images.astype(np.float32) / 255


def read_cifar10(path):
    """Read one file of CIFAR-10's binary version: x : (n, 32, 32, 3) uint8, y : (n,) int64.

    Raises InputError if the file is not 10,000 records with labels 0 to 9.
    Source of the format: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    content = np.fromfile(path, dtype=np.uint8)
    if content.size != CIFAR10_RECORDS * CIFAR10_RECORD:
        raise InputError(f"{path}: {content.size} bytes instead of {CIFAR10_RECORDS * CIFAR10_RECORD}; restore it")
    records = content.reshape(CIFAR10_RECORDS, CIFAR10_RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise InputError(f"{path}: a label above 9, so not a CIFAR-10 file; restore it")
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def find_cifar10(folder=None):
    """The folder of CIFAR-10's binary version, downloaded (170 MB) if it is nowhere.

    Raises DownloadError if it cannot be downloaded, InputError, which names the first, if files are missing there.
    """
    folders = data_folders(folder)
    found = [candidate / CIFAR10_FOLDER for candidate in folders if (candidate / CIFAR10_FOLDER).is_dir()]
    home = found[0] if found else download_cifar10(folders[0])
    for name in CIFAR10_FILES:
        if not (home / name).is_file():
            raise InputError(f"{home / name}: missing; delete its folder to download CIFAR-10 again")
    return home


def cifar10_sha256(folder=None, split="test"):
    """SHA-256 of the CIFAR-10 files of a split in use, which tells copies apart; None if they are not there."""
    for candidate in data_folders(folder):
        paths = [candidate / CIFAR10_FOLDER / name for name in CIFAR10_SPLITS[split]]
        if all(path.is_file() for path in paths):
            return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
    return None


def download_cifar10(folder):
    """Download the official archive into `folder` and unpack it there; returns its folder.

    Raises DownloadError if there is no network, the folder is not writable, or the archive is not the official one.
    """
    import keras  # here and not above: reading arrays must not cost Keras's start-up time

    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(5)  # seconds; without a network, give up soon
    options = {"file_hash": CIFAR10_MD5, "hash_algorithm": "md5", "extract": True, "cache_subdir": ""}
    try:
        make_writable(folder)
        with tempfile.TemporaryDirectory(dir=folder) as beside:  # renamed out of it once it is whole
            unpacked = keras.utils.get_file("cifar-10-binary.tar.gz", CIFAR10_URL, cache_dir=beside, **options)
            os.replace(Path(unpacked) / CIFAR10_FOLDER, folder / CIFAR10_FOLDER)
    except Exception as error:  # get_file raises bare Exceptions
        if not (folder / CIFAR10_FOLDER).is_dir():  # which another process may have made meanwhile
            remedy = f"run again with a network, or put the official {CIFAR10_FOLDER}/ into a folder that you name"
            raise DownloadError(f"CIFAR-10 is not in {folder} and cannot be downloaded ({error}): {remedy}") from None
    finally:
        socket.setdefaulttimeout(previous)
    return folder / CIFAR10_FOLDER

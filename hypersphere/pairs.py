"""The protocol of the anomaly benchmark: two classes that look alike, one of them never seen in training.

The *normal* class and 1,000 images each of eight *reference* classes train a classifier of nine
classes. A detector that knows the normal training images alone then tells new normal images from
those of the tenth class, the *anomaly*.
Source: https://qiita.com/shinmura0/items/d2a3a46c3fb287a1ea0e
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

from hypersphere import data
from hypersphere.errors import InputError

import numpy as np

N_TRAIN, N_VAL, N_TEST = 1000, 200, 1000  # images of a class
N_SMOKE = 60
N_CLASSES = 9


class Pair(NamedTuple):
    """A data set and the numbers of two of its classes."""

    dataset: str
    normal: int
    anomaly: int


SNEAKER_BOOT = Pair("fashion-mnist", 7, 9)
DEER_HORSE = Pair("cifar10", 4, 7)


@dataclass
class Draw:
    """The images of one trial. Labels count the classes of the training from 0; the normal one is last."""

    x_train: np.ndarray  # (9000, height, width, channels) float32 in [0, 1]
    y_train: np.ndarray  # (9000,) int64
    is_normal: np.ndarray  # (9000,) bool: the rows of the normal class
    x_val: np.ndarray  # (1800, ...), none of them in x_train; only the classifier is measured on them
    y_val: np.ndarray
    x_normal: np.ndarray  # (1000, ...) of the test split, fewer of MNIST; the same for every seed
    x_anomaly: np.ndarray


def class_number(dataset, text):
    """The number of a class that the user gives by name or number; InputError lists the right ones."""
    names = data.CLASS_NAMES[dataset]
    lowered = [name.lower() for name in names]
    if text.lower() in lowered:
        return lowered.index(text.lower())
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    raise InputError(f"{text}: no class of {dataset}; choose one of: {class_list(dataset)}")


def class_list(dataset):
    """The numbers and names of a data set's classes, in one line."""
    names = enumerate(data.CLASS_NAMES[dataset])
    return ", ".join(name if name == str(number) else f"{number} {name}" for number, name in names)


def choose(dataset, normal, anomaly, folder=None):
    """The pairs that the flags ask for (each may be None), and a sentence on what is missing ("" if nothing is).

    Without a choice both of the article's; CIFAR-10's is left out if it cannot be downloaded.
    Raises InputError if the classes do not fit or files are missing, DownloadError if a chosen data set is not there.
    """
    if dataset is None:
        if normal or anomaly:
            raise InputError("--normal and --anomaly need --dataset: name the data set that the classes are of")
        try:
            data.complete_cifar10(folder)
        except data.DownloadError as error:
            return [SNEAKER_BOOT], str(error)
        return [SNEAKER_BOOT, DEER_HORSE], ""
    if dataset == "cifar10":
        data.complete_cifar10(folder)
    if normal is None and anomaly is None:
        of_article = [pair for pair in [SNEAKER_BOOT, DEER_HORSE] if pair.dataset == dataset]
        if of_article:
            return of_article, ""
    if normal is None or anomaly is None:
        raise InputError(f"--dataset {dataset}: give both --normal and --anomaly, two of: {class_list(dataset)}")
    pair = Pair(dataset, class_number(dataset, normal), class_number(dataset, anomaly))
    if pair.normal == pair.anomaly:
        raise InputError(f"--normal {normal} and --anomaly {anomaly} are the same class; choose two")
    return [pair], ""


@functools.lru_cache(maxsize=1)
def draw(pair, seed, legacy=False, smoke=False, folder=None):
    """Draw the images of one trial, decided by the pair and the seed alone.

    With `legacy` the normal class has the label of the reference class before it, as in the
    article's code, where sneakers were labelled as shirts and deer as cats. The last draw is kept,
    for the next head.
    """
    n_train, n_val, n_test = (N_SMOKE,) * 3 if smoke else (N_TRAIN, N_VAL, N_TEST)
    x, y = data.read_labelled(pair.dataset, "train", folder)
    x_test, y_test = data.read_labelled(pair.dataset, "t10k", folder)
    rng = np.random.default_rng(seed)
    references = [number for number in range(10) if number not in (pair.normal, pair.anomaly)]
    rows = [rng.permutation(np.flatnonzero(y == number))[: n_train + n_val] for number in [*references, pair.normal]]
    train_rows = np.concatenate([of_class[:n_train] for of_class in rows])
    val_rows = np.concatenate([of_class[n_train:] for of_class in rows])
    y_train, y_val = np.repeat(np.arange(N_CLASSES), n_train), np.repeat(np.arange(N_CLASSES), n_val)
    is_normal = y_train == N_CLASSES - 1
    if legacy:
        before = max((i for i, number in enumerate(references) if number < pair.normal), default=0)
        y_train, y_val = (np.where(labels == N_CLASSES - 1, before, labels) for labels in [y_train, y_val])
    return Draw(
        x_train=data.to_float(x[train_rows]),
        y_train=y_train,
        is_normal=is_normal,
        x_val=data.to_float(x[val_rows]),
        y_val=y_val,
        x_normal=data.to_float(x_test[y_test == pair.normal][:n_test]),
        x_anomaly=data.to_float(x_test[y_test == pair.anomaly][:n_test]),
    )

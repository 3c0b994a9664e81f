"""The images of one trial of article 2: a draw of training images, and the new images to tell apart."""

import functools
from dataclasses import dataclass, replace

import numpy as np

from hypersphere import datasets

N_TRAIN, N_VAL, N_TEST = 1000, 200, 1000  # images of a class
N_SMOKE = 60


@dataclass
class Draw:
    """The images of one trial. Labels count the classes of the training from 0; the normal one is last."""

    x_train: np.ndarray  # (9000, height, width, channels) float32 in [0, 1]
    y_train: np.ndarray  # (9000,) int64
    is_normal: np.ndarray  # (9000,) bool: the rows of the normal class
    x_val: np.ndarray  # (1800, ...), none of them in x_train; only the classifier is measured on them
    y_val: np.ndarray
    x_normal: np.ndarray  # (1000, ...), new images of the normal class, fewer of MNIST's test split
    x_anomaly: np.ndarray

    @property
    def n_classes(self):
        """How many classes the training has."""
        return int(self.y_train.max()) + 1

    def images(self):
        """The images of every set, {set: (n, h, w, c)}."""
        return {"train": self.x_train, "val": self.x_val, "normal": self.x_normal, "anomaly": self.x_anomaly}


@functools.lru_cache(maxsize=1)
def draw(dataset, normal, anomaly, seed, *, split="train", without=None, legacy=False, smoke=False, data=None):
    """Draw the images of one trial, decided by the pair, the split and the seed. The last draw is kept, for the next.

    split : of the new images. "train": others of the training split, drawn anew for each seed; "test": the first of
    the test split, the same for every seed. The training images are the same for both.
    without : a class that is left out altogether, for choosing settings without its images.
    legacy : the normal class has the label of the reference class before it, as in the article's code, where
    sneakers were labelled as shirts and deer as cats.
    """
    n_train, n_val, n_test = (N_SMOKE,) * 3 if smoke else (N_TRAIN, N_VAL, N_TEST)
    x, y = datasets.read_labelled(dataset, "train", data)
    rng = np.random.default_rng(seed)
    references = [number for number in range(10) if number not in (normal, anomaly, without)]
    rows = [rng.permutation(np.flatnonzero(y == number)) for number in [*references, normal]]
    train_rows = np.concatenate([of_class[:n_train] for of_class in rows])
    val_rows = np.concatenate([of_class[n_train:][:n_val] for of_class in rows])
    if split == "train":
        normal_rows = rows[-1][n_train + n_val :][:n_test]
        anomaly_rows = rng.permutation(np.flatnonzero(y == anomaly))[:n_test]
        x_normal, x_anomaly = x[normal_rows], x[anomaly_rows]
    else:
        x_test, y_test = datasets.read_labelled(dataset, "t10k", data)
        x_normal, x_anomaly = (x_test[y_test == number][:n_test] for number in [normal, anomaly])
    classes = np.arange(len(references) + 1)
    y_train, y_val = np.repeat(classes, n_train), np.repeat(classes, n_val)
    is_normal = y_train == classes[-1]
    if legacy:
        before = max((i for i, number in enumerate(references) if number < normal), default=0)
        y_train, y_val = (np.where(labels == classes[-1], before, labels) for labels in [y_train, y_val])
    images = {"x_train": x[train_rows], "x_val": x[val_rows], "x_normal": x_normal, "x_anomaly": x_anomaly}
    floats = {name: datasets.to_float(of) for name, of in images.items()}
    return Draw(**floats, y_train=y_train, y_val=y_val, is_normal=is_normal)


def turns(x):
    """Square images, (n, size, size, c) each, turned by 0, 90, 180 and 270 degrees counter-clockwise, as a list."""
    return [np.rot90(x, number, axes=(1, 2)) for number in range(4)]


def views(x, n_views):
    """The first of eight views of images, (n, size, size, c) each, as a list: four turns, then their mirror images."""
    return [turn for side in [x, x[:, :, ::-1]] for turn in turns(side)][:n_views]


def normal_alone(drawn):
    """The same draw without its reference classes."""
    normal_val = drawn.y_val == drawn.n_classes - 1
    return replace(
        drawn,
        x_train=drawn.x_train[drawn.is_normal],
        y_train=np.zeros(drawn.is_normal.sum(), dtype=int),
        is_normal=np.ones(drawn.is_normal.sum(), dtype=bool),
        x_val=drawn.x_val[normal_val],
        y_val=np.zeros(normal_val.sum(), dtype=int),
    )


def turned_classes(x, y, n_views):
    """Images, (n, size, size, c), and labels in several views, which are classes of their own: both n_views as long.

    Class y in view v becomes class y + v * the number of classes.
    """
    n_classes = y.max() + 1
    return np.concatenate(views(x, n_views)), np.concatenate([y + view * n_classes for view in range(n_views)])


def in_views(drawn, n_views):
    """The same draw with its training and validation images in several views; the new images stay as they are."""
    x_train, y_train = turned_classes(drawn.x_train, drawn.y_train, n_views)
    x_val, y_val = turned_classes(drawn.x_val, drawn.y_val, n_views)
    is_normal = np.tile(drawn.is_normal, n_views)
    return replace(drawn, x_train=x_train, y_train=y_train, is_normal=is_normal, x_val=x_val, y_val=y_val)

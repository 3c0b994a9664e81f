"""Outliers made of digits and of random strokes: networks learn some kinds, the others choose the detector's layers.

Each kind is a function of digits, (n, 28, 28, 1), their labels, (n,), and a generator, to images, (m, 28, 28, 1).
"""

import keras
import numpy as np
from PIL import Image, ImageDraw


def mirrored(x, y, rng):
    """Digits that mirroring makes something else."""
    return x[np.isin(y, [2, 3, 4, 5, 6, 7, 9])][:, :, ::-1]


def turned(x, y, rng):
    """Digits but 0, turned by a quarter."""
    return np.rot90(x[y != 0], axes=(1, 2))


def enlarged(x, y, rng):
    """The middle of the image, enlarged by two fifths."""
    return keras.ops.convert_to_numpy(keras.ops.image.resize(x[:, 4:24, 4:24], x.shape[1:3], antialias=True))


def erased(x, y, rng):
    """A square of 10 pixels of the image's middle is gone."""
    found = x.copy()
    for image, (row, column) in zip(found, rng.integers(5, 13, (len(x), 2)), strict=True):
        image[row : row + 10, column : column + 10] = 0
    return found


def scratched(x, y, rng):
    """A digit and strokes over it."""
    return np.maximum(x, strokes(x, y, rng))


def partners(y, rng):
    """For each label, (n,), the row of an image of another class."""
    return np.array([rng.choice(np.flatnonzero(y != label)) for label in y])


def joined(x, y, rng):
    """The upper half of one digit above the lower half of another."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[partners(y, rng)][:, half:]], axis=1)


def joined_sides(x, y, rng):
    """The left half of one digit beside the right half of another."""
    return joined(x.swapaxes(1, 2), y, rng).swapaxes(1, 2)


def laid_over(x, y, rng):
    """Two digits over each other."""
    return np.maximum(x, x[partners(y, rng)])


def strokes(x, y, rng, finer=8):
    """One to three curved strokes, as thick as a pen's, in the middle of the image as digits are; drawn finer."""
    t, drawings = np.linspace(0, 1, 40)[:, np.newaxis], []
    for _ in x:
        image = Image.new("L", (28 * finer, 28 * finer))
        pen, width = ImageDraw.Draw(image), int(finer * rng.uniform(2, 3.5))
        for _ in range(rng.integers(1, 4)):
            a, b, c, d = finer * rng.uniform(4, 24, (4, 2))  # of a cubic Bézier curve
            curve = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
            pen.line([tuple(point) for point in curve], fill=255, width=width, joint="curve")
        drawings.append(np.asarray(image.resize((28, 28), Image.Resampling.BOX), np.float32)[:, :, np.newaxis] / 255)
    return np.stack(drawings)


LEARNED = {"joined halves": joined, "joined sides": joined_sides, "laid over": laid_over, "strokes": strokes}
NEW = {"mirrored": mirrored, "turned": turned, "enlarged": enlarged, "erased": erased, "scratched": scratched}


def turned_classes(x, y, n):
    """Square images, (m, h, h, c), and labels in n quarter turns, each class and turn a class: both n times as long.

    Class y, turned v times counter-clockwise, is class y + v * the number of classes.
    """
    turned = [np.rot90(x, number, axes=(1, 2)) for number in range(n)]
    return np.concatenate(turned), np.concatenate([y + number * (y.max() + 1) for number in range(n)])


def turns_and_none(x, y, rng):
    """What a rotation-prediction network learns: digits, (n, 28, 28, 1), in four turns, and a class "none".

    "None" is the last class, a tenth as many images as there are digits for each kind of `LEARNED`. Returns bytes,
    (4.4 n, 28, 28, 1), and labels, (4.4 n,).
    """
    rows = [rng.choice(len(x), len(x) // 10, replace=False) for _ in LEARNED]
    none = [to_bytes(make(x[chosen], y[chosen], rng)) for chosen, make in zip(rows, LEARNED.values(), strict=True)]
    turned, labels = turned_classes(to_bytes(x), y, 4)
    return np.concatenate([turned, *none]), np.append(labels, np.full(sum(map(len, none)), labels.max() + 1))


def to_bytes(x):
    """Images, 0 to 1, as bytes, 0 to 255."""
    return np.rint(255 * x).astype(np.uint8)

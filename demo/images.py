"""Pictures to MNIST's format: find the ink, and fit it into 28x28 as MNIST's makers did."""

import numpy as np
from PIL import Image
from scipy.ndimage import center_of_mass

from hypersphere.errors import InputError

LEAST_CONTRAST = 0.1  # of black to white: below it nothing is drawn
LEAST_INK = 0.3  # of the darkest ink: what is fainter is background, or the blur of an enlarged picture
LEAST_SHARE = 1 / 7  # of the picture's longer side: what is smaller, as a dot, does not fill the box
BOX, SIZE, CENTER = 20, 28, 14  # pixels: the digit's box, the image, the row and column of its centre of mass
NEARLY_ONE = 1.05  # up to which values count as 0 to 1: arithmetic, as resizing, overshoots


def prepare(brightness):
    """A picture as MNIST has it, light on dark: (height, width) to (28, 28) float32, 0 to 1; None if nothing is drawn.

    Light-on-dark and dark-on-light are told apart by the border, which shows the background. The ink is cropped,
    scaled into 20 x 20 pixels keeping its aspect, and moved by whole pixels until its centre of mass is at (14, 14),
    as in https://yann.lecun.org/exdb/mnist/
    """
    border = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    background = np.median(border)
    lighter, darker = np.maximum(brightness - background, 0), np.maximum(background - brightness, 0)
    ink = lighter if lighter.sum() >= darker.sum() else darker
    contrast = ink.max()
    if contrast < LEAST_CONTRAST:
        return None
    ink = ink / contrast
    uneven = np.quantile(np.abs(border - background), 0.9) / contrast  # paper is not as even as a canvas
    ink[ink < np.clip(1.5 * uneven, LEAST_INK, 0.7)] = 0
    picture = Image.fromarray(ink)
    picture = picture.crop(picture.getbbox())
    scale = BOX / max(*picture.size, LEAST_SHARE * max(brightness.shape))
    size = [max(1, round(side * scale)) for side in picture.size]
    small = np.asarray(picture.resize(size, Image.Resampling.LANCZOS)).clip(0, 1)
    space = SIZE - np.array(small.shape)
    before = np.clip(np.round(CENTER - np.array(center_of_mass(small))), 0, space).astype(int)
    return np.pad(small / small.max(), np.stack([before, space - before], axis=1))


def are_rows(values, width, least, most):
    """Whether each of a list's values is a list of `width` numbers from `least` to `most`, none of them a bool."""
    are_lists = all(isinstance(row, list) and len(row) == width for row in values)
    return are_lists and all(type(value) in (int, float) and least <= value <= most for row in values for value in row)


def read_array(values):
    """A 28x28 list of MNIST's pixel values, 0 to 255 or 0 to 1, light on dark, to (28, 28) float32; None if all dark.

    Raises InputError if it is none.
    """
    if len(values) != SIZE or not are_rows(values, SIZE, 0, 255):
        raise InputError("pixels is not 28 rows of 28 numbers from 0 to 255")
    array = np.array(values, np.float32)
    array = array / 255 if array.max() > NEARLY_ONE else array.clip(max=1)
    return array if array.max() >= LEAST_CONTRAST else None

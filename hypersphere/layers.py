"""Keras layers and functions: the unit norm, the L2 constraint, and an augmentation for digits."""

import math

import keras
from keras import ops

SMALLEST_SQUARED_NORM = 1e-6


def unit(x, axis):
    """Divide each vector along `axis` by its norm; with axis None, the whole array by its one norm.

    A vector of zeros stays zero: the norm is bounded below, and so is the gradient there.
    """
    squared_norm = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squared_norm, SMALLEST_SQUARED_NORM))


@keras.saving.register_keras_serializable(package="hypersphere")
def l2_constrain(x, alpha):
    """Put each row on the sphere of radius alpha: (n, d) to (n, d), row norms alpha.

    A named, registered function, so that a `Lambda` layer around it loads with Keras's safe mode
    on. A row of zeros stays zero: its norm is bounded below, and so is the gradient there.
    Source: Ranjan, Castillo, Chellappa 2017, https://arxiv.org/abs/1703.09507
    """
    return alpha * unit(x, axis=-1)


@keras.saving.register_keras_serializable(package="hypersphere")
class RandomWarp(keras.layers.Layer):
    """Turns, zooms and shifts each image anew, in training alone: square images, (n, h, h, c), to the same.

    One warp with one interpolation: Keras's three layers for it would blur an image three times. In float32,
    since bfloat16 would round the coordinates to eighths of a pixel.

    rotation : degrees; zoom : share, drawn for height and width apart; shift : pixels. Each is the largest, both ways.
    unchanged : the share of the images that stay as they are. seed : of what is drawn.
    """

    def __init__(self, rotation=10.0, zoom=0.1, shift=2.0, unchanged=0.0, seed=None, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.rotation, self.zoom, self.shift, self.unchanged, self.seed = rotation, zoom, shift, unchanged, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_config(self):
        names = ["rotation", "zoom", "shift", "unchanged", "seed"]
        return super().get_config() | {name: getattr(self, name) for name in names}

    def call(self, images, training=False):
        if not training:
            return images
        n = ops.shape(images)[0]
        is_changed = ops.cast(keras.random.uniform((n,), seed=self.seed_generator) >= self.unchanged, images.dtype)

        def draw(largest):
            return is_changed * keras.random.uniform((n,), -largest, largest, seed=self.seed_generator)

        angle = draw(math.radians(self.rotation))
        zoom_x, zoom_y = 1 + draw(self.zoom), 1 + draw(self.zoom)
        # Where a pixel (x, y) comes from: (a x + b y + c, d x + e y + f), turned and zoomed about the middle.
        a, b = ops.cos(angle) * zoom_x, -ops.sin(angle) * zoom_y
        d, e = ops.sin(angle) * zoom_x, ops.cos(angle) * zoom_y
        middle = (images.shape[1] - 1) / 2
        c, f = middle - (a + b) * middle + draw(self.shift), middle - (d + e) * middle + draw(self.shift)
        transforms = ops.stack([a, b, c, d, e, f, ops.zeros(n), ops.zeros(n)], axis=1)
        return ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="constant")

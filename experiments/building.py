"""What networks of several experiments are built of: three convolutions, seeds for layers, an augmentation."""

import functools
import math
import random

import keras
from keras import ops


def layer_seeds(seed):
    """Seeds for a network's layers, one after the other: the same for the same seed, in any thread or process.

    A layer without one would draw its own from Python's generator, from which a cluster's worker draws as well.
    """
    generator = random.Random(seed)
    while True:
        yield generator.randint(1, 10**9)


def convolutional_embedding(image, seeds, *, filters, units, batch_norm=False, penalty=None, name="embedding"):
    """Three convolutions and a linear layer: images, (n, h, w, c), to (n, units) float32.

    Each convolution, 3x3, is followed by 2x2 max-pooling, batch normalisation if `batch_norm`, and a ReLU, whose
    output is the layer "block1" to "block3". After the blocks all is float32.

    seeds : as `layer_seeds` gives them. filters : of the three convolutions. penalty : a regularizer of the kernels.
    name : of the last layer.
    """
    initializer = keras.initializers.HeNormal if batch_norm else keras.initializers.GlorotUniform
    options = {"use_bias": not batch_norm, "kernel_regularizer": penalty}
    normalise = functools.partial(keras.layers.BatchNormalization, momentum=0.9)  # 0.99 is too slow for few epochs
    x = image
    for number, count in enumerate(filters, 1):
        x = keras.layers.Conv2D(count, 3, padding="same", kernel_initializer=initializer(next(seeds)), **options)(x)
        x = keras.layers.MaxPooling2D(2)(x)  # before what follows, which then costs a quarter
        if batch_norm:
            x = normalise()(x)
        x = keras.layers.ReLU(name=f"block{number}")(x)
    x = keras.layers.Flatten()(x)
    options |= {"kernel_initializer": keras.initializers.GlorotUniform(next(seeds)), "dtype": "float32"}
    x = keras.layers.Dense(units, name=None if batch_norm else name, **options)(x)
    return normalise(dtype="float32", name=name)(x) if batch_norm else x


@keras.saving.register_keras_serializable(package="experiments")
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

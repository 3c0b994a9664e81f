"""Recipes that teach the L2-constrained network its digits: the article's, ours, and ours less one choice."""

import functools
import math
from dataclasses import dataclass, replace

from hypersphere import networks

import keras
from keras import ops


@dataclass(frozen=True)
class Recipe:
    """How the network of three convolutions is built and trained; a record keeps all of it."""

    epochs: int = 30
    batch_size: int = 128
    optimizer: str = "adamw"  # or "sgd", with Nesterov momentum 0.9
    learning_rate: float = 1e-2  # the highest
    weight_decay: float = 0.05  # AdamW's; SGD has a penalty of this much on all kernels instead
    batch_norm: bool = True
    augment: bool = True  # turned, zoomed and shifted anew in each epoch
    unchanged: float = 0.3  # the share of the images that are not, in each epoch
    alpha: float = 16.0  # radius of the sphere
    width: int = 32  # channels of the first convolution; the next two have twice and four times as many
    label_smoothing: float = 0.0  # the share of each label that is spread over all classes
    one_cycle: bool = True  # else the learning rate stays as it is


BEST = Recipe()
ALL_CHANGED = replace(BEST, unchanged=0.0)
SHORTER = replace(ALL_CHANGED, epochs=15)
RECIPES = {
    "best": BEST,
    "article": Recipe(
        10, 128, "sgd", learning_rate=0.05, weight_decay=1e-3, batch_norm=False, augment=False, unchanged=0.0
    ),
    "all images changed": ALL_CHANGED,
    "half the epochs": SHORTER,
    # Each differs from the one above in one choice, and in the learning rate where its own would not do.
    "no augmentation": replace(SHORTER, augment=False),
    "no batch norm": replace(SHORTER, batch_norm=False, learning_rate=2e-3),
    "label smoothing": replace(SHORTER, label_smoothing=0.1),
    "half the width": replace(SHORTER, width=16),
    "constant rate": replace(SHORTER, one_cycle=False, learning_rate=1e-3),
    "half the radius": replace(SHORTER, alpha=8.0),
    "twice the radius": replace(SHORTER, alpha=32.0),
    "momentum": replace(SHORTER, optimizer="sgd", learning_rate=0.1, weight_decay=2e-4),
}
FLAGS = ["epochs", "batch_size", "learning_rate", "weight_decay", "alpha"]  # what a training script lets change


def choose(args):
    """The recipe that --recipe names, with what other flags say instead; fills in the flags that say nothing."""
    given = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    recipe = replace(RECIPES[args.recipe], **given)
    vars(args).update({name: getattr(recipe, name) for name in FLAGS})
    return recipe


@keras.saving.register_keras_serializable(package="hypersphere")
class RandomWarp(keras.layers.Layer):
    """Turns, zooms and shifts each image anew, in training alone: (n, 28, 28, 1) to the same.

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


def optimizer(recipe, n_images):
    """The recipe's optimizer for a training on so many images."""
    rate = recipe.learning_rate
    if recipe.one_cycle:
        rate = networks.one_cycle(rate, steps=recipe.epochs * math.ceil(n_images / recipe.batch_size))
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)


def loss(recipe):
    """The recipe's cross-entropy, of labels, (n,), and logits, (n, classes).

    Source of label smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567
    """
    if not recipe.label_smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    return lambda labels, logits: smoothed(ops.one_hot(ops.reshape(labels, (-1,)), logits.shape[-1]), logits)


def build(recipe, classes=10, seed=None, name=None):
    """The network to train and the network to use: images, (n, 28, 28, 1), to logits; both share their layers.

    seed : of the weights and of what the augmentation draws.

    The network to use has layers named "block1" to "embedding". The other changes its images first, if the recipe
    augments: were that a part of the network to use, it would happen wherever `training=False` is forgotten.
    """
    penalty = keras.regularizers.L2(recipe.weight_decay) if recipe.optimizer == "sgd" else None
    seeds = networks.seeds_of(seed)
    start = keras.initializers.HeNormal if recipe.batch_norm else keras.initializers.GlorotUniform
    image = keras.Input((28, 28, 1), name="image")
    x = image
    for number, filters in enumerate([recipe.width, 2 * recipe.width, 4 * recipe.width], 1):
        convolution = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=not recipe.batch_norm,
            kernel_initializer=start(next(seeds)),
            kernel_regularizer=penalty,
        )
        x = keras.layers.MaxPooling2D(2)(convolution(x))  # before the next two, which then cost a quarter
        if recipe.batch_norm:
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU(name=f"block{number}")(x)
    x = keras.layers.Flatten()(x)
    dense = functools.partial(keras.layers.Dense, kernel_regularizer=penalty, dtype="float32")
    x = dense(64, use_bias=not recipe.batch_norm, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)))(x)
    if recipe.batch_norm:
        x = keras.layers.BatchNormalization(momentum=0.9, dtype="float32")(x)
    arguments = {"alpha": recipe.alpha}
    embedding = keras.layers.Lambda(networks.l2_constrain, arguments=arguments, dtype="float32", name="embedding")(x)
    start = keras.initializers.GlorotUniform(next(seeds))
    logits = dense(classes, kernel_initializer=start, name="logits")(embedding)
    network = keras.Model(image, logits, name=name)
    if not recipe.augment:
        return network, network
    seen = keras.Input((28, 28, 1), name="image")
    return keras.Model(seen, network(RandomWarp(unchanged=recipe.unchanged, seed=next(seeds))(seen))), network

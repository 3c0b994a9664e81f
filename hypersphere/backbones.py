"""Backbones of the anomaly benchmark, images to embeddings, and the recipes that train them."""

import os
from dataclasses import dataclass
from pathlib import Path

from hypersphere.errors import InputError
from hypersphere.networks import one_cycle

import keras

BACKBONES = ["cnn", "mobilenetv2"]
MOBILENET_SIZE = 96  # pixels
MOBILENET_WIDTH = 0.5
MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_96_no_top.h5"


def cnn(image, width, seeds):
    """The project's small network at the images' own size: (n, h, w, 1 or 3) to (n, 256), from scratch.

    width : filters of the first convolution; the next two have twice and four times as many.
    """
    x = image
    for filters in [width, 2 * width, 4 * width]:
        start = keras.initializers.HeNormal(next(seeds))
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=start)(x)
        x = keras.layers.MaxPooling2D(2)(x)  # before the next two, which then cost a quarter
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    start = keras.initializers.GlorotUniform(next(seeds))
    x = keras.layers.Dense(256, use_bias=False, kernel_initializer=start, dtype="float32")(x)
    return keras.layers.BatchNormalization(momentum=0.9, dtype="float32", name="embedding")(x)


def mobilenetv2(image, weights):
    """The article's MobileNetV2 of width 0.5 at 96x96: (n, h, w, 1 or 3) to (n, 1280).

    weights : "imagenet" (downloaded once by Keras), "none" or the path of a local weights file.
    Raises InputError if the weights are missing, cannot be downloaded or do not fit.
    """
    # Not the layer Resizing: a network with it, called without `training=False`, runs in training mode.
    x = keras.ops.image.resize(image, (MOBILENET_SIZE, MOBILENET_SIZE))
    if image.shape[-1] == 1:
        x = keras.layers.Concatenate()([x, x, x])
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise InputError(f"{weights}: missing; give --weights imagenet, none or a file such as {MOBILENET_FILE}")
    try:
        network = keras.applications.MobileNetV2(
            input_shape=(MOBILENET_SIZE, MOBILENET_SIZE, 3),
            alpha=MOBILENET_WIDTH,
            include_top=False,
            weights=None if weights == "none" else weights,
        )
    except Exception as error:  # Keras's download raises bare Exceptions, its reader many kinds
        if weights != "imagenet":
            raise InputError(f"{weights}: no weights of MobileNetV2 of width {MOBILENET_WIDTH} ({error})") from None
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
        raise InputError(
            f"the ImageNet weights could not be downloaded ({error}): run again with a network, or put "
            f"{MOBILENET_FILE} into {folder}, or name a copy of it with --weights"
        ) from None
    return keras.layers.GlobalAveragePooling2D(dtype="float32", name="embedding")(network(x))


@dataclass(frozen=True)
class Recipe:
    """How a backbone is trained; a record keeps all of it."""

    width: float  # filters of the cnn's first convolution, or MobileNetV2's share of filters
    epochs: int
    batch_size: int = 128
    rate: float = 1e-2  # the highest of a one-cycle schedule, or a constant one
    one_cycle: bool = True
    weight_decay: float = 0.05
    mirror: bool = True  # learn from mirror images, and look at both sides of a new one
    shift: int = 0  # pixels, in each direction


RECIPES = {
    "mnist": Recipe(width=64, epochs=12, mirror=False),
    "fashion-mnist": Recipe(width=64, epochs=12),
    "cifar10": Recipe(width=48, epochs=16, shift=2),
}
ARTICLE_RECIPE = Recipe(MOBILENET_WIDTH, epochs=10, rate=1e-4, one_cycle=False, weight_decay=0, mirror=False)


def recipe(backbone, dataset):
    """The recipe of a backbone: the article's for `mobilenetv2`, ours for `cnn`."""
    return RECIPES[dataset] if backbone == "cnn" else ARTICLE_RECIPE


def build(backbone, image, weights, width, seeds):
    """Embeddings of images, (n, h, w, 1 or 3) to (n, d); seeds : as `networks.seeds_of` gives them."""
    return cnn(image, width, seeds) if backbone == "cnn" else mobilenetv2(image, weights)


def augment(image, recipe, seeds):
    """Images as a training sees them, (n, h, w, c) to the same: mirrored and shifted anew in each epoch."""
    x = image
    if recipe.mirror:
        x = keras.layers.RandomFlip("horizontal", seed=next(seeds))(x)
    if recipe.shift:
        share = recipe.shift / image.shape[1]
        moves = {"fill_mode": "nearest", "interpolation": "nearest", "seed": next(seeds)}
        x = keras.layers.RandomTranslation(share, share, **moves)(x)
    return x


def optimizer(recipe, steps):
    """AdamW with a one-cycle rate, or the article's Adam with a constant one, for a training of `steps` steps."""
    if recipe.one_cycle:
        return keras.optimizers.AdamW(one_cycle(recipe.rate, steps), weight_decay=recipe.weight_decay)
    return keras.optimizers.Adam(recipe.rate, amsgrad=True)


def choose_weights(backbone, weights):
    """The weights that a trial starts from: those that the user named, or the backbone's own.

    ImageNet's are downloaded now, before several trials do it at once. Raises InputError as `mobilenetv2`
    does, and if weights are named for `cnn`, which has none.
    """
    if backbone == "cnn":
        if weights not in (None, "none"):
            raise InputError(f"--weights {weights}: cnn is trained from scratch; give --backbone mobilenetv2 with it")
        return "none"
    weights = weights or "imagenet"
    mobilenetv2(keras.Input((32, 32, 3)), weights)
    return weights

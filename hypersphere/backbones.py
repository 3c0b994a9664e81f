"""Backbones of the anomaly benchmark, images to embeddings, and the recipes that train them."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypersphere.errors import InputError
from hypersphere.networks import one_cycle

import keras

BACKBONES = ["cnn", "mobilenetv2"]
MOBILENET_SIZE = 96  # pixels
MOBILENET_WIDTH = 0.5
MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_96_no_top.h5"


def cnn(image, weights="none", width=48):
    """The project's small network at the images' own size: (n, h, w, 1 or 3) to (n, 256), from scratch.

    width : filters of the first convolution; the next two have twice and four times as many.
    """
    x = image
    for filters in [width, 2 * width, 4 * width]:
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        x = keras.layers.MaxPooling2D(2)(x)  # before the next two, which then cost a quarter
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(256, use_bias=False, dtype="float32")(x)
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


def mirror_and_shift(image):
    """Images as a training sees them, (n, h, w, c) to the same: some are mirrored, photographs shifted too."""
    x = keras.layers.RandomFlip("horizontal")(image)
    if image.shape[-1] == 3:  # the things in photographs may be anywhere, clothes are centred
        x = keras.layers.RandomTranslation(2 / 32, 2 / 32, fill_mode="nearest", interpolation="nearest")(x)
    return x


@dataclass(frozen=True)
class Recipe:
    """A backbone and how it is trained."""

    build: Callable  # images and weights to embeddings
    augment: Callable  # images to images, anew in each epoch
    mirrored: bool  # whether it learns from mirror images too, so that both sides can be looked at
    epochs: int
    optimizer: Callable  # of the number of steps


def recipe(backbone, dataset):
    """The recipe of a backbone: the article's for `mobilenetv2`, ours for `cnn`."""
    if backbone == "mobilenetv2":
        return Recipe(
            build=mobilenetv2,
            augment=lambda image: image,
            mirrored=False,
            epochs=10,
            optimizer=lambda steps: keras.optimizers.Adam(1e-4, amsgrad=True),
        )
    # As many filters as the time allows: photographs have more pixels and take more epochs.
    width, epochs = (48, 16) if dataset == "cifar10" else (64, 12)
    return Recipe(
        build=functools.partial(cnn, width=width),
        augment=mirror_and_shift,
        mirrored=True,
        epochs=epochs,
        optimizer=lambda steps: keras.optimizers.AdamW(one_cycle(1e-2, steps), weight_decay=0.05),
    )


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

"""MobileNetV2 from ImageNet weights: to be trained whole, its upper blocks alone, or not at all."""

import os
from pathlib import Path

import keras

from hypersphere.errors import InputError

LAYERS = ["block_6_expand_relu", "block_13_expand_relu", "out_relu"]  # whose features are used


def mobilenetv2(width, size, weights):
    """MobileNetV2 without its classifier: (n, size, size, 3), pixels in [-1, 1], to (n, size / 32, size / 32, 1280).

    width : the share of filters. weights : "imagenet" (downloaded once by Keras), "none" or the path of a weights file.
    Raises InputError if the weights are missing, cannot be downloaded or do not fit.
    Source: Sandler et al. 2018, https://arxiv.org/abs/1801.04381
    """
    file = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{width}_{size}_no_top.h5"
    if weights not in ("imagenet", "none") and not Path(weights).is_file():
        raise InputError(f"{weights}: missing; give --weights imagenet, none or a file such as {file}")
    options = {"input_shape": (size, size, 3), "alpha": width, "include_top": False}
    try:
        return keras.applications.MobileNetV2(**options, weights=None if weights == "none" else weights)
    except Exception as error:  # Keras's download raises bare Exceptions, its reader many kinds
        if weights != "imagenet":
            raise InputError(f"{weights}: no weights of MobileNetV2 of width {width}; give their --width") from None
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
        remedy = f"run again with a network, or put {file} into {folder}, or name a copy of it with --weights"
        raise InputError(f"the ImageNet weights could not be downloaded ({error}): {remedy}") from None


def for_mobilenet(image, size):
    """Images, (n, h, w, 1 or 3) in [0, 1], as MobileNetV2 takes them: (n, size, size, 3) in [-1, 1]."""
    # Not the layer Resizing: a network with it, called without `training=False`, runs in training mode.
    x = keras.ops.image.resize(2 * image - 1, (size, size))
    return keras.layers.Concatenate()([x, x, x]) if image.shape[-1] == 1 else x


def lower_part(image, network, size, use):
    """What is frozen of a MobileNetV2: images in [0, 1] to what the heads of a draw learn from.

    use : "upper-blocks": the maps after block 12, (n, size / 16, size / 16, c) float16, which halves their memory;
    else the features of three layers, averaged over space, side by side, (n, d) float32.
    """
    x = for_mobilenet(image, size)
    if use == "upper-blocks":
        maps = network.get_layer("block_12_add").output
        return keras.Model(image, keras.ops.cast(keras.Model(network.input, maps)(x), "float16"))
    outputs = keras.Model(network.input, [network.get_layer(name).output for name in LAYERS])(x)
    pool = keras.layers.GlobalAveragePooling2D()
    return keras.Model(image, keras.layers.Concatenate(name="features")([pool(output) for output in outputs]))


def embedding(x, network, size, use):
    """What is trained below a head, from what `lower_part` gives, or of images if all is trained: to (n, d) float32."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # at Keras's 0.999, a few hundred steps leave the old data's moving statistics
    if use == "upper-blocks":
        x = keras.Model(network.get_layer("block_12_add").output, network.output)(x)
    else:
        x = network(for_mobilenet(x, size))
    return keras.layers.GlobalAveragePooling2D(name="embedding")(x)

"""What detectors look at: the outputs of a network's layers for images."""

from hypersphere import backend  # noqa: F401 - before Keras

import keras
import numpy as np

BLOCKS = ["block1", "block3"]  # the layers, besides the embedding, that detectors look at


def outputs_of(model, x, batch_size):
    """What a model with named outputs gives for images, {name: (n, d) array}."""
    batches = [model(x[start : start + batch_size], training=False) for start in range(0, len(x), batch_size)]
    return {name: np.concatenate([keras.ops.convert_to_numpy(batch[name]) for batch in batches]) for name in batches[0]}


def channel_statistics(x):
    """Mean, standard deviation and maximum of each channel: (n, height, width, c) to (n, 3 c)."""
    ops = keras.ops
    return ops.concatenate([ops.mean(x, (1, 2)), ops.std(x, (1, 2)), ops.max(x, (1, 2))], axis=1)


def feature_model(network, second=None):
    """The network with what detectors look at as its outputs, {name: (n, d) float32}.

    Channel statistics of the layers in `BLOCKS`, the "embedding" and the "logits"; those of a second network, of the
    same images, are named "second block1" and so on.
    """
    blocks = {name: keras.ops.cast(network.get_layer(name).output, "float32") for name in BLOCKS}
    outputs = {name: channel_statistics(block) for name, block in blocks.items()}
    outputs |= {"embedding": network.get_layer("embedding").output, "logits": network.output}
    if second:
        of_second = feature_model(second)(network.input)
        outputs |= {f"second {name}": output for name, output in of_second.items()}
    return keras.Model(network.input, outputs)


def extract(network, x, second=None, batch_size=250):
    """What `feature_model` gives for images, {name: (n, d) float32}."""
    return outputs_of(feature_model(network, second), x, batch_size)


def embed(network, x, batch_size=250):
    """Outputs of the layer named "embedding", (n, d) float32, and the predicted classes, (n,) int64."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    outputs = outputs_of(keras.Model(network.input, layers), x, batch_size)
    return outputs["embedding"], outputs["logits"].argmax(axis=1)

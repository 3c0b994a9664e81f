"""What detectors look at: the outputs of a network's layers for images."""

import keras
import numpy as np
from keras import ops

BLOCKS = ["block1", "block3"]  # the layers, besides the embedding, that detectors look at
# What our detector looks at: {layer: (measure, the p-value above which the layer has no say)}. The first block sees
# far-OOD images and little else: it speaks only where its score is above that of 95% of in-distribution images.
LAYERS = {"block1": ("lof", 0.05), "block3": ("lof", 1.0), "embedding": ("distance", 1.0)}


def statistics(network, block):
    """Mean, standard deviation and maximum of each channel of a layer's output: (n, 3 c) float32."""
    x = ops.cast(network.get_layer(block).output, "float32")  # (n, height, width, c)
    return ops.concatenate([ops.mean(x, (1, 2)), ops.std(x, (1, 2)), ops.max(x, (1, 2))], axis=1)


def feature_model(network):
    """The network with {name: (n, d) float32} as its outputs: `statistics` of `BLOCKS`, "embedding" and "logits"."""
    outputs = {name: statistics(network, name) for name in BLOCKS}
    outputs |= {"embedding": network.get_layer("embedding").output, "logits": network.output}
    return keras.Model(network.input, outputs)


def extract(network, x, batch_size=250):
    """What `feature_model` gives for images, {name: (n, d) float32}."""
    return outputs(feature_model(network), x, batch_size)


def outputs(model, x, batch_size=250):
    """A model's outputs for images, {name: (n, d)}, as `model.predict` gives them, which keeps copies of all images."""
    parts = [model.predict_on_batch(x[start : start + batch_size]) for start in range(0, len(x), batch_size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def embed(network, x, batch_size=250):
    """Outputs of the layer named "embedding", (n, d) float32, and the logits, (n, classes) float32."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    found = outputs(keras.Model(network.input, layers), x, batch_size)
    return found["embedding"], found["logits"]

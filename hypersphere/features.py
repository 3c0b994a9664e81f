"""What detectors look at: the outputs of a network's layers for images."""

import keras

BLOCKS = ["block1", "block3"]  # the layers, besides the embedding, that detectors look at
# What our detector looks at: {layer: (measure, the p-value above which the layer has no say)}. The first block sees
# far-OOD images and little else: it speaks only where its score is above that of 95 % of in-distribution images.
LAYERS = {"block1": ("lof", 0.05), "block3": ("lof", 1.0), "embedding": ("distance", 1.0)}


def channel_statistics(x):
    """Mean, standard deviation and maximum of each channel: (n, height, width, c) to (n, 3 c)."""
    ops = keras.ops
    return ops.concatenate([ops.mean(x, (1, 2)), ops.std(x, (1, 2)), ops.max(x, (1, 2))], axis=1)


def statistics(network, block):
    """`channel_statistics` of a layer's output, in float32."""
    return channel_statistics(keras.ops.cast(network.get_layer(block).output, "float32"))


def feature_model(network):
    """The network with what detectors look at as its outputs, {name: (n, d) float32}.

    `channel_statistics` of the layers in `BLOCKS`, the "embedding" and the "logits".
    """
    outputs = {name: statistics(network, name) for name in BLOCKS}
    outputs |= {"embedding": network.get_layer("embedding").output, "logits": network.output}
    return keras.Model(network.input, outputs)


def extract(network, x, batch_size=250):
    """What `feature_model` gives for images, {name: (n, d) float32}."""
    return feature_model(network).predict(x, batch_size, verbose=0)


def embed(network, x, batch_size=250):
    """Outputs of the layer named "embedding", (n, d) float32, and the predicted classes, (n,) int64."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    outputs = keras.Model(network.input, layers).predict(x, batch_size, verbose=0)
    return outputs["embedding"], outputs["logits"].argmax(axis=1)

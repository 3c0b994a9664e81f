"""What detectors look at: the outputs of a network's layers for images."""

from hypersphere import backend  # noqa: F401 - before Keras

import keras

BLOCKS = ["block1", "block3"]  # the layers, besides the embedding, that detectors look at


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
    return feature_model(network, second).predict(x, batch_size, verbose=0)


def embed(network, x, batch_size=250):
    """Outputs of the layer named "embedding", (n, d) float32, and the predicted classes, (n,) int64."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    outputs = keras.Model(network.input, layers).predict(x, batch_size, verbose=0)
    return outputs["embedding"], outputs["logits"].argmax(axis=1)

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

    Channel statistics of the layers in `BLOCKS`, the "embedding" and the "logits". With a second network, which has
    learned to tell the images' four turns apart, also what that one makes of them:
    "second block1" : statistics of its first block, and "second blocks" : of the second and third
    "second embeddings" : its embeddings of the image's four turns, side by side
    "disagreement" : (n, 1) minus the log-probability of the class that both networks, multiplied, find most likely
    """
    outputs = {name: statistics(network, name) for name in BLOCKS}
    outputs |= {"embedding": network.get_layer("embedding").output, "logits": network.output}
    if second:
        outputs |= second_outputs(network.input, network.output, second)
    return keras.Model(network.input, outputs)


def statistics(network, block):
    """`channel_statistics` of a block."""
    return channel_statistics(keras.ops.cast(network.get_layer(block).output, "float32"))


def second_outputs(image, logits, second):
    """What `feature_model` says of the second network, for an image and the classifier's logits."""
    blocks = [statistics(second, f"block{number}") for number in [1, 2, 3]]
    looked_at = keras.Model(second.input, [*blocks, second.get_layer("embedding").output, second.output])
    block1, block2, block3, embedding, second_logits = looked_at(image)
    turned = [looked_at(keras.ops.rot90(image, number, axes=(1, 2)))[3] for number in [1, 2, 3]]
    log_p = keras.ops.log_softmax(second_logits)[:, : logits.shape[-1]] + keras.ops.log_softmax(logits)
    return {
        "second block1": block1,
        "second blocks": keras.ops.concatenate([block2, block3], axis=1),
        "second embeddings": keras.ops.concatenate([embedding, *turned], axis=1),
        "disagreement": -keras.ops.max(log_p, axis=1, keepdims=True),
    }


def extract(network, x, second=None, batch_size=250):
    """What `feature_model` gives for images, {name: (n, d) float32}."""
    return feature_model(network, second).predict(x, batch_size, verbose=0)


def embed(network, x, batch_size=250):
    """Outputs of the layer named "embedding", (n, d) float32, and the predicted classes, (n,) int64."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    outputs = keras.Model(network.input, layers).predict(x, batch_size, verbose=0)
    return outputs["embedding"], outputs["logits"].argmax(axis=1)

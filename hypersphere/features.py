"""What detectors look at: the outputs of a network's layers for images."""

import keras

BLOCKS = ["block1", "block3"]  # the layers, besides the embedding, that detectors look at


def channel_statistics(x):
    """Mean, standard deviation and maximum of each channel: (n, height, width, c) to (n, 3 c)."""
    ops = keras.ops
    return ops.concatenate([ops.mean(x, (1, 2)), ops.std(x, (1, 2)), ops.max(x, (1, 2))], axis=1)


def feature_model(network, turn_networks=()):
    """The network with what detectors look at as its outputs, {name: (n, d) float32}.

    Channel statistics of the layers in `BLOCKS`, the "embedding" and the "logits". With turn networks, which have
    learned to name an image's class and turn, class c turned v times as c + v * the number of classes, also:
    "turn block1" : statistics of their first blocks, and "turn blocks" : of their second and third, side by side
    "turn embeddings" : their embeddings of the image's four turns, side by side
    "log_probabilities" : (n, classes) of each class, the network's plus the mean of theirs
    "disagreement" : (n, 1) minus the largest of these
    """
    outputs = {name: statistics(network, name) for name in BLOCKS}
    outputs |= {"embedding": network.get_layer("embedding").output, "logits": network.output}
    if turn_networks:
        outputs |= ensemble_outputs(network.input, outputs, turn_networks)
    return keras.Model(network.input, outputs)


def statistics(network, block):
    """`channel_statistics` of a block."""
    return channel_statistics(keras.ops.cast(network.get_layer(block).output, "float32"))


def ensemble_outputs(image, outputs, turn_networks):
    """What `feature_model` says with turn networks, for an image and the network's own outputs."""
    ops, n_classes = keras.ops, outputs["logits"].shape[-1]
    block1, blocks, embeddings, log_p = [], [], [], []
    for network in turn_networks:
        of_blocks = [statistics(network, f"block{number}") for number in [1, 2, 3]]
        looked_at = keras.Model(network.input, [*of_blocks, network.get_layer("embedding").output, network.output])
        first, second, third, embedding, logits = looked_at(image)
        block1.append(first)
        blocks += [second, third]
        embeddings += [embedding, *(looked_at(ops.rot90(image, turn, axes=(1, 2)))[3] for turn in [1, 2, 3])]
        log_p.append(ops.log_softmax(logits)[:, :n_classes])
    log_probabilities = ops.log_softmax(outputs["logits"]) + sum(log_p) / len(turn_networks)
    return {
        "turn block1": ops.concatenate(block1, axis=1),
        "turn blocks": ops.concatenate(blocks, axis=1),
        "turn embeddings": ops.concatenate(embeddings, axis=1),
        "log_probabilities": log_probabilities,
        "disagreement": -ops.max(log_probabilities, axis=1, keepdims=True),
    }


def extract(network, x, turn_networks=(), batch_size=250):
    """What `feature_model` gives for images, {name: (n, d) float32}."""
    return feature_model(network, turn_networks).predict(x, batch_size, verbose=0)


def embed(network, x, batch_size=250):
    """Outputs of the layer named "embedding", (n, d) float32, and the predicted classes, (n,) int64."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    outputs = keras.Model(network.input, layers).predict(x, batch_size, verbose=0)
    return outputs["embedding"], outputs["logits"].argmax(axis=1)

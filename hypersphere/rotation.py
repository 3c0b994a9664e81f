"""A classifier with rotation-prediction networks beside it, and the detector that looks at all of them.

A rotation-prediction network names an image's class and its turn: class c turned v times is c + v * the number of
classes. Sources: https://arxiv.org/abs/1803.07728, and for detection https://arxiv.org/abs/1906.12340. In the names of
features, as in records, they are the "turn" networks.
"""

import keras

from hypersphere import features

# What the detector looks at: {layer: (measure, the p-value above which the layer has no say)}.
LAYERS = {
    "turn block1": ("lof", 0.01),
    "turn blocks": ("lof", 1.0),
    "turn embeddings": ("distance", 1.0),
    "embedding": ("distance", 1.0),
    "disagreement": ("score", 1.0),
}
OPTIONS = {"n_components": 32, "n_neighbors": 5}  # the widest of these layers has 576 features


def feature_model(classifier, rotation_networks):
    """All networks as one, from an image to what detectors look at, {name: (n, d) float32}.

    What `features.feature_model` gives for the classifier, and of the rotation-prediction networks, one or more:
    "turn block1" : statistics of their first blocks, and "turn blocks" : of their second and third, side by side
    "turn embeddings" : their embeddings of the image's four turns, side by side
    "log_probabilities" : (n, classes) of each class, the classifier's plus the mean of theirs
    "disagreement" : (n, 1) minus the largest of these
    """
    ops, image = keras.ops, classifier.input
    outputs = dict(features.feature_model(classifier).output)
    n_classes = outputs["logits"].shape[-1]
    block1, blocks, embeddings, log_p = [], [], [], []
    turned = ops.concatenate([ops.rot90(image, turn, axes=(1, 2)) for turn in range(4)])  # all at once: faster
    for network in rotation_networks:
        statistics = [features.statistics(network, f"block{number}") for number in [1, 2, 3]]
        model = keras.Model(network.input, [*statistics, network.get_layer("embedding").output, network.output])
        first, second, third, embedding, logits = (ops.split(output, 4) for output in model(turned))
        block1.append(first[0])
        blocks += [second[0], third[0]]
        embeddings += embedding
        log_p.append(ops.log_softmax(logits[0])[:, :n_classes])
    log_probabilities = ops.log_softmax(outputs["logits"]) + sum(log_p) / len(rotation_networks)
    outputs |= {
        "turn block1": ops.concatenate(block1, axis=1),
        "turn blocks": ops.concatenate(blocks, axis=1),
        "turn embeddings": ops.concatenate(embeddings, axis=1),
        "log_probabilities": log_probabilities,
        "disagreement": -ops.max(log_probabilities, axis=1, keepdims=True),
    }
    return keras.Model(image, outputs)

"""What detectors look at, against NumPy."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from experiments import building
from hypersphere import features, training


@pytest.fixture(scope="module")
def network():
    image = keras.Input((16, 16, 1))
    embedding = building.convolutional_embedding(image, building.layer_seeds(0), filters=[2, 3, 4], units=5)
    return keras.Model(image, keras.layers.Dense(10)(embedding))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((50, 16, 16, 1), dtype=np.float32)


def statistics(x):
    return np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)


def test_features_are_those_of_the_layers(network, images):
    found = features.extract(network, images, batch_size=20)
    assert {name: of_layer.shape for name, of_layer in found.items()} == {
        "block1": (50, 3 * 2),
        "block3": (50, 3 * 4),
        "embedding": (50, 5),
        "logits": (50, 10),
    }
    for name, of_layer in found.items():
        output = network.output if name == "logits" else network.get_layer(name).output
        expected = keras.ops.convert_to_numpy(keras.Model(network.input, output)(images))
        expected = statistics(expected) if name in features.BLOCKS else expected
        np.testing.assert_allclose(of_layer, expected, rtol=1e-4, atol=1e-5)


def test_embed_gives_embeddings_and_predicted_classes(network, images):
    embedding, prediction = features.embed(network, images, batch_size=20)
    found = features.extract(network, images)
    np.testing.assert_allclose(embedding, found["embedding"], rtol=1e-4, atol=1e-5)
    best = found["logits"][np.arange(50), prediction]
    np.testing.assert_allclose(best, found["logits"].max(axis=1), rtol=1e-4)
    assert len(set(prediction)) > 1


def test_features_are_float32_under_mixed_precision(images):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.POLICIES["bfloat16"])
    try:
        image = keras.Input((16, 16, 1))
        embedding = building.convolutional_embedding(image, building.layer_seeds(0), filters=[2, 3, 4], units=5)
        mixed = keras.Model(image, keras.layers.Dense(10, dtype="float32")(embedding))
    finally:
        keras.config.set_dtype_policy(policy)
    assert {of_layer.dtype.name for of_layer in features.extract(mixed, images).values()} == {"float32"}


def test_an_ensemble_is_looked_at_side_by_side(network, images):
    turn_networks = []
    for seed in [1, 2]:
        image = keras.Input((16, 16, 1))
        options = {"filters": [2, 3, 4], "units": 5, "batch_norm": True}
        embedding = building.convolutional_embedding(image, building.layer_seeds(seed), **options)
        turn_networks.append(keras.Model(image, keras.layers.Dense(41)(embedding)))
    found = features.extract(network, images, turn_networks, batch_size=20)
    assert {of.dtype.name for of in found.values()} == {"float32"}

    def output(of, name, x=images):
        return keras.ops.convert_to_numpy(keras.Model(of.input, of.get_layer(name).output)(x))

    alone = features.extract(network, images)
    turned = [np.rot90(images, number, axes=(1, 2)) for number in range(4)]
    of_turns = [log_softmax(of.predict(images, verbose=0), axis=1)[:, :10] for of in turn_networks]
    together = log_softmax(alone["logits"], axis=1) + np.mean(of_turns, axis=0)
    expected = alone | {
        "turn block1": np.hstack([statistics(output(of, "block1")) for of in turn_networks]),
        "turn blocks": np.hstack([statistics(output(of, b)) for of in turn_networks for b in ["block2", "block3"]]),
        "turn embeddings": np.hstack([output(of, "embedding", x) for of in turn_networks for x in turned]),
        "log_probabilities": together,
        "disagreement": -together.max(axis=1, keepdims=True),
    }
    assert set(found) == set(expected)
    for name, of_layer in found.items():
        np.testing.assert_allclose(of_layer, expected[name], rtol=1e-4, atol=1e-5)

"""What detectors look at, against NumPy."""

from hypersphere import features, networks, training

import keras
import numpy as np
import pytest


@pytest.fixture(scope="module")
def network():
    image = keras.Input((16, 16, 1))
    embedding = networks.convolutional_embedding(image, networks.layer_seeds(0), filters=[2, 3, 4], units=5)
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
        embedding = networks.convolutional_embedding(image, networks.layer_seeds(0), filters=[2, 3, 4], units=5)
        mixed = keras.Model(image, keras.layers.Dense(10, dtype="float32")(embedding))
    finally:
        keras.config.set_dtype_policy(policy)
    assert {of_layer.dtype.name for of_layer in features.extract(mixed, images).values()} == {"float32"}


def test_turn_surprise_is_of_the_best_class_over_the_right_turns():
    turned = features.turns(np.arange(8.0).reshape(2, 2, 2, 1))
    np.testing.assert_array_equal(turned[1][0, :, :, 0], [[1, 3], [0, 2]])
    rng = np.random.default_rng(0)
    of_turns = [rng.normal(size=(6, 12)) for _ in range(4)]  # three classes, four turns
    found = features.turn_surprise(of_turns)
    for row in range(6):
        by_class = []
        for label in range(3):
            shares = [np.exp(logits[row]) / np.exp(logits[row]).sum() for logits in of_turns]
            by_class.append(-sum(np.log(share[label + 3 * turn]) for turn, share in enumerate(shares)))
        assert found[row] == pytest.approx(min(by_class))

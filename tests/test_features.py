"""What detectors look at, against NumPy."""

import keras
import numpy as np
import pytest

from common import training
from experiments import building
from hypersphere import features


def made():
    image = keras.Input((16, 16, 1))
    embedding = building.convolutional_embedding(image, building.layer_seeds(0), filters=[2, 3, 4], units=5)
    return keras.Model(image, keras.layers.Dense(10, dtype="float32")(embedding))


@pytest.fixture(scope="module")
def network():
    return made()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((50, 16, 16, 1), dtype=np.float32)


def statistics(x):
    return np.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)


def test_features_are_those_of_the_layers(network, images):
    found = features.extract(network, images, batch_size=20)
    assert list(found) == ["block1", "block3", "embedding", "logits"]
    for name, values in found.items():
        output = network.output if name == "logits" else network.get_layer(name).output
        expected = keras.ops.convert_to_numpy(keras.Model(network.input, output)(images))
        expected = statistics(expected) if name in features.BLOCKS else expected
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


def test_embed_gives_embeddings_and_logits(network, images):
    embedding, logits = features.embed(network, images, batch_size=20)
    found = features.extract(network, images)
    np.testing.assert_allclose(embedding, found["embedding"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, found["logits"], rtol=1e-4, atol=1e-5)


def test_features_are_float32_under_mixed_precision(images):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.POLICIES["bfloat16"])
    try:
        mixed = made()
    finally:
        keras.config.set_dtype_policy(policy)
    assert {values.dtype.name for values in features.extract(mixed, images).values()} == {"float32"}

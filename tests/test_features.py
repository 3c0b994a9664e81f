"""What detectors look at, against NumPy."""

import keras
import numpy as np
import pytest

from common import training
from conftest import dtype_policy
from experiments import building
from hypersphere import features


def made():
    image = keras.Input((16, 16, 1))
    embedding = building.convolutional_embedding(image, building.layer_seeds(0), filters=[2, 3, 4], units=5)
    return keras.Model(image, keras.layers.Dense(10, dtype="float32")(embedding))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((50, 16, 16, 1), dtype=np.float32)


def test_features_and_embeddings_are_those_of_the_layers(images):
    network = made()
    found = features.extract(network, images, batch_size=20)
    assert list(found) == ["block1", "block3", "embedding", "logits"]
    for name, values in found.items():
        output = network.output if name == "logits" else network.get_layer(name).output
        expected = keras.ops.convert_to_numpy(keras.Model(network.input, output)(images))
        if name in features.BLOCKS:
            parts = [expected.mean(axis=(1, 2)), expected.std(axis=(1, 2)), expected.max(axis=(1, 2))]
            expected = np.concatenate(parts, axis=1)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    embedding, logits = features.embed(network, images, batch_size=20)
    np.testing.assert_allclose(embedding, found["embedding"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits, found["logits"], rtol=1e-4, atol=1e-5)


def test_features_are_float32_under_mixed_precision(images):
    with dtype_policy(training.POLICIES["bfloat16"]):
        mixed = made()
    assert {values.dtype.name for values in features.extract(mixed, images).values()} == {"float32"}

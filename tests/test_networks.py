"""Networks and what detectors look at in them against NumPy, and the files that networks are saved in."""

import re
import zipfile
from unittest.mock import Mock

import keras
import numpy as np
import pytest

from common import training
from conftest import run_python
from experiments import building, mobilenet
from hypersphere import features, heads, layers, networks
from hypersphere.errors import InputError


def small_network(**options):
    """The network of the scripts, small, with AdaCos as its head."""
    image = keras.Input((16, 16, 1))
    options = {"filters": [2, 3, 4], "units": 5, "name": "linear"} | options
    x = building.convolutional_embedding(image, building.layer_seeds(0), **options)
    embedding = keras.layers.Lambda(layers.l2_constrain, arguments={"alpha": 16.0}, name="embedding")(x)
    head = heads.AdaCos(10, kernel_initializer=keras.initializers.GlorotUniform(1))
    return keras.Model(image, head(embedding), name="small")


@pytest.fixture
def images(rng):
    return rng.random((60, 16, 16, 1), dtype=np.float32)


def numpy_block(x, kernel, bias):
    """(n, h, w, c) to (n, h // 2, w // 2, filters): convolution within a border of zeros, max pooling and ReLU."""
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    x = bias + sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))
    corners = [x[:, i : height // 2 * 2 : 2, j : width // 2 * 2 : 2] for i in range(2) for j in range(2)]
    return np.maximum(np.max(corners, axis=0), 0)


def test_convolutional_embedding_is_its_formula(rng):
    image = keras.Input((15, 17, 2))
    embedding = building.convolutional_embedding(image, building.layer_seeds(4), filters=[3, 4, 5], units=6)
    network = keras.Model(image, embedding)
    weights = [rng.normal(0, 0.5, weight.shape) for weight in network.get_weights()]
    network.set_weights(weights)
    x = rng.random((7, 15, 17, 2), dtype=np.float32)
    expected = x.astype(float)
    for kernel, bias in [weights[:2], weights[2:4], weights[4:6]]:
        expected = numpy_block(expected, kernel, bias)
    expected = expected.reshape(7, -1) @ weights[6] + weights[7]
    np.testing.assert_allclose(network(x), expected, rtol=1e-4, atol=1e-4)


def test_a_penalty_is_on_every_kernel():
    network = small_network(penalty=keras.regularizers.L2(0.01))
    kernels = [layer.kernel.numpy() for layer in network.layers[:-1] if hasattr(layer, "kernel")]
    assert len(kernels) == 4
    penalties = sum(float(loss) for loss in network.losses)
    assert penalties == pytest.approx(0.01 * sum((kernel**2).sum() for kernel in kernels), rel=1e-4)


def test_features_and_embeddings_are_those_of_the_layers(images):
    network = small_network()
    found = features.extract(network, images, batch_size=20)
    assert list(found) == ["block1", "block3", "embedding", "logits"]
    for name, values in found.items():
        output = network.output if name == "logits" else network.get_layer(name).output
        expected = keras.ops.convert_to_numpy(keras.Model(network.input, output)(images))
        if name in features.BLOCKS:
            parts = [expected.mean(axis=(1, 2)), expected.std(axis=(1, 2)), expected.max(axis=(1, 2))]
            expected = np.concatenate(parts, axis=1)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    for values, name in zip(features.embed(network, images, batch_size=20), ["embedding", "logits"], strict=True):
        np.testing.assert_allclose(values, found[name], rtol=1e-4, atol=1e-5)


def test_mobilenetv2_reads_weights_and_takes_grey_images(rng, tmp_path):
    made = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    made.save_weights(tmp_path / "own.weights.h5")
    read = mobilenet.mobilenetv2(0.35, 96, str(tmp_path / "own.weights.h5"))
    assert training.network_key(read) == training.network_key(made)
    image = keras.Input((28, 28, 1))
    x = rng.random((2, 28, 28, 1), dtype=np.float32)
    resized = np.repeat(keras.ops.image.resize(2 * x - 1, (96, 96)), 3, axis=-1)  # pixels in [-1, 1]
    expected = keras.ops.convert_to_numpy(made(resized, training=False)).mean(axis=(1, 2))
    expected /= expected.max()  # tiny, without a training
    features = np.asarray(mobilenet.lower_part(image, read, 96, "features")(x))[:, -1280:]
    np.testing.assert_allclose(features / features.max(), expected, atol=1e-3)
    lower = mobilenet.lower_part(image, read, 96, "upper-blocks")
    maps = keras.Input(lower.output.shape[1:])
    upper = keras.Model(maps, mobilenet.embedding(maps, read, 96, "upper-blocks"))
    whole = keras.Model(image, mobilenet.embedding(image, read, 96, "all"))
    assert lower.output.dtype == "float16"
    np.testing.assert_array_equal(whole(x), whole(x, training=False), "called alone, it is no training")
    embedding = np.asarray(whole(x))
    np.testing.assert_allclose(embedding / embedding.max(), expected, atol=1e-3)
    assert not {variable.path for variable in upper.weights} & {variable.path for variable in lower.weights}


@pytest.mark.filterwarnings("ignore:Skipping nested")
def test_mobilenetv2_names_what_are_no_weights(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no\.h5: missing"):
        mobilenet.mobilenetv2(0.5, 96, "no.h5")
    (tmp_path / "broken.h5").write_bytes(b"no weights")
    mobilenet.mobilenetv2(0.35, 96, "none").save_weights(tmp_path / "other.weights.h5")
    for name in ["broken.h5", "other.weights.h5"]:
        with pytest.raises(InputError, match=rf"{name}: no weights of MobileNetV2 of width 0\.5"):
            mobilenet.mobilenetv2(0.5, 96, str(tmp_path / name))
    monkeypatch.setattr(keras.applications, "MobileNetV2", Mock(side_effect=Exception("URL fetch failure")))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"could not be downloaded.*put .*_no_top.h5 into {tmp_path}"):
        mobilenet.mobilenetv2(0.35, 128, "imagenet")


def test_a_network_and_its_head_load_in_a_fresh_process(images, tmp_path):
    """Keras's safe mode is on: what is saved must be made of registered parts. No optimizer is saved."""
    network = small_network()
    training.compile_for_logits(network, keras.optimizers.SGD(momentum=0.9))
    network.optimizer.build(network.trainable_variables)
    networks.save_network(network, tmp_path / "n.keras")
    with zipfile.ZipFile(tmp_path / "n.keras") as saved:
        assert b"optimizer" not in saved.read("model.weights.h5")
    np.save(tmp_path / "x.npy", images)
    code = "import sys, numpy as np; from hypersphere import features, networks\n"
    code += "network = networks.load_network(sys.argv[1] + '/n.keras', '')\n"
    code += "np.savez(sys.argv[1] + '/found.npz', **features.extract(network, np.load(sys.argv[1] + '/x.npy')))"
    run_python(code, tmp_path)
    with np.load(tmp_path / "found.npz") as found:
        for name, expected in features.extract(network, images).items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"n.keras", "x.npy", "found.npz"}


def test_load_network_names_what_is_no_network(tmp_path):
    path, network = tmp_path / "n.keras", small_network()
    with pytest.raises(InputError, match=r"n\.keras: missing; train again"):
        networks.load_network(path, "train again")
    keras.Model(network.input, network.get_layer("block1").output).save(path)
    content = path.read_bytes()
    encrypted = re.sub(rb"(?s)(PK\x01\x02....)\x00", b"\\1\x01", content)  # a flag of each entry in the archive
    for damaged in [content, b"{}", content[: len(content) // 2], encrypted]:
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"n\.keras: not a network with the layers embedding; train again"):
            networks.load_network(path, "train again", ["embedding"])

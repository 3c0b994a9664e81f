"""Networks against a computation in NumPy, and the files that they are saved in."""

import random
import re
import zipfile

import keras
import numpy as np
import pytest

from common import training
from conftest import run_python
from experiments import building, mobilenet
from hypersphere import detectors, features, heads, layers, networks
from hypersphere.errors import InputError


def small_network(alpha=16.0, size=16, **options):
    """The network of the scripts, small, with AdaCos as its head."""
    image = keras.Input((size, size, 1))
    options = {"filters": [2, 3, 4], "units": 5, "name": "linear"} | options
    x = building.convolutional_embedding(image, building.layer_seeds(0), **options)
    embedding = keras.layers.Lambda(layers.l2_constrain, arguments={"alpha": alpha}, name="embedding")(x)
    return keras.Model(
        image, heads.AdaCos(10, kernel_initializer=keras.initializers.GlorotUniform(1))(embedding), name="small"
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).random((60, 16, 16, 1), dtype=np.float32)


def numpy_convolution(x, kernel, bias):
    """(n, h, w, c) to (n, h, w, filters), with a border of zeros, one pixel of the kernel at a time."""
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    shifted = [padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)]
    return sum(shifted) + bias


def numpy_pool(x):
    rows, columns = x.shape[1] // 2, x.shape[2] // 2
    corners = [x[:, i : 2 * rows : 2, j : 2 * columns : 2] for i in range(2) for j in range(2)]
    return np.max(corners, axis=0)


def test_convolutional_embedding_is_its_formula():
    image = keras.Input((15, 17, 2))
    embedding = building.convolutional_embedding(image, building.layer_seeds(4), filters=[3, 4, 5], units=6)
    network = keras.Model(image, embedding)
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.5, weight.shape) for weight in network.get_weights()]
    network.set_weights(weights)
    x = rng.random((7, 15, 17, 2), dtype=np.float32)
    expected = x.astype(float)
    for number in range(3):
        expected = np.maximum(numpy_pool(numpy_convolution(expected, *weights[2 * number : 2 * number + 2])), 0)
        block = keras.Model(image, network.get_layer(f"block{number + 1}").output)
        np.testing.assert_allclose(block(x), expected, rtol=1e-4, atol=1e-4)
    expected = expected.reshape(7, -1) @ weights[6] + weights[7]
    np.testing.assert_allclose(network(x), expected, rtol=1e-4, atol=1e-4)
    assert network.layers[-1].name == "embedding"


def test_batch_normalisation_precedes_each_relu_and_ends_the_embedding(images):
    image = keras.Input((16, 16, 1))
    options = {"filters": [4, 4, 4], "units": 5, "batch_norm": True}
    network = keras.Model(image, building.convolutional_embedding(image, building.layer_seeds(0), **options))
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers) == 4
    embedding = keras.ops.convert_to_numpy(network(images, training=True))
    np.testing.assert_allclose(embedding.mean(axis=0), 0, atol=1e-4)
    ops_before_relu = [network.get_layer(f"block{number}").input._keras_history.operation for number in [1, 2, 3]]
    assert all(isinstance(operation, keras.layers.BatchNormalization) for operation in ops_before_relu)


def test_a_penalty_is_on_every_kernel():
    network = small_network(penalty=keras.regularizers.L2(0.01))
    kernels = [layer.kernel.numpy() for layer in network.layers[:-1] if hasattr(layer, "kernel")]
    assert len(kernels) == 4
    penalties = sum(float(loss) for loss in network.losses)
    assert penalties == pytest.approx(0.01 * sum((kernel**2).sum() for kernel in kernels), rel=1e-4)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_mixed_precision_ends_at_the_blocks(batch_norm):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(training.POLICIES["bfloat16"])
    try:
        network = small_network(batch_norm=batch_norm)
    finally:
        keras.config.set_dtype_policy(policy)
    assert network.get_layer("block3").output.dtype == "bfloat16"
    last_block = network.layers.index(network.get_layer("block3"))
    computing = [layer for layer in network.layers[last_block + 1 :] if layer.weights]
    assert len(computing) == 2 + batch_norm and {layer.compute_dtype for layer in computing} == {"float32"}


def test_seeds_are_those_of_their_number_whatever_else_draws():
    seeds = building.layer_seeds(7)
    first = next(seeds)
    random.seed(0)
    again = building.layer_seeds(7)
    assert [first, next(seeds)] == [next(again), next(again)]
    assert next(building.layer_seeds(8)) != first
    for one, two in zip(small_network().get_weights(), small_network().get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_mobilenetv2_reads_weights_and_takes_grey_images(tmp_path):
    made = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, include_top=False, weights=None)
    made.save_weights(tmp_path / "own.weights.h5")
    read = mobilenet.mobilenetv2(0.35, 96, str(tmp_path / "own.weights.h5"))
    assert training.network_key(read) == training.network_key(made)
    image = keras.Input((28, 28, 1))
    network = keras.Model(image, mobilenet.mobilenetv2_embedding(image, read, 96))
    x = np.random.default_rng(0).random((2, 28, 28, 1), dtype=np.float32)
    resized = np.repeat(keras.ops.image.resize(2 * x - 1, (96, 96)), 3, axis=-1)
    assert resized.min() < -0.9, "ImageNet's weights expect pixels in [-1, 1]"
    expected = keras.ops.convert_to_numpy(made(resized, training=False)).mean(axis=(1, 2))
    embedding = network(x)
    assert embedding.shape == (2, 1280)
    largest = expected.max()  # tiny, without a training
    np.testing.assert_allclose(embedding / largest, expected / largest, atol=1e-3)
    np.testing.assert_array_equal(network(x), network(x, training=False), "called alone, it is no training")
    assert network.layers[-1].name == "embedding"
    layers = ["block_6_expand_relu", "out_relu"]
    features = mobilenet.mobilenetv2_features((28, 28, 1), read, 96, layers)(x)
    assert list(features) == layers and features["block_6_expand_relu"].shape == (2, 96)
    np.testing.assert_allclose(features["out_relu"] / largest, expected / largest, atol=1e-3)


def test_mobilenetv2_forgets_the_old_statistics_within_a_short_training():
    """At Keras's momentum of 0.999 the moving statistics would be ImageNet's after hundreds of steps."""
    network = mobilenet.mobilenetv2(0.35, 96, "none")
    mobilenet.mobilenetv2_embedding(keras.Input((96, 96, 3)), network, 96)
    momenta = {layer.momentum for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.9}


def test_the_halves_of_mobilenetv2_make_the_whole():
    network, image = mobilenet.mobilenetv2(0.35, 96, "none"), keras.Input((32, 32, 3))
    x = np.random.default_rng(0).random((8, 32, 32, 3), dtype=np.float32)
    model = keras.Model(image, network(mobilenet.for_mobilenet(image, 96)))
    for layer in network.layers:
        layer.momentum = 0
    model(x, training=True)  # without it, random weights make the maps smaller than float16 can tell
    whole = model(x)
    lower, upper = mobilenet.mobilenetv2_halves((32, 32, 3), network, 96)
    maps = lower(x)["maps"]
    assert maps.shape[1:3] == (6, 6) and maps.dtype == "float16"
    np.testing.assert_allclose(upper(maps), whole, atol=0.02)
    assert not {variable.path for variable in upper.weights} & {variable.path for variable in lower.weights}


@pytest.mark.filterwarnings("ignore:Skipping nested")
def test_mobilenetv2_names_what_are_no_weights(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no\.h5: missing; give --weights imagenet, none or"):
        mobilenet.mobilenetv2(0.5, 96, "no.h5")
    (tmp_path / "broken.h5").write_bytes(b"no weights")
    mobilenet.mobilenetv2(0.35, 96, "none").save_weights(tmp_path / "other.weights.h5")
    for name in ["broken.h5", "other.weights.h5"]:
        with pytest.raises(InputError, match=rf"{name}: no weights of MobileNetV2 of width 0\.5") as error:
            mobilenet.mobilenetv2(0.5, 96, str(tmp_path / name))
        assert "\n" not in str(error.value)

    def no_network(**arguments):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "MobileNetV2", no_network)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    with pytest.raises(InputError, match="could not be downloaded") as error:
        mobilenet.mobilenetv2(0.35, 128, "imagenet")
    file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_128_no_top.h5"
    assert f"put {file} into {tmp_path / 'keras' / 'models'}" in str(error.value)


LOAD = """
import sys
from pathlib import Path
from hypersphere import detectors, features, networks
import numpy as np
folder = Path(sys.argv[1])
network = networks.load_network(folder / "n.keras", "")
detector = detectors.load_detector(folder / "d.skops", "")
of_images = features.extract(network, np.load(folder / "x.npy"))
rows = detectors.side_by_side(of_images, features.LAYERS)
np.savez(folder / "found.npz", evidence=detector.score_samples(rows), **of_images)
"""


def test_network_head_and_detector_load_in_a_fresh_process(images, tmp_path):
    """Keras's safe mode is on: what is saved must be made of registered parts."""
    network = small_network()
    expected = features.extract(network, images)
    detector = detectors.LayeredDetector(detectors.layers_of(expected, features.LAYERS), n_neighbors=5, level=0.5)
    detector.fit(detectors.side_by_side(expected, features.LAYERS))
    networks.save_network(network, tmp_path / "n.keras")
    detectors.save_detector(detector, tmp_path / "d.skops")
    np.save(tmp_path / "x.npy", images)
    run_python(LOAD, tmp_path)
    with np.load(tmp_path / "found.npz") as found:
        for name, of_layer in expected.items():
            np.testing.assert_allclose(found[name], of_layer, rtol=1e-5, atol=1e-5)
        evidence = detector.score_samples(detectors.side_by_side(dict(found), features.LAYERS))
        np.testing.assert_allclose(found["evidence"], evidence, rtol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"n.keras", "d.skops", "x.npy", "found.npz"}


def test_saved_without_the_optimizers_state(tmp_path):
    network = small_network()
    training.compile_for_logits(network, keras.optimizers.SGD(momentum=0.9))
    network.optimizer.build(network.trainable_variables)
    networks.save_network(network, tmp_path / "n.keras")
    with zipfile.ZipFile(tmp_path / "n.keras") as saved:
        assert b"optimizer" not in saved.read("model.weights.h5")
    loaded = networks.load_network(tmp_path / "n.keras", "train again")
    for one, two in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_load_network_names_what_is_no_network(tmp_path):
    path = tmp_path / "n.keras"
    with pytest.raises(InputError, match=r"n\.keras: missing; train again"):
        networks.load_network(path, "train again")
    network = small_network()
    networks.save_network(network, path)
    content = path.read_bytes()
    encrypted = re.sub(rb"(?s)(PK\x01\x02....)\x00", b"\\1\x01", content)  # a flag of each entry in the archive
    keras.Model(network.input, network.get_layer("block1").output).save(tmp_path / "other.keras")
    for damaged in [b"{}", content[: len(content) // 2], encrypted, (tmp_path / "other.keras").read_bytes()]:
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"n\.keras: not a network with the layers embedding; train again"):
            networks.load_network(path, "train again", ["embedding"])

"""The L2 constraint, training that continues, and networks that load in a fresh process."""

import json
import random
import zipfile

from conftest import run_python
from hypersphere import networks
from hypersphere.errors import InputError

import keras
import numpy as np
import pytest
import tensorflow as tf


def small_network(alpha=16.0):
    image = keras.Input((28, 28, 1))
    x = keras.layers.Dense(5)(keras.layers.Flatten()(image))
    embedding = keras.layers.Lambda(networks.l2_constrain, arguments={"alpha": alpha}, name="embedding")(x)
    return keras.Model(image, keras.layers.Dense(10)(embedding), name="small")


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    x = rng.random((96, 28, 28, 1), dtype=np.float32)
    y = rng.integers(0, 10, 96)
    x[np.arange(96), y] = 1  # a bright row that tells the class
    return x, y


@pytest.mark.parametrize("alpha", [0.5, 16.0])
def test_l2_constrain_against_numpy(alpha):
    x = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    result = keras.ops.convert_to_numpy(networks.l2_constrain(x, alpha))
    np.testing.assert_allclose(result, alpha * x / np.sqrt((x**2).sum(axis=1, keepdims=True)), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), alpha, rtol=1e-5)


def test_l2_constrain_at_known_values():
    result = keras.ops.convert_to_numpy(networks.l2_constrain(np.float32([[3, 4], [0, -2]]), 10))
    np.testing.assert_allclose(result, [[6, 8], [0, -10]], rtol=1e-6)


def test_in_float32_has_the_same_weights_and_computes_in_float32():
    keras.config.set_dtype_policy(networks.POLICIES["bfloat16"])
    mixed = small_network()
    x = np.random.default_rng(0).random((50, 28, 28, 1), dtype=np.float32)
    network = networks.in_float32(mixed)
    assert keras.config.dtype_policy().name == "float32"
    assert network.output.dtype == "float32" and mixed.output.dtype == "bfloat16"
    embedding, _ = networks.embed(network, x)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 16, rtol=1e-5)
    np.testing.assert_allclose(network(x), tf.cast(mixed(x), "float32"), atol=0.3)


def test_seeds_are_those_of_their_number_whatever_else_draws():
    draws = networks.seeds_of(7)
    first = next(draws)
    random.seed(0)
    again = networks.seeds_of(7)
    assert [first, next(draws)] == [next(again), next(again)] and next(networks.seeds_of(8)) != first


def test_gradient_of_l2_constrain():
    # d/dx of u . (alpha x / |x|) is alpha / |x| times what of u is perpendicular to x.
    x, u, alpha = np.float32([[3.0, 4.0]]), np.float32([[1.0, 0.0]]), 10.0
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(u * networks.l2_constrain(variable, alpha))
    direction = x / 5
    expected = alpha / 5 * (u - (u @ direction.T) * direction)
    np.testing.assert_allclose(tape.gradient(value, variable), expected, rtol=1e-5)


def test_a_zero_row_stays_zero_with_a_bounded_gradient():
    variable = tf.Variable(np.zeros((1, 64), np.float32))
    with tf.GradientTape() as tape:
        result = networks.l2_constrain(variable, 16.0)
        value = tf.reduce_sum(result)
    assert not result.numpy().any()
    gradient = tape.gradient(value, variable).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() <= 16.0 / 1e-3 * 1.001


def test_one_cycle_rises_to_its_peak_and_falls_to_zero():
    schedule = networks.one_cycle(0.003, steps=1000)
    rates = np.array([float(schedule(step)) for step in range(1001)])
    assert rates.argmax() == 300
    np.testing.assert_allclose(rates[[0, 300, 1000]], [0.003 / 25, 0.003, 0], atol=1e-8)


def test_every_image_once_an_epoch_in_an_order_of_seed_and_epoch(images):
    x, y = images
    x = np.arange(96, dtype=np.float32).reshape(96, 1)
    epoch = tf.Variable(0)
    batches = networks.shuffled_batches(x, y, batch_size=40, seed=3, epoch=epoch)
    assert len(batches) == 3

    def order(number):
        epoch.assign(number)
        return np.concatenate([np.ravel(rows) for rows, _ in batches])

    first, second, first_again = order(0), order(1), order(0)
    assert sorted(first) == sorted(second) == list(range(96))
    assert list(first) == list(first_again) != list(second)
    other_seed = networks.shuffled_batches(x, y, batch_size=40, seed=2**31 - 1, epoch=tf.Variable(0))
    assert list(first) != [int(row) for rows, _ in other_seed for row in np.ravel(rows)]
    for rows, labels in batches:
        np.testing.assert_array_equal(labels, y[np.ravel(rows).astype(int)])


def train(images, folder, epochs=4, network=None):
    keras.utils.clear_session()  # layer names start anew, as in a fresh process
    keras.utils.set_random_seed(0)
    network = network or small_network()
    optimizer = keras.optimizers.SGD(networks.one_cycle(0.02, steps=6 * epochs), momentum=0.9, nesterov=True)
    settings = {"optimizer": optimizer, "epochs": epochs, "batch_size": 16, "seed": 0}
    history = networks.train(network, images, images, **settings, resume_folder=folder)
    return network, history


class Interruption(Exception):
    pass


def test_an_interrupted_training_ends_as_an_uninterrupted_one(images, tmp_path, monkeypatch, capsys):
    expected, expected_history = train(images, tmp_path / "whole")

    def interrupt(self, epoch, logs=None):
        self.epoch.assign(epoch)
        self.started = 0
        if epoch == 2:
            raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(networks.HistoryFile, "on_epoch_begin", interrupt)
        with pytest.raises(Interruption):
            train(images, tmp_path / "halves")
    capsys.readouterr()
    continued, history = train(images, tmp_path / "halves")
    printed = capsys.readouterr().out
    assert "Epoch 3/4" in printed and "Epoch 2/4" not in printed
    assert len(history) == len(expected_history) == 4
    for a, b in zip(continued.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose([row["loss"] for row in history], [row["loss"] for row in expected_history])


def test_a_changed_network_starts_anew(images, tmp_path):
    train(images, tmp_path, epochs=1)
    _, history = train(images, tmp_path, epochs=1, network=small_network(alpha=4.0))
    assert len(history) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_training_reduces_the_loss_and_validates(images, tmp_path):
    _, history = train(images, tmp_path, epochs=8)
    assert history[-1]["loss"] < history[0]["loss"]
    assert set(history[0]) == {"accuracy", "loss", "val_accuracy", "val_loss", "seconds"}


def test_embed(images):
    network = small_network(alpha=7.0)
    embedding, prediction = networks.embed(network, images[0], batch_size=40)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 7, rtol=1e-5)
    logits = network.predict(images[0], verbose=0)
    np.testing.assert_array_equal(prediction, logits.argmax(axis=1))


def test_a_saved_network_opens_in_a_fresh_process_with_safe_mode(images, tmp_path):
    network = small_network()
    networks.save_network(network, tmp_path / "n.keras")
    np.save(tmp_path / "x.npy", images[0])
    code = (
        "import sys, numpy as np, keras, hypersphere.networks\n"
        "network = keras.saving.load_model(sys.argv[1], safe_mode=True)\n"
        "np.save(sys.argv[3], network.predict(np.load(sys.argv[2]), verbose=0))"
    )
    run_python(code, tmp_path / "n.keras", tmp_path / "x.npy", tmp_path / "y.npy")
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), network.predict(images[0], verbose=0), atol=1e-5)
    assert [path.name for path in tmp_path.glob("*.keras")] == ["n.keras"]


def test_saved_without_optimizer_state(images, tmp_path):
    network, _ = train(images, tmp_path / "resume", epochs=1)
    networks.save_network(network, tmp_path / "n.keras")
    assert not any("optimizer" in name for name in zipfile.ZipFile(tmp_path / "n.keras").namelist())
    weights = sum(array.nbytes for array in network.get_weights())
    assert (tmp_path / "n.keras").stat().st_size < 1.5 * weights + 40_000


def test_load_network_names_what_is_no_network(tmp_path):
    with pytest.raises(InputError, match=r"run train_x\.py first"):
        networks.load_network(tmp_path / "n.keras", "train_x.py")
    (tmp_path / "n.keras").write_text(json.dumps({}))
    with pytest.raises(InputError, match="not a network of this project"):
        networks.load_network(tmp_path / "n.keras", "train_x.py")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="not a network of this project"):
        networks.load_network(tmp_path / "other.keras", "train_x.py")

"""Training: its batches, rates, number formats and what it shows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common import training
from conftest import dtype_policy
from hypersphere import CosFace, MetricModel

EPOCHS = 4


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    x, y = rng.random((96, 8, 8, 1), dtype=np.float32), rng.integers(0, 8, 96)
    x[np.arange(96), y] = 1  # a bright row that tells the class
    return x, y


def small_network():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, keras.layers.Dense(10)(keras.layers.Dense(5)(keras.layers.Flatten()(image))))


def fit(images, **options):
    keras.utils.clear_session()  # layer names start anew, as in a fresh process
    keras.utils.set_random_seed(0)
    network = small_network()
    optimizer = keras.optimizers.SGD(training.one_cycle(0.02, steps=6 * EPOCHS), momentum=0.9, nesterov=True)
    training.compile_for_logits(network, optimizer)
    return network, training.fit(network, images, epochs=EPOCHS, batch_size=16, seed=0, **options)


def test_training_learns_validates_and_shows_one_line(images, capsys):
    _, history = fit(images, validation_data=images, show="line")
    printed = capsys.readouterr().out
    assert len(history) == EPOCHS and history[-1]["loss"] < history[0]["loss"]
    assert printed.count("\n") == 1 and f"epoch {EPOCHS}/{EPOCHS}" in printed.split("\r")[-1]
    assert f"val {history[-1]['val_accuracy']:.2%}" in printed


def test_the_same_seed_gives_the_same_weights_in_silence(images, capsys):
    (one, _), (two, _) = fit(images), fit(images)
    for weights in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(*weights, rtol=1e-4, atol=1e-5)
    assert capsys.readouterr() == ("", "")


def test_a_model_with_a_margin_trains_on_such_batches(images):
    x, y = images
    encoder = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
    model = MetricModel(encoder, CosFace(8, scale=8.0, margin=0.2))
    training.compile_for_logits(model, "adam")
    history = training.fit(model, images, epochs=10, batch_size=16, seed=0)
    assert history[-1]["loss"] < history[0]["loss"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        training.fit(model, (x, y + 1), epochs=1, batch_size=96, seed=0)


def test_one_cycle_rises_to_its_peak_and_falls_to_zero():
    schedule = training.one_cycle(0.003, steps=1000)
    steps = np.arange(0, 1001, 50)
    rates = np.array([float(schedule(step)) for step in steps])
    rising, falling = steps[:7] / 300, (steps[6:] - 300) / 700
    np.testing.assert_allclose(rates[:7], 0.003 * (1 / 25 + rising * 24 / 25), rtol=1e-4)
    np.testing.assert_allclose(rates[6:], 0.003 * (1 + np.cos(np.pi * falling)) / 2, rtol=1e-4, atol=1e-8)


def test_every_image_once_an_epoch_in_an_order_of_seed_and_epoch():
    x, y = np.arange(96, dtype=np.float32).reshape(96, 1), np.random.default_rng(0).integers(0, 10, 96)

    def order(seed, number):
        epoch = tf.Variable(0)
        batches = training.shuffled_batches(x, y, batch_size=40, seed=seed, epoch=epoch)
        assert len(batches) == 3
        epoch.assign(number)
        rows, labels = zip(*batches, strict=True)
        rows = np.concatenate(rows).ravel().astype(int)
        np.testing.assert_array_equal(np.concatenate(labels), y[rows])
        return list(rows)

    orders = [order(3, 0), order(3, 1), order(2**31 - 1, 0)]
    assert all(sorted(rows) == list(range(96)) for rows in orders)
    assert len({tuple(rows) for rows in orders}) == 3 and order(3, 1) == orders[1]
    ((rows, _),) = training.shuffled_batches(np.uint8([[51]]), y[:1], batch_size=1, seed=0, epoch=tf.Variable(0))
    assert rows.dtype == tf.float32 and rows.numpy().item() == np.float32(51) / np.float32(255), "bytes become floats"


def test_in_float32_has_the_same_weights_and_computes_in_float32(images):
    with dtype_policy(training.POLICIES["bfloat16"]):
        mixed = small_network()
        network = training.in_float32(mixed)
        assert keras.config.dtype_policy().name == "float32"
    native = small_network()
    native.set_weights(mixed.get_weights())
    assert mixed.output.dtype == "bfloat16" and network.output.dtype == "float32"
    np.testing.assert_allclose(network(images[0]), native(images[0]), rtol=1e-4, atol=1e-4)

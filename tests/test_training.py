"""Training that continues as if it had never been interrupted, its batches, rates and number formats."""

import contextlib
import io
import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from hypersphere import heads, layers, training
from hypersphere.errors import InputError

EPOCHS = 4


def small_network(alpha=16.0):
    image = keras.Input((8, 8, 1))
    x = keras.layers.Dense(5)(keras.layers.Flatten()(image))
    embedding = keras.layers.Lambda(layers.l2_constrain, arguments={"alpha": alpha}, name="embedding")(x)
    return keras.Model(image, keras.layers.Dense(10)(embedding), name="small")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    x, y = rng.random((96, 8, 8, 1), dtype=np.float32), rng.integers(0, 8, 96)
    x[np.arange(96), y] = 1  # a bright row that tells the class
    return x, y


def start(alpha=16.0):
    keras.utils.clear_session()  # layer names start anew, as in a fresh process
    keras.utils.set_random_seed(0)
    network = small_network(alpha)
    optimizer = keras.optimizers.SGD(training.one_cycle(0.02, steps=6 * EPOCHS), momentum=0.9, nesterov=True)
    training.compile_for_logits(network, optimizer)
    return network


def fit(images, folder, alpha=16.0, epochs=EPOCHS):
    network = start(alpha)
    return network, training.fit(network, images, images, epochs=epochs, batch_size=16, seed=0, state_folder=folder)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def uninterrupted(images, whole_folder):
    """A whole training: its weights, its history and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        network, history = fit(images, whole_folder)
    return network.get_weights(), history, printed.getvalue()


@pytest.fixture
def finished(uninterrupted, whole_folder, tmp_path):
    """A copy of what a whole training keeps."""
    return shutil.copytree(whole_folder, tmp_path / "state")


def assert_same_weights(network, weights):
    for one, two in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


class Interruption(Exception):
    pass


@pytest.mark.parametrize(("kept_epochs", "place"), [(2, "begin"), (1, "end")])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    kept_epochs, place, images, uninterrupted, tmp_path, monkeypatch, capsys
):
    """At the end of an epoch its history is kept, and its weights are not yet."""
    weights, expected, _ = uninterrupted
    original = getattr(training.EpochFile, f"on_epoch_{place}")

    def interrupt(self, epoch, logs=None):
        original(self, epoch, logs)
        if epoch == kept_epochs:
            raise Interruption

    with monkeypatch.context() as patch:
        patch.setattr(training.EpochFile, f"on_epoch_{place}", interrupt)
        with pytest.raises(Interruption):
            fit(images, tmp_path)
    kept = [json.loads(path.read_text())[:kept_epochs] for path in tmp_path.glob("*/history.json")]
    capsys.readouterr()
    network, history = fit(images, tmp_path)
    assert_same_weights(network, weights)
    assert len(history) == EPOCHS and f"epoch {EPOCHS}/{EPOCHS}" in capsys.readouterr().out
    np.testing.assert_allclose([row["loss"] for row in history], [row["loss"] for row in expected], rtol=1e-4)
    assert [history[:kept_epochs]] == kept, "the kept epochs were not trained again"


def test_a_finished_training_is_not_repeated_until_forgotten(images, uninterrupted, finished):
    network, history = fit(images, finished)
    assert history == uninterrupted[1]  # with the seconds of each epoch
    assert_same_weights(network, uninterrupted[0])
    training.forget(finished)
    assert not finished.exists()


@pytest.mark.parametrize("change", [{"alpha": 4.0}, {"epochs": 1}])
def test_another_network_or_other_arguments_start_anew(change, images, finished):
    before = set(finished.iterdir())
    fit(images, finished, **change)
    (added,) = set(finished.iterdir()) - before
    assert len(json.loads((added / "history.json").read_text())) == change.get("epochs", EPOCHS)


def test_a_history_without_its_weights_is_not_continued(images, uninterrupted, finished):
    (state,) = finished.iterdir()
    (state / "keras" / "training_metadata.json").unlink()
    (state / "history.json").write_text(json.dumps([{"loss": 0.0}] * 9))
    network, history = fit(images, finished)
    assert_same_weights(network, uninterrupted[0])
    assert len(history) == EPOCHS and all(row["loss"] > 0 for row in history)


def test_training_learns_validates_and_shows_one_line(uninterrupted):
    _, history, printed = uninterrupted
    assert len(history) == EPOCHS and history[-1]["loss"] < history[0]["loss"]
    assert set(history[0]) == {"accuracy", "loss", "val_accuracy", "val_loss", "seconds"}
    last = printed.split("\r")[-1]
    assert printed.count("\n") == 1 and f"epoch {EPOCHS}/{EPOCHS}" in last
    assert f"val {history[-1]['val_accuracy']:.2%}" in last


def test_a_state_that_cannot_be_written_is_named(images, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=f"{tmp_path / 'file'}.*: cannot write"):
        fit(images, tmp_path / "file")


def test_in_silence_the_weights_are_the_same(images, uninterrupted, capsys):
    network = start()
    losses = training.fit_in_silence(network, *images, epochs=EPOCHS, batch_size=16, seed=0)
    assert_same_weights(network, uninterrupted[0])
    np.testing.assert_allclose(losses, [row["loss"] for row in uninterrupted[1]], rtol=1e-4)
    assert capsys.readouterr() == ("", "")


def network_with_margin(loss=None):
    image, label = keras.Input((8, 8, 1)), keras.Input((), dtype="int64")
    embedding = keras.layers.Dense(5)(keras.layers.Flatten()(image))
    network = keras.Model([image, label], heads.CosFace(8, scale=8.0, margin=0.2)(embedding, label))
    training.compile_for_logits(network, "adam", loss)
    return network


def test_networks_that_take_labels_are_given_them(images):
    losses = training.fit_in_silence(network_with_margin(), *images, epochs=10, batch_size=16, seed=0, with_labels=True)
    assert len(losses) == 10 and losses[-1] < losses[0]


def test_the_compiled_network_still_checks_its_labels(images):
    x, y = images
    network = network_with_margin(loss=lambda label, logits: keras.ops.mean(logits))  # which takes any label
    with pytest.raises(tf.errors.InvalidArgumentError, match="label is out of range"):
        training.fit_in_silence(network, x, y + 1, epochs=1, batch_size=96, seed=0, with_labels=True)


def test_the_default_loss_is_the_cross_entropy_of_logits(images):
    network = start()
    x, y = images
    logits = keras.ops.convert_to_numpy(network(x)).astype(float)
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(96), y])
    loss, accuracy = network.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == y), abs=1e-6)


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
        assert [len(of_batch) for of_batch in rows] == [40, 40, 16]
        rows = np.concatenate(rows).ravel().astype(int)
        np.testing.assert_array_equal(np.concatenate(labels), y[rows])
        return list(rows)

    orders = [order(3, 0), order(3, 1), order(2**31 - 1, 0)]
    assert all(sorted(rows) == list(range(96)) for rows in orders)
    assert len({tuple(rows) for rows in orders}) == 3
    assert order(3, 1) == orders[1]


def test_bytes_become_floats_from_0_to_1():
    x, y = np.array([[0], [51], [255]], np.uint8), np.arange(3)
    ((rows, labels),) = training.shuffled_batches(x, y, batch_size=3, seed=0, epoch=tf.Variable(0))
    assert rows.dtype == tf.float32
    np.testing.assert_array_equal(rows, x[labels] / np.float32(255))


def test_in_float32_has_the_same_weights_and_computes_in_float32(images):
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy(training.POLICIES["bfloat16"])
        mixed = small_network()
        network = training.in_float32(mixed)
        assert keras.config.dtype_policy().name == "float32"
    finally:
        keras.config.set_dtype_policy(policy)
    native = small_network()
    native.set_weights(mixed.get_weights())
    assert mixed.output.dtype == "bfloat16" and network.output.dtype == "float32"
    np.testing.assert_allclose(network(images[0]), native(images[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("flags", "precision"), [("fma amx_bf16 avx2", "bfloat16"), ("fma avx512_bf16", "float32")])
def test_the_fastest_precision_is_that_of_the_processor(flags, precision, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "Path", lambda path: tmp_path / "cpuinfo")
    assert training.fastest_precision() == "float32", "where no processor is described"
    (tmp_path / "cpuinfo").write_text(f"model name : x\nflags : {flags}\n")
    assert training.fastest_precision() == precision


def test_more_devices_than_there_are(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"] if kind == "GPU" else ["a CPU"])
    with pytest.raises(InputError, match="--devices 2: this machine has 1 GPUs"):
        training.use_devices(2)

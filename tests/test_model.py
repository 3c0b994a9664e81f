"""Encoders and heads that train with a plain `fit(x, y)`, on whichever backend Keras runs."""

import importlib.util
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from conftest import PROJECT, dtype_policy, run_python
from hypersphere import AdaCos, CosFace, MetricModel
from test_heads import ALL, CLASSES, one_hot

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
Y = RNG.integers(0, CLASSES, 600)
X = (RNG.normal(size=(CLASSES, 12))[Y] + 0.5 * RNG.normal(size=(600, 12))).astype("float32")


def model_of(head, optimizer=None, width=4, **options):
    """A compiled model of 12 inputs, of a head or its name in `ALL`."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((12,)), keras.layers.Dense(width, use_bias=False)])
    model = MetricModel(encoder, ALL[head]() if isinstance(head, str) else head)
    model.build((None, 12))
    model.compile(optimizer or keras.optimizers.Adam(0.03), metrics=["accuracy"], **options)
    return model


def fitted(model, x=X, y=Y, **options):
    return model.fit(x, y, epochs=options.pop("epochs", 6), batch_size=64, verbose=0, **options).history


def cross_entropy(logits, label):
    logits = np.asarray(logits, np.float64)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(label)), label]))


@pytest.mark.parametrize("name", ALL)
def test_fit_learns_and_one_file_holds_all(name, tmp_path):
    model = model_of(name)
    history = fitted(model, validation_data=(X[:100], Y[:100]))
    assert history["val_accuracy"][-1] > 0.9
    logits, scale = model.predict(X, verbose=0), float(getattr(model.head, "scale", 0))
    assert logits.shape == (600, CLASSES) and model.encoder.predict(X, verbose=0).shape == (600, 4)
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert accuracy == pytest.approx(np.mean(logits.argmax(axis=1) == Y), abs=2e-3)
    assert loss == pytest.approx(cross_entropy(logits, Y), rel=1e-3), "without a margin"
    assert scale == float(getattr(model.head, "scale", 0)), "moves in training alone"
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert type(loaded.head) is type(model.head) and loaded.head.get_config() == model.head.get_config()
    assert float(getattr(loaded.head, "scale", 0)) == float(getattr(model.head, "scale", 0))
    np.testing.assert_allclose(loaded.predict(X, verbose=0), logits, rtol=1e-4, atol=1e-4)
    before = int(loaded.optimizer.iterations)
    assert fitted(loaded, epochs=1)["loss"][0] < 1.5 * history["loss"][-1] + 0.1
    assert before == 60 and int(loaded.optimizer.iterations) == 70


@pytest.mark.parametrize("name", ALL)
def test_a_step_follows_the_gradient_of_the_training_loss(name):
    model = model_of(name, keras.optimizers.SGD(1.0))
    model.head.trainable = False
    x, kernel = X[:9], model.encoder.layers[-1].kernel
    label, start = Y[:9], ops.convert_to_numpy(kernel)
    if name == "adacos-dynamic":
        model.head.scale.assign(1.0)  # from where it has to move
    model.train_on_batch(x, label)
    gradient, next_scale = start - ops.convert_to_numpy(kernel), float(getattr(model.head, "scale", 1))

    def loss_at(place, step):
        moved = start.copy()
        moved[place] += step
        kernel.assign(moved)
        if name == "adacos-dynamic":  # its next scale is a constant of the step
            logits = ops.convert_to_numpy(model.head.cosines(model.encoder(x))) * next_scale
        else:
            logits = ops.convert_to_numpy(model.head.training_logits(model(x), one_hot(label)))
        return cross_entropy(logits, label)

    assert name != "adacos-dynamic" or next_scale > 1.1
    for place in [(0, 0), (3, 2), (11, 3)]:
        difference = (loss_at(place, 3e-3) - loss_at(place, -3e-3)) / 6e-3
        assert gradient[place] == pytest.approx(difference, rel=0.01, abs=2e-3)


@pytest.mark.parametrize("name", ALL)
def test_gradients_stay_finite_where_the_cosine_is_one_and_at_zero(name):
    model = model_of(name, keras.optimizers.SGD(1e-3), width=12)
    dense, kernel = model.encoder.layers[-1], np.full(model.head.kernel.shape, 0.5, np.float32)
    kernel[:, 0] = np.eye(12)[0]
    for x in [kernel[:, 0], -kernel[:, 0], 0 * kernel[:, 0]]:
        dense.kernel.assign(np.eye(12))
        model.head.kernel.assign(kernel)
        model.train_on_batch(x[np.newaxis], np.array([0]))
        for weight in [dense.kernel, model.head.kernel]:
            change = ops.convert_to_numpy(weight)
            assert np.isfinite(change).all() and np.abs(change).max() < 100


def test_columns_of_labels_and_weights_of_images():
    flat, column, weighted, doubled = (model_of("cosface") for _ in range(4))
    loss = fitted(flat, epochs=1, shuffle=False)["loss"]
    assert fitted(column, y=Y[:, np.newaxis], epochs=1, shuffle=False)["loss"] == pytest.approx(loss, rel=1e-4)
    weight = np.where(Y == 0, 2.0, 1.0)
    rows = np.repeat(np.arange(600), weight.astype(int))
    weighted.train_on_batch(X, Y, sample_weight=weight * 600 / len(rows))
    doubled.train_on_batch(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.predict(X, verbose=0), doubled.predict(X, verbose=0), atol=1e-3)


@pytest.mark.parametrize(("dtype", "classes"), [("uint8", 256), ("int8", 128)])
def test_labels_of_a_small_number_type(dtype, classes):
    label = np.arange(len(X)) % classes
    labels = [label.astype(dtype), label]
    losses = [fitted(model_of(CosFace(classes)), y=y, epochs=1, shuffle=False)["loss"] for y in labels]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)  # JAX shuffles nothing, but adds in another order


@pytest.mark.parametrize("label", [-1, CLASSES])
@pytest.mark.parametrize("name", ["l2softmax", "arcface"])
def test_wrong_labels_are_loud(name, label):
    y = Y.copy()
    y[3] = label
    with pytest.raises(ValueError, match=r"but the head has the classes 0 to 4"):
        fitted(model_of(name), y=y, epochs=1)
    with pytest.raises(ValueError, match=r"labels of shape \(.*5\)"):
        fitted(model_of(name), y=np.eye(CLASSES)[Y])
    batches = ((X[rows], y[rows]) for rows in np.split(np.arange(600), 10))
    try:
        loss = model_of(name).fit(batches, verbose=0).history["loss"][0]
    except Exception as error:  # of the backend's own kind
        assert re.search("label|class|target", str(error), re.IGNORECASE)
    else:
        assert np.isnan(loss)


@pytest.mark.skipif(BACKEND == "torch", reason="XLA is TensorFlow's and JAX's")
@pytest.mark.parametrize("name", ["arcface", "adacos-dynamic", "subcluster"])
def test_compiled_by_xla(name):
    plain, compiled = model_of(name, jit_compile=False), model_of(name, jit_compile=True)
    losses = [fitted(model, X[:576], Y[:576], epochs=2, shuffle=False)["loss"] for model in [plain, compiled]]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["arcface", "adacos-dynamic"])
def test_trains_in_mixed_precision(name, policy):
    with dtype_policy(policy):
        model = model_of(name)
        assert fitted(model)["accuracy"][-1] > 0.9
        large = np.full((64, 12), 1e5, np.float32)  # infinite in float16: loss scaling skips the step
        model.train_on_batch(large, Y[:64])
        assert np.isfinite(float(model.head.scale)) and np.isfinite(model.predict(X, verbose=0)).all()


def test_an_encoder_of_ones_own_class_and_labels_as_a_tensor():
    class Encoder(keras.Model):
        def call(self, x):
            return self.dense(x)

    encoder = Encoder()
    encoder.dense = keras.layers.Dense(4)
    model = MetricModel(encoder, CosFace(CLASSES))
    model.compile(keras.optimizers.Adam(0.03), metrics=["accuracy"])
    assert fitted(model, y=ops.convert_to_tensor(Y))["accuracy"][-1] > 0.9
    for name in ["sparse_categorical_crossentropy", keras.losses.SparseCategoricalCrossentropy()]:
        for loss in [name, [name]]:
            with pytest.raises(ValueError, match="takes probabilities"):
                model.compile("adam", loss)
    with pytest.raises(ValueError, match=r"labels such as \d\.5; give whole numbers"):
        model.fit(X, Y + 0.5)
    with pytest.raises(ValueError, match=r"without labels; call fit\(x, y\)"):
        model.fit(X, verbose=0)


def test_a_functional_model_and_a_loop_of_ones_own():
    head, image = AdaCos(CLASSES, dynamic=True), keras.Input((12,))
    network = keras.Model(image, head(keras.layers.Dense(4)(image)))
    logits = network(X)
    assert logits.shape == (600, CLASSES)
    trained = ops.convert_to_numpy(head.training_logits(logits, one_hot(Y)))
    np.testing.assert_allclose(trained, ops.convert_to_numpy(network(X)), rtol=1e-4, atol=1e-4)  # the scale has moved


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_two_devices_keep_one_scale(monkeypatch):
    code = """
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np, test_model
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = test_model.model_of("adacos-dynamic")
    model.fit(test_model.X, test_model.Y, batch_size=60, epochs=3, verbose=0, shuffle=False)
scales = [float(copy) for copy in model.head.scale.value.values]
print(len(scales), scales[0] == scales[1], scales[0], model.evaluate(test_model.X, test_model.Y, verbose=0)[1])
"""
    monkeypatch.setenv("PYTHONPATH", f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}")
    count, same, scale, accuracy = run_python(code).split()
    assert (count, same) == ("2", "True") and float(accuracy) > 0.8
    assert 0 < float(scale) < AdaCos(CLASSES).fixed_scale


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="is one of those that this test starts")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_heads_and_models_on_other_backends(backend):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    files = [str(PROJECT / "tests" / name) for name in ["test_heads.py", "test_model.py"]]
    chosen = "test_heads or fit_learns or step or finite or loud or xla or loop"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "-k", chosen, *files]
    options = {"env": os.environ | {"KERAS_BACKEND": backend}, "cwd": PROJECT}
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-4000:]

"""Training that can be interrupted, in the fastest number format, on one device or several."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from pathlib import Path

import keras
import tensorflow as tf

from hypersphere import cli
from hypersphere.errors import InputError
from hypersphere.files import cannot_write, replacing

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names
STEPS_PER_EXECUTION = 20  # between two returns to Python


def fastest_precision():
    """ "bfloat16" where the processor multiplies matrices in it (AMX), twice as fast; else "float32"."""
    with contextlib.suppress(OSError):
        if "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split():
            return "bfloat16"
    return "float32"


def one_cycle(peak, steps, warmup_share=0.3):
    """Learning rate: up from peak / 25 in a line, then down to zero along a cosine, in `steps` steps."""
    warmup_steps = round(warmup_share * steps)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, decay_steps=steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


def shuffled_batches(x, y, batch_size, seed, epoch):
    """A tf.data.Dataset of one epoch, in an order drawn from (seed, epoch).

    x : floats as they are, or bytes, which take a quarter of the memory and become floats in [0, 1].
    epoch : tf.Variable, read whenever an epoch starts, so that a training which continues in
    epoch 7 sees the same batches as one that was never interrupted.
    """

    def order(_):
        rows = tf.range(len(x))
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(rows, seed=[seed, epoch]))

    def batch(rows):
        images = tf.gather(x, rows)
        return tf.cast(images, tf.float32) / 255 if images.dtype == tf.uint8 else images, tf.gather(y, rows)

    x, y = tf.constant(x), tf.constant(y)
    batches = tf.data.Dataset.range(1).flat_map(order).batch(batch_size).map(batch).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # autotuning threads compete with the training on small machines
    steps = math.ceil(len(x) / batch_size)
    return batches.with_options(options).apply(tf.data.experimental.assert_cardinality(steps))


class EpochFile(keras.callbacks.Callback):
    """Keeps an epoch's metrics and seconds in a JSON file, and continues the file of a first attempt.

    It also moves the variable `epoch` on, before the epoch's batches are drawn.
    """

    def __init__(self, path, epoch):
        super().__init__()
        self.path = path
        self.epoch = epoch
        self.rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch.assign(epoch)
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started
        row = {name: float(value) for name, value in logs.items()} | {"seconds": seconds}
        self.rows = [*self.rows[:epoch], row]
        with replacing(self.path) as beside:
            beside.write_text(json.dumps(self.rows), encoding="utf-8")


class ProgressLine(keras.callbacks.Callback):
    """One line that follows the training: epoch, elapsed time, validation accuracy."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_train_begin(self, logs=None):
        self.line = cli.progress(self.epochs, "epoch")

    def on_epoch_end(self, epoch, logs=None):
        if "val_accuracy" in logs:
            self.line.set_postfix_str(f"val {logs['val_accuracy']:.2%}", refresh=False)
        self.line.update(epoch + 1 - self.line.n)  # more than one where an interrupted training continues

    def on_train_end(self, logs=None):
        self.line.close()


def compile_for_logits(network, optimizer, loss=None):
    """Compile a network whose outputs are logits; loss : by default the cross-entropy of labels, (n,).

    The softmax is part of the loss, where it cannot saturate. Without XLA, which leaves out the heads' check of labels.
    """
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = 1 if tf.distribute.has_strategy() else STEPS_PER_EXECUTION  # several fail on several devices, in Keras
    network.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps, jit_compile=False)


def fit(network, training_data, validation_data, *, epochs, batch_size, seed, state_folder, verbose=False):
    """Train a compiled network, with a progress line, and continue where an earlier call was interrupted.

    training_data, validation_data : (x, y), x : (n, h, w, c) float32, y : (n,) int64.
    Returns the history: one dict of metrics and seconds an epoch.
    The state after each epoch is kept in `state_folder`: the same call continues from there, a
    call with another network or other arguments starts anew. verbose : print Keras's progress bars instead.
    """
    settings = [network.to_json(), network.optimizer.get_config(), epochs, batch_size, seed, len(training_data[0])]
    state = state_folder / hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    if not (state / "keras" / "training_metadata.json").exists():
        shutil.rmtree(state, ignore_errors=True)  # interrupted before the first epoch was kept
    try:
        state.mkdir(parents=True, exist_ok=True)
        epoch = tf.Variable(0)
        rows = EpochFile(state / "history.json", epoch)
        backup = keras.callbacks.BackupAndRestore(state / "keras", double_checkpoint=True, delete_checkpoint=False)
        network.fit(
            shuffled_batches(*training_data, batch_size, seed, epoch),
            epochs=epochs,
            validation_data=validation_data,
            validation_batch_size=1000,
            callbacks=[rows, backup] + ([] if verbose else [ProgressLine(epochs)]),
            shuffle=False,  # the batches are shuffled already
            verbose=1 if verbose else 0,
        )
    except OSError as error:
        raise InputError(cannot_write(state, error)) from None
    return rows.rows


def forget(state_folder):
    """Remove what `fit` keeps for continuing: call it when the results are written."""
    shutil.rmtree(state_folder, ignore_errors=True)


def fit_in_silence(network, x, y, *, epochs, batch_size, seed, with_labels=False):
    """Train a compiled network, keeping nothing for resuming; returns each epoch's loss.

    with_labels : the network takes images and labels, as heads with a margin do.
    """
    epoch = tf.Variable(0)
    batches = shuffled_batches(x, y, batch_size, seed, epoch)
    if with_labels:
        batches = batches.map(lambda x, y: ((x, y), y))
    count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda number, logs: epoch.assign(number))
    return network.fit(batches, epochs=epochs, callbacks=[count], shuffle=False, verbose=0).history["loss"]


def in_float32(network):
    """The same network with the same weights, computing in float32, as from now on Keras does."""
    keras.config.set_dtype_policy("float32")

    def copy(layer):
        return type(layer).from_config(layer.get_config() | {"dtype": "float32"})

    network_in_float32 = keras.models.clone_model(network, clone_function=copy)
    network_in_float32.set_weights(network.get_weights())
    return network_in_float32


def use_devices(count):
    """Build and train from now on with each batch shared among several devices.

    They are GPUs or, on a machine without any, logical CPUs, which gain nothing but show that it works. Raises
    InputError if there are fewer.
    """
    if count == 1:
        return
    gpus = tf.config.list_physical_devices("GPU")
    available = len(gpus) or max(2, os.cpu_count())
    if count > available:
        kind = "GPUs" if gpus else "logical CPUs to try it on"
        raise InputError(f"--devices {count}: this machine has {available} {kind}; give at most as many")
    if not gpus:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    names = [f"{'GPU' if gpus else 'CPU'}:{number}" for number in range(count)]
    tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))

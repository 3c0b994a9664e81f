"""Networks: the L2 constraint, training that can be interrupted, and embeddings."""

import hashlib
import json
import math
import random
import shutil
import sys
import time
import zipfile
from pathlib import Path

from hypersphere.errors import InputError
from hypersphere.heads import unit
from hypersphere.runs import cannot_write, replacing, save_arrays

import keras
import numpy as np
import tensorflow as tf

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names
BLOCKS = ["block1", "block3"]  # the layers, besides the embedding, that detectors look at
STEPS_PER_EXECUTION = 20  # between two returns to Python


@keras.saving.register_keras_serializable(package="hypersphere")
def l2_constrain(x, alpha):
    """Put each row on the sphere of radius alpha: (n, d) to (n, d), row norms alpha.

    A named, registered function, so that a `Lambda` layer around it loads with Keras's safe mode
    on. A row of zeros stays zero: its norm is bounded below, and so is the gradient there.
    Source: Ranjan, Castillo, Chellappa 2017, https://arxiv.org/abs/1703.09507
    """
    return alpha * unit(x, axis=-1)


def seeds_of(seed):
    """Seeds for a network's layers, one after the other: the same for the same seed, in any thread or process.

    A layer without one would draw its own from Python's generator, from which a cluster's worker draws as well.
    """
    generator = random.Random(seed)
    while True:
        yield generator.randint(1, 10**9)


def one_cycle(peak, steps, warmup_share=0.3):
    """Learning rate: up from peak / 25 in a line, then down to zero along a cosine, in `steps` steps."""
    warmup_steps = round(warmup_share * steps)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, decay_steps=steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


def shuffled_batches(x, y, batch_size, seed, epoch):
    """A tf.data.Dataset of one epoch, in an order drawn from (seed, epoch).

    epoch : tf.Variable, read whenever an epoch starts, so that a training which continues in
    epoch 7 sees the same batches as one that was never interrupted.
    """

    def order(_):
        rows = tf.range(len(x))
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(rows, seed=[seed, epoch]))

    x, y = tf.constant(x), tf.constant(y)
    batches = tf.data.Dataset.range(1).flat_map(order).batch(batch_size)
    batches = batches.map(lambda rows: (tf.gather(x, rows), tf.gather(y, rows))).prefetch(2)
    options = tf.data.Options()
    options.autotune.enabled = False  # autotuning threads compete with the training on small machines
    steps = math.ceil(len(x) / batch_size)
    return batches.with_options(options).apply(tf.data.experimental.assert_cardinality(steps))


class HistoryFile(keras.callbacks.Callback):
    """Keeps an epoch's metrics and seconds in a JSON file, and continues the file of a first attempt.

    It also moves the variable `epoch` on, before the epoch's batches are drawn.
    """

    def __init__(self, path, epoch):
        super().__init__()
        self.path = path
        self.epoch = epoch
        self.rows = json.loads(path.read_text()) if path.exists() else []

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch.assign(epoch)
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self.started
        row = {name: float(value) for name, value in logs.items()} | {"seconds": seconds}
        self.rows = [*self.rows[:epoch], row]
        with replacing(self.path) as beside:
            beside.write_text(json.dumps(self.rows))


def train(network, train_images, val_images, *, optimizer, epochs, batch_size, seed, resume_folder):
    """Train a network whose outputs are logits, with a keras.optimizers.Optimizer.

    train_images, val_images : (x, y), x : (n, 28, 28, 1) float32, y : (n,) int64.
    Returns the history: one dict of metrics and seconds an epoch.
    The state after each epoch is kept in `resume_folder`: the same call continues from there, a
    call with another network or other arguments starts anew.
    """
    settings = [network.to_json(), optimizer.get_config(), epochs, batch_size, seed, len(train_images[0])]
    state = resume_folder / hashlib.sha256(repr(settings).encode()).hexdigest()[:12]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = 1 if tf.distribute.has_strategy() else STEPS_PER_EXECUTION  # several fail on several devices, in Keras
    network.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps)
    if not (state / "keras" / "training_metadata.json").exists():
        shutil.rmtree(state, ignore_errors=True)  # interrupted before the first epoch was kept
    try:
        state.mkdir(parents=True, exist_ok=True)
        epoch = tf.Variable(0)
        history = HistoryFile(state / "history.json", epoch)
        backup = keras.callbacks.BackupAndRestore(state / "keras", double_checkpoint=True, delete_checkpoint=False)
        network.fit(
            shuffled_batches(*train_images, batch_size, seed, epoch),
            epochs=epochs,
            validation_data=val_images,
            validation_batch_size=1000,
            callbacks=[history, backup],
            shuffle=False,  # the batches are shuffled already
            verbose=1 if sys.stdout.isatty() else 2,  # a bar in a terminal, a line an epoch in a log
        )
    except OSError as error:
        raise InputError(cannot_write(state, error)) from None
    return history.rows


def train_unattended(network, x, y, *, epochs, batch_size, seed, arrange=lambda x, y: (x, y)):
    """Train a compiled network in silence and keep nothing for resuming; returns each epoch's loss.

    arrange : a function of a batch's images and labels, to what the network takes and what it is compared with.
    """
    epoch = tf.Variable(0)
    batches = shuffled_batches(x, y, batch_size, seed, epoch).map(arrange)
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
    InputError if there are GPUs, but fewer.
    """
    if count == 1:
        return
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and len(gpus) < count:
        raise InputError(f"--devices {count}: this machine has {len(gpus)} GPUs; give at most as many")
    if not gpus:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    names = [f"{'GPU' if gpus else 'CPU'}:{number}" for number in range(count)]
    tf.distribute.experimental_set_strategy(tf.distribute.MirroredStrategy(names))


def outputs_of(model, x, batch_size):
    """What a model with named outputs gives for images, {name: (n, d) array}."""
    batches = [model(x[start : start + batch_size], training=False) for start in range(0, len(x), batch_size)]
    return {name: np.concatenate([keras.ops.convert_to_numpy(batch[name]) for batch in batches]) for name in batches[0]}


def channel_statistics(x):
    """Mean, standard deviation and maximum of each channel: (n, height, width, c) to (n, 3 c)."""
    ops = keras.ops
    return ops.concatenate([ops.mean(x, (1, 2)), ops.std(x, (1, 2)), ops.max(x, (1, 2))], axis=1)


def feature_model(network):
    """The network with what detectors look at as its outputs, {name: (n, d) float32}.

    Channel statistics of the layers in `BLOCKS`, the "embedding" and the "logits".
    """
    blocks = {name: keras.ops.cast(network.get_layer(name).output, "float32") for name in BLOCKS}
    outputs = {name: channel_statistics(block) for name, block in blocks.items()}
    outputs |= {"embedding": network.get_layer("embedding").output, "logits": network.output}
    return keras.Model(network.input, outputs)


def extract(network, x, batch_size=1000):
    """What `feature_model` gives for images, {name: (n, d) float32}."""
    return outputs_of(feature_model(network), x, batch_size)


def embed(network, x, batch_size=1000):
    """Outputs of the layer named "embedding", (n, d) float32, and the predicted classes, (n,) int64."""
    layers = {"embedding": network.get_layer("embedding").output, "logits": network.output}
    outputs = outputs_of(keras.Model(network.input, layers), x, batch_size)
    return outputs["embedding"], outputs["logits"].argmax(axis=1)


def save_network(network, path):
    """Write a `.keras` file with the layers and weights alone, no optimizer state."""
    without_optimizer = keras.Model(network.input, network.output, name=network.name)
    with replacing(path) as beside:
        without_optimizer.save(beside)


def load_network(path, made_by):
    """Load a `.keras` file with safe mode on.

    Raises InputError if the file is missing (`made_by` names the script that makes it) or no model.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: missing; run {made_by} first")
    try:
        network = keras.saving.load_model(path, compile=False)
        for name in [*BLOCKS, "embedding"]:
            network.get_layer(name)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile):
        raise InputError(f"{path}: not a network of this project; run {made_by} again") from None
    return network


def save_embeddings(path, network, splits, seed):
    """Write embeddings, labels and predictions of {name: (x, y)} to an `.npz` file; returns its arrays."""
    arrays = {"seed": np.array(seed)}
    for name, (x, y) in splits.items():
        embedding, prediction = embed(network, x)
        arrays |= {f"embedding_{name}": embedding, f"label_{name}": y, f"prediction_{name}": prediction}
    save_arrays(path, arrays)
    return arrays

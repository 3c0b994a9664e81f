"""Training on TensorFlow: batches without Keras's pauses, a schedule, mixed precision, progress in one line."""

import hashlib
import math

import keras
import tensorflow as tf

from common import cli

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # Keras's names
STEPS_PER_EXECUTION = 20  # between two returns to Python


def one_cycle(peak, steps):
    """Learning rate: up from peak / 25 in a line, then down to zero along a cosine, in `steps` steps."""
    warmup_steps = round(0.3 * steps)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, decay_steps=steps - warmup_steps, warmup_target=peak, warmup_steps=warmup_steps
    )


def shuffled_batches(x, y, batch_size, seed, epoch):
    """A tf.data.Dataset of one epoch, in an order drawn from (seed, epoch).

    x : floats as they are, or bytes, which take a quarter of the memory and become floats in [0, 1].
    epoch : tf.Variable, read whenever an epoch starts.
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


def compile_for_logits(network, optimizer):
    """Compile a network whose outputs are logits for the cross-entropy of labels, (n,).

    The softmax is part of the loss, where it cannot saturate. Without XLA, under which a label that is out of range
    raises no error.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=STEPS_PER_EXECUTION, jit_compile=False)


def fit(network, training_data, validation_data=None, *, epochs, batch_size, seed, show=None):
    """Train a compiled network; returns a list of one dictionary of metrics an epoch.

    training_data, validation_data : (x, y), x : (n, ...) float32 or bytes, y : (n,) int64.
    show : None for silence, "line" for a progress line, "bars" for Keras's progress bars.
    """
    epoch = tf.Variable(0)
    batches = shuffled_batches(*training_data, batch_size, seed, epoch)
    options = {"epochs": epochs, "validation_data": validation_data, "validation_batch_size": 1000}
    options |= {"shuffle": False, "verbose": 1 if show == "bars" else 0}  # the batches are shuffled already
    with cli.progress(epochs, "epoch", shown=show == "line") as line:

        def count(number, logs):
            if "val_accuracy" in logs:
                line.set_postfix_str(f"val {logs['val_accuracy']:.2%}", refresh=False)
            line.update()

        start = keras.callbacks.LambdaCallback(lambda number, logs: epoch.assign(number), count)
        metrics = network.fit(batches, callbacks=[start], **options).history
    return [dict(zip(metrics, values, strict=True)) for values in zip(*metrics.values(), strict=True)]


def in_float32(network):
    """The same network with the same weights, computing in float32, as from now on Keras does."""
    keras.config.set_dtype_policy("float32")
    dtype = {"dtype": "float32"}
    copy = keras.models.clone_model(network, clone_function=lambda layer: layer.from_config(layer.get_config() | dtype))
    copy.set_weights(network.get_weights())
    return copy


def layer_table(network):
    """A row for each layer of a network, [name, kind, output shape, number of parameters]; images are counted as n."""
    return [
        [layer.name, type(layer).__name__, str(layer.output.shape).replace("None", "n"), layer.count_params()]
        for layer in network.layers
    ]


def network_key(network):
    """SHA-256 of a network's weights: saved with whatever is made with it, it tells which files belong together."""
    return hashlib.sha256(b"".join(weights.tobytes() for weights in network.get_weights())).hexdigest()

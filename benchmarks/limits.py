"""What the machine could do at most, and what a stage has to do: floating-point operations and their rates."""

import time

import keras
import numpy as np
import tensorflow as tf

SIZE = 4096  # rows and columns of the matrices
REPEATS = 10


def rate_of(call, operations):
    """Operations a second of the fastest of some calls, after one to warm up."""
    call()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return operations / min(seconds)


def product_rate(dtype):
    """Operations a second of a large matrix product."""
    x = tf.cast(tf.random.stateless_normal((SIZE, SIZE), seed=[0, 0]), dtype)
    product = tf.function(tf.matmul)
    return rate_of(lambda: tf.cast(product(x, x)[0, 0], "float32").numpy(), 2 * SIZE**3)


def convolutions_rate(network, dtype, batch_size):
    """Operations a second of the network's convolutions alone, forward and backward, through TensorFlow."""
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    rng = np.random.default_rng(0)
    images = [tf.cast(rng.normal(size=(batch_size, *layer.input.shape[1:])), dtype) for layer in layers]
    kernels = [tf.cast(layer.kernel, dtype) for layer in layers]

    @tf.function
    def step():
        gradients = []
        for number, (x, kernel) in enumerate(zip(images, kernels, strict=True)):
            sources = [kernel, x] if number else [kernel]  # nobody asks for the gradient of the images
            with tf.GradientTape() as tape:
                tape.watch(sources)
                y = tf.nn.conv2d(x, kernel, strides=1, padding="SAME")
            gradients += tape.gradient(y, sources, output_gradients=y)
        return [tf.reduce_sum(tf.cast(gradient[0], "float32")) for gradient in gradients]

    return rate_of(lambda: [value.numpy() for value in step()], batch_size * training_operations(layers))


def forward_operations(layers):
    """Multiplications and additions of each layer for one image, its biases and activations not counted."""
    return [2 * np.prod(layer.output.shape[1:-1], initial=1) * np.prod(layer.kernel.shape) for layer in layers]


def training_operations(layers):
    """Operations of a training step for one image: forward, kernels' gradient and, but for the first, inputs'."""
    first, *others = forward_operations(layers)
    return float(2 * first + 3 * sum(others))

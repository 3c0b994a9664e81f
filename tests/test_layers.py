"""The unit norm, the L2 constraint and the warp against NumPy and geometry."""

import numpy as np
import pytest
import tensorflow as tf

from experiments import building
from hypersphere import layers


def test_unit_divides_by_the_norm_along_an_axis_and_l2_constrain_puts_rows_on_a_sphere():
    x = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    for axis in [0, -1, None]:
        norms = np.sqrt((x.astype(float) ** 2).sum(axis=axis, keepdims=True))
        np.testing.assert_allclose(layers.unit(x, axis), x / norms, rtol=1e-5)
    expected = 16 * x / np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(layers.l2_constrain(x, 16.0), expected, rtol=1e-5)


def test_the_gradient_of_l2_constrain_is_bounded_at_a_zero_row_which_stays_zero():
    # d/dx of u . (alpha x / |x|) is alpha / |x| times what of u is perpendicular to x.
    variable, u, alpha = tf.Variable([[3.0, 4.0], [0.0, 0.0]]), np.float32([1.0, 0.0]), 10.0
    with tf.GradientTape() as tape:
        result = layers.l2_constrain(variable, alpha)
        value = tf.reduce_sum(u * result)
    direction = np.array([0.6, 0.8])
    expected = [alpha / 5 * (u - (u @ direction) * direction), alpha * u / np.sqrt(layers.SMALLEST_SQUARED_NORM)]
    np.testing.assert_allclose(tape.gradient(value, variable), expected, rtol=1e-5)
    assert not result[1].numpy().any()


@pytest.mark.parametrize(
    ("largest", "farthest"),
    [
        ({"rotation": 0, "zoom": 0, "shift": 3}, [3, 3]),
        ({"rotation": 20, "zoom": 0, "shift": 0}, [6.5 * np.sin(np.radians(20)), 6.5 * (1 - np.cos(np.radians(20)))]),
        ({"rotation": 0, "zoom": 0.2, "shift": 0}, [0, 6.5 * 0.2 / 0.8]),
        ({"rotation": 0, "zoom": 0, "shift": 0}, [0, 0]),
    ],
)
def test_warp_moves_as_far_as_it_says(largest, farthest):
    x = np.zeros((500, 28, 28, 1), np.float32)
    x[:, 13:15, 19:22] = 1  # its centre is 6.5 pixels to the right of the middle
    warped = building.RandomWarp(**largest, seed=0)(x, training=True).numpy()
    places = np.indices((28, 28)).reshape(2, -1)
    centers = [np.average(places, axis=1, weights=image.ravel()) for image in warped]  # row and column
    moved = np.abs(np.array(centers) - [13.5, 20])
    np.testing.assert_allclose(moved.max(axis=0), farthest, atol=0.15)  # pixels; the largest of 500 draws


def test_a_warp_leaves_a_share_unchanged():
    x = np.random.default_rng(0).random((1000, 28, 28, 1), dtype=np.float32)
    warped = building.RandomWarp(unchanged=0.3, seed=0)(x, training=True).numpy()
    stayed = [np.allclose(image, before, atol=1e-4) for image, before in zip(warped, x, strict=True)]
    assert np.mean(stayed) == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 1000))


def test_a_warp_is_for_training_alone_and_decided_by_its_seed():
    x = np.random.default_rng(0).random((8, 28, 28, 1), dtype=np.float32)
    warp = building.RandomWarp(rotation=5, zoom=0.2, shift=1, unchanged=0.5, seed=3)
    again = building.RandomWarp.from_config(warp.get_config())
    np.testing.assert_array_equal(warp(x), x)
    first = warp(x, training=True)
    np.testing.assert_array_equal(again(x, training=True), first)
    assert not np.array_equal(warp(x, training=True), first), "draws anew"

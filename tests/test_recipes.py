"""Recipes: the network of each, its augmentation, and what flags change."""

import argparse

from hypersphere import networks, recipes

import keras
import numpy as np
import pytest


def test_the_article_recipe_is_the_training_script(smoke_run):
    trained = networks.load_network(smoke_run / "models" / "l2softmax.keras", "train_l2softmax.py")
    alpha = trained.get_layer("embedding").arguments["alpha"]
    recipe = recipes.replace(recipes.RECIPES["article"], alpha=alpha)
    training_network, network = recipes.build(recipe)
    assert training_network is network
    network.set_weights(trained.get_weights())
    x = np.random.default_rng(0).random((5, 28, 28, 1), dtype=np.float32)
    np.testing.assert_allclose(network(x), trained(x), rtol=1e-5)
    for name, expected in networks.extract(trained, x).items():
        np.testing.assert_allclose(networks.extract(network, x)[name], expected, rtol=1e-5, atol=1e-6)
    penalties = [len(n.losses) for n in [network, trained]]
    assert penalties[0] == penalties[1] == 5
    assert float(sum(network.losses)) > 0
    optimizer = recipes.optimizer(recipe, n_images=1280)
    assert isinstance(optimizer, keras.optimizers.SGD) and optimizer.nesterov


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_network_is_small_and_lies_on_the_sphere(name):
    recipe = recipes.RECIPES[name]
    _, network = recipes.build(recipe, classes=5)
    x = np.random.default_rng(0).random((4, 28, 28, 1), dtype=np.float32)
    features = networks.extract(network, x)
    np.testing.assert_allclose(np.linalg.norm(features["embedding"], axis=1), recipe.alpha, rtol=1e-5)
    assert {name: of_layer.shape for name, of_layer in features.items()} == {
        "block1": (4, 3 * recipe.width),
        "block3": (4, 3 * 4 * recipe.width),
        "embedding": (4, 64),
        "logits": (4, 5),
    }
    assert network.count_params() <= 200_000
    assert sum(isinstance(layer, keras.layers.Conv2D) for layer in network.layers) == 3


def test_augmentation_is_part_of_the_training_alone():
    training_network, network = recipes.build(recipes.BEST)
    x = np.random.default_rng(0).random((8, 28, 28, 1), dtype=np.float32)
    np.testing.assert_array_equal(network(x, training=False), training_network(x, training=False))
    np.testing.assert_array_equal(network(x, training=False), network(x))


def centers(images):
    """The centre of mass of each image, (n, 2): row, column."""
    places = np.indices((28, 28)).reshape(2, -1)
    return np.array([np.average(places, axis=1, weights=image.ravel()) for image in images])


@pytest.mark.parametrize(
    ("arguments", "farthest"),
    [
        ({"rotation": 0, "zoom": 0, "shift": 3}, [3, 3]),
        ({"rotation": 20, "zoom": 0, "shift": 0}, [6.5 * np.sin(np.radians(20)), 6.5 * (1 - np.cos(np.radians(20)))]),
        ({"rotation": 0, "zoom": 0.2, "shift": 0}, [0, 6.5 * 0.2 / 0.8]),
    ],
)
def test_warp_moves_as_far_as_it_says(arguments, farthest):
    x = np.zeros((500, 28, 28, 1), np.float32)
    x[:, 13:15, 19:22] = 1  # its centre is 6.5 pixels to the right of the middle
    warp = recipes.RandomWarp(**arguments)
    np.testing.assert_array_equal(warp(x), x)
    moved = np.abs(centers(warp(x, training=True).numpy()) - [13.5, 20]).max(axis=0)
    np.testing.assert_allclose(moved, farthest, atol=0.15)
    again = recipes.RandomWarp.from_config(warp.get_config())
    assert (again.rotation, again.zoom, again.shift) == tuple(arguments.values())


def test_a_warp_leaves_a_share_unchanged():
    x = np.random.default_rng(0).random((1000, 28, 28, 1), dtype=np.float32)
    warped = recipes.RandomWarp(unchanged=0.3)(x, training=True).numpy()
    stayed = [np.allclose(image, before, atol=1e-6) for image, before in zip(warped, x, strict=True)]
    assert np.mean(stayed) == pytest.approx(0.3, abs=0.05)


def test_a_warp_of_nothing_changes_nothing():
    x = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    np.testing.assert_allclose(recipes.RandomWarp(0, 0, 0)(x, training=True), x, atol=1e-6)


def test_flags_change_the_recipe_and_silent_ones_show_it():
    args = argparse.Namespace(
        recipe="best", epochs=3, batch_size=None, learning_rate=None, weight_decay=0.0, alpha=None, seed=1
    )
    recipe = recipes.choose(args)
    assert recipe == recipes.replace(recipes.BEST, epochs=3, weight_decay=0.0)
    assert (args.epochs, args.alpha, args.batch_size) == (3, recipes.BEST.alpha, recipes.BEST.batch_size)

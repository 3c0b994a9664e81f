"""Building and training a network of three convolutions from a recipe, with any head."""

import functools
import math
import random

import keras
from keras import ops

from common import training
from hypersphere import heads, layers
from hypersphere.model import MetricModel

RECIPE = {  # how a network of three convolutions is built and trained; a record keeps all of it
    "epochs": 10,
    "width": 16,  # channels of the first convolution; the next two have twice and four times as many
    "batch_size": 128,
    "optimizer": "adamw",  # or "sgd", with Nesterov momentum 0.9
    "learning_rate": 1e-2,  # the highest of a one-cycle schedule
    "weight_decay": 0.05,  # AdamW's; SGD has a penalty of this much on all kernels instead
    "batch_norm": True,
    "augment": True,  # turned, zoomed and shifted anew in each epoch
    "unchanged": 0.3,  # the share of the images that are not, in each epoch
    "alpha": 16.0,  # radius of the sphere; None leaves the embedding as it is
}
ARTICLE = RECIPE | {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 1e-3}  # article 1's
ARTICLE |= {"batch_norm": False, "augment": False, "unchanged": 0.0}
HEADS = {  # {name: (layer, its arguments, title)}; CosFace gets those of article 2's ArcFace
    "softmax": (keras.layers.Dense, {}, "softmax"),
    "l2softmax": (heads.L2Softmax, {"alpha": 16.0}, "L2-softmax"),
    "cosface": (heads.CosFace, {"scale": 30.0, "margin": 0.05}, "CosFace"),
    "arcface": (heads.ArcFace, {"scale": 30.0, "margin": 0.05}, "ArcFace"),
    "adacos": (heads.AdaCos, {}, "AdaCos, fixed"),
    "adacos-dynamic": (heads.AdaCos, {"dynamic": True}, "AdaCos, dynamic"),
    "subcluster": (heads.SubClusterAdaCos, {"num_centers": 16}, "sub-cluster AdaCos"),
}


def layer_seeds(seed):
    """Seeds for a network's layers, one after the other: the same for the same seed, in any thread or process.

    A layer without one would draw its own from Python's generator, from which a cluster's worker draws as well.
    """
    generator = random.Random(seed)
    while True:
        yield generator.randint(1, 10**9)


def convolutional_embedding(image, seeds, *, filters, units, batch_norm=False, penalty=None, name="embedding"):
    """Three convolutions and a linear layer: images, (n, h, w, c), to (n, units) float32.

    Each convolution, 3x3, is followed by 2x2 max-pooling, batch normalisation if `batch_norm`, and a ReLU, whose
    output is the layer "block1" to "block3".

    seeds : as `layer_seeds` gives them. filters : of the three convolutions. penalty : a regularizer of the kernels.
    name : of the last layer.
    """
    initializer = keras.initializers.HeNormal if batch_norm else keras.initializers.GlorotUniform
    options = {"use_bias": not batch_norm, "kernel_regularizer": penalty}
    normalise = functools.partial(keras.layers.BatchNormalization, momentum=0.9)  # 0.99 is too slow for few epochs
    x = image
    for number, count in enumerate(filters, 1):
        x = keras.layers.Conv2D(count, 3, padding="same", kernel_initializer=initializer(next(seeds)), **options)(x)
        x = keras.layers.MaxPooling2D(2)(x)  # before what follows, which then costs a quarter
        if batch_norm:
            x = normalise()(x)
        x = keras.layers.ReLU(name=f"block{number}")(x)
    x = keras.layers.Flatten()(x)
    options |= {"kernel_initializer": keras.initializers.GlorotUniform(next(seeds))}
    x = keras.layers.Dense(units, name=None if batch_norm else name, **options)(x)
    return normalise(name=name)(x) if batch_norm else x


class RandomWarp(keras.layers.Layer):
    """Turns, zooms and shifts each image anew, in training alone: square images, (n, h, h, c), to the same.

    One warp with one interpolation: Keras's three layers for it would blur an image three times.

    rotation : degrees; zoom : share, drawn for height and width apart; shift : pixels. Each is the largest, both ways.
    unchanged : the share of the images that stay as they are. seed : of what is drawn.
    """

    def __init__(self, rotation=10.0, zoom=0.1, shift=2.0, unchanged=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.rotation, self.zoom, self.shift, self.unchanged = rotation, zoom, shift, unchanged
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        n = ops.shape(images)[0]
        is_changed = ops.cast(keras.random.uniform((n,), seed=self.seed_generator) >= self.unchanged, images.dtype)

        def draw(largest):
            return is_changed * keras.random.uniform((n,), -largest, largest, seed=self.seed_generator)

        angle = draw(math.radians(self.rotation))
        zoom_x, zoom_y = 1 + draw(self.zoom), 1 + draw(self.zoom)
        # Where a pixel (x, y) comes from: (a x + b y + c, d x + e y + f), turned and zoomed about the middle.
        a, b = ops.cos(angle) * zoom_x, -ops.sin(angle) * zoom_y
        d, e = ops.sin(angle) * zoom_x, ops.cos(angle) * zoom_y
        middle = (images.shape[1] - 1) / 2
        c, f = middle - (a + b) * middle + draw(self.shift), middle - (d + e) * middle + draw(self.shift)
        transforms = ops.stack([a, b, c, d, e, f, ops.zeros(n), ops.zeros(n)], axis=1)
        return ops.image.affine_transform(images, transforms, interpolation="bilinear", fill_mode="constant")


def build(recipe, image_shape, n_classes, seed, head=None):
    """The encoder to train, images to embeddings, its head, and the network to use, images to logits, of their layers.

    The encoder changes its images first, if the recipe augments: were that a part of the network to use, it would
    happen wherever `training=False` is forgotten.

    head : a function of the number of classes and a kernel_initializer that gives a head; by default a Dense layer, on
    the sphere of radius alpha if the recipe has one.
    """
    penalty = keras.regularizers.L2(recipe["weight_decay"]) if recipe["optimizer"] == "sgd" else None
    seeds = layer_seeds(seed)
    on_sphere = recipe["alpha"] is not None and head is None
    image = keras.Input(image_shape, name="image")
    options = {"filters": [recipe["width"] * factor for factor in [1, 2, 4]], "units": 64, "penalty": penalty}
    options |= {"batch_norm": recipe["batch_norm"], "name": "features" if on_sphere else "embedding"}
    embedding = convolutional_embedding(image, seeds, **options)
    if on_sphere:
        arguments = {"alpha": recipe["alpha"]}
        embedding = keras.layers.Lambda(layers.l2_constrain, arguments=arguments, name="embedding")(embedding)
    if head is None:
        head = functools.partial(keras.layers.Dense, kernel_regularizer=penalty, name="logits")
    last = head(n_classes, kernel_initializer=keras.initializers.GlorotUniform(next(seeds)))
    encoder, network = keras.Model(image, embedding), keras.Model(image, last(embedding))
    seen = keras.Input(image_shape, name="image")
    changed = RandomWarp(unchanged=recipe["unchanged"], seed=next(seeds))(seen) if recipe["augment"] else seen
    return keras.Model(seen, encoder(changed)), last, network


def fit(encoder, head, recipe, rate, x, y, seed):
    """Train an encoder, to embeddings, with a head, which may be a plain Dense layer; returns each epoch's loss.

    recipe : its "epochs", "batch_size", "weight_decay" and "optimizer"; "adam" alone, article 2's, keeps the rate.
    """
    model = MetricModel(encoder, head) if isinstance(head, heads.Head) else keras.Sequential([encoder, head])
    cycle = training.one_cycle(rate, recipe["epochs"] * math.ceil(len(x) / recipe["batch_size"]))
    kind, options = {
        "adam": (keras.optimizers.Adam, {"learning_rate": rate, "amsgrad": True}),
        "adamw": (keras.optimizers.AdamW, {"learning_rate": cycle, "weight_decay": recipe["weight_decay"]}),
        "sgd": (keras.optimizers.SGD, {"learning_rate": cycle, "momentum": 0.9, "nesterov": True}),
    }[recipe["optimizer"]]
    training.compile_for_logits(model, kind(**options))
    rows = training.fit(model, (x, y), epochs=recipe["epochs"], batch_size=recipe["batch_size"], seed=seed)
    return [row["loss"] for row in rows]


def train(recipe, x, y, seed, head=None):
    """A network trained on images, (n, h, w, c), and labels, (n,) from 0; it and each epoch's loss."""
    encoder, last, network = build(recipe, x.shape[1:], int(y.max()) + 1, seed, head)
    return network, fit(encoder, last, recipe, recipe["learning_rate"], x, y, seed)

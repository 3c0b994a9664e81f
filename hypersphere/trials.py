"""Trials of the anomaly benchmark: one head on one draw of a pair; trained, scored and recorded."""

import argparse
import math
import re
import time
from dataclasses import asdict, dataclass, replace

from hypersphere import backbones, data, heads, neighbors, networks, novelty, pairs, runs, sweeps

import keras

# The article's arguments; CosFace, which it does not have, gets ArcFace's.
HEADS = {
    "softmax": (heads.Softmax, {}),
    "l2softmax": (heads.L2Softmax, {"alpha": 5.0}),
    "cosface": (heads.CosFace, {"scale": 30.0, "margin": 0.05}),
    "arcface": (heads.ArcFace, {"scale": 30.0, "margin": 0.05}),
    "adacos": (heads.AdaCos, {}),
    "adacos-dynamic": (heads.AdaCos, {"dynamic": True}),
}


@dataclass(frozen=True)
class Trial(sweeps.Trial):
    """One head on one draw of a pair."""

    dataset: str
    normal: int
    anomaly: int
    head: str
    seed: int
    backbone: str
    weights: str
    epochs: int
    precision: str  # "float32", or "bfloat16" for Keras's mixed_bfloat16: embedding and head stay in float32
    legacy: bool
    smoke: bool

    @property
    def folder(self):
        """Where the records of all heads and seeds are: anomaly/PAIR/BACKBONE."""
        names = [data.CLASS_NAMES[self.dataset][number] for number in [self.normal, self.anomaly]]
        pair = "-".join(re.sub(r"\W+", "_", name.lower()) for name in [self.dataset, *names])
        return f"anomaly/{pair}/{self.backbone}{'-legacy' if self.legacy else ''}"

    @property
    def name(self):
        """The record's name, with its folders: anomaly/PAIR/BACKBONE/HEAD-seedN."""
        return f"{self.folder}/{self.head}-seed{self.seed}"

    @property
    def recipe(self):
        """How it is trained."""
        return replace(backbones.recipe(self.backbone, self.dataset), epochs=self.epochs)

    @property
    def flags(self):
        """What its record says decided it, the head's arguments and the recipe too."""
        return super().flags | {"head_arguments": HEADS[self.head][1], "recipe": asdict(self.recipe)}


def build(trial, image_shape):
    """The network to train, (image, label) to logits, and the network to use, image to logits.

    They share their layers but for the augmentation, which the network to use does not have: called
    without `training=False`, Keras's random layers would change the images that it is given.
    """
    image, label = keras.Input(image_shape, name="image"), keras.Input((), dtype="int64", name="label")
    seeds = networks.seeds_of(trial.seed)
    augmented = backbones.augment(image, trial.recipe, seeds)
    plain = keras.Input(image_shape, name="image")
    embedding = backbones.build(trial.backbone, plain, trial.weights, trial.recipe.width, seeds)
    kind, arguments = HEADS[trial.head]
    head = kind(pairs.N_CLASSES, legacy=trial.legacy, seed=next(seeds), name="head", **arguments)
    encoder = keras.Model(plain, embedding)
    return keras.Model([image, label], head(encoder(augmented), label)), keras.Model(plain, head(embedding))


def train(network, x, y, trial):
    """Train a network of image and label by its backbone's recipe; returns each epoch's loss."""
    batch_size = trial.recipe.batch_size
    network.compile(
        optimizer=backbones.optimizer(trial.recipe, steps=trial.epochs * math.ceil(len(x) / batch_size)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # XLA, Keras's choice on a GPU, leaves out the heads' check of labels
    )
    settings = {"epochs": trial.epochs, "batch_size": batch_size, "seed": trial.seed}
    return networks.train_unattended(network, x, y, **settings, arrange=lambda x, y: ((x, y), y))


def directions(network, x, mirrored):
    """Directions of the embeddings, (n, d); if `mirrored`, the mean direction of an image and its mirror image.

    For networks that were trained with mirror images too.
    """
    direction = novelty.directions(networks.embed(network, x)[0])
    if not mirrored:
        return direction
    return novelty.directions(direction + novelty.directions(networks.embed(network, x[:, :, ::-1])[0]))


def auroc_by_scorer(train, normal, anomaly):
    """AUROC with each scorer, {name: value}; all of them see the same directions.

    train : (n, d), of the normal class's training images; normal, anomaly : (m, d), of new images.
    """
    scorers = {"cosine": lambda x: novelty.cosine_score(train, x)}
    for n_neighbors in [5, 20]:
        scorers[f"lof{n_neighbors}"] = neighbors.LOF(n_neighbors).fit(train).strangeness
    return {name: novelty.auroc(scorer(normal), scorer(anomaly)) for name, scorer in scorers.items()}


def run(trial, folder, out):
    """Run a trial and write its record, `results/NAME.json` under `out`; returns the trial and its metrics.

    folder : where data sets are looked for. The network of seed 0 is kept, in `models/NAME.keras`.
    """
    started = time.perf_counter()
    drawn = pairs.draw(
        pairs.Pair(trial.dataset, trial.normal, trial.anomaly), trial.seed, trial.legacy, trial.smoke, folder
    )
    keras.utils.set_random_seed(trial.seed)  # of MobileNetV2 without weights: the other layers have seeds of their own
    keras.config.set_dtype_policy(networks.POLICIES[trial.precision])
    training_network, network = build(trial, drawn.x_train.shape[1:])
    loss = train(training_network, drawn.x_train, drawn.y_train, trial)
    images = [drawn.x_train[drawn.is_normal], drawn.x_normal, drawn.x_anomaly]
    known, normal, anomaly = (directions(network, x, trial.recipe.mirror) for x in images)
    _, prediction = networks.embed(network, drawn.x_val)
    metrics = {
        "auroc": auroc_by_scorer(known, normal, anomaly),
        "val_accuracy": float((prediction == drawn.y_val).mean()),
    }
    if isinstance(network.get_layer("head"), heads.AdaCos):
        metrics["scale"] = float(network.get_layer("head").scale)
    for name in ["models", "results"]:
        runs.make_writable(out / name / trial.folder)
    if trial.seed == 0:
        networks.save_network(network, out / "models" / f"{trial.name}.keras")
    keras.backend.clear_session()
    cifar10 = {"cifar10_sha256": data.cifar10_sha256(folder)} if trial.dataset == "cifar10" else {}
    runs.write_record(argparse.Namespace(out=out, **trial.flags), trial.name, metrics, started, loss=loss, **cifar10)
    return trial, metrics

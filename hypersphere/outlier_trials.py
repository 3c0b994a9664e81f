"""Trials of the scoreboard: a network trained on digits by a recipe, and detectors on what it sees."""

import argparse
import contextlib
import json
import time
from dataclasses import asdict, dataclass, replace

from hypersphere import data, networks, outlier_sets, recipes, runs, scoreboard, sweeps
from hypersphere.detectors import LAYERS, LayeredLOF, conformal_p_values, layered_lof
from hypersphere.errors import InputError
from hypersphere.outlier_tables import ARTICLE, INPUT_SPACE, LEVELS, NEAR, OURS

import keras
import numpy as np
from scipy.special import softmax
from sklearn.metrics import log_loss

HALVINGS = 100
GALLERY = 12  # images a set


@dataclass(frozen=True)
class Trial(sweeps.Trial):
    """One recipe with one seed; the network learns the digits below `classes`."""

    recipe_name: str
    classes: int  # 10, or 5 to meet the digits 5-9 as outliers
    seed: int
    epochs: int
    precision: str
    smoke: bool

    @property
    def name(self):
        """The record's name, with its folders: outliers/RECIPE/CLASSES-digits-seedN."""
        return f"outliers/{self.recipe_name.replace(' ', '_')}/{self.classes}-digits-seed{self.seed}"

    @property
    def recipe(self):
        """How it is trained."""
        return replace(recipes.RECIPES[self.recipe_name], epochs=self.epochs)

    @property
    def flags(self):
        """What its record says decided it, the recipe too."""
        return super().flags | {"recipe": asdict(self.recipe)}

    def judges(self, detector):
        """Whether a detector of the scoreboard is judged: the input space, which knows no seed, with seed 0 alone."""
        return self.recipe_name == "best" and (detector != INPUT_SPACE or self.seed == 0)

    @property
    def is_shown(self):
        """Whether the outliers that get through are kept for a figure."""
        return self.recipe_name == "best" and self.seed == 0


def train(trial, x, y):
    """Train a network in the trial's precision; returns it in float32, and each epoch's loss."""
    recipe = trial.recipe
    keras.config.set_dtype_policy(networks.POLICIES[trial.precision])
    training_network, trained = recipes.build(recipe, trial.classes, trial.seed)
    training_network.compile(recipes.optimizer(recipe, len(x)), recipes.loss(recipe))
    settings = {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "seed": trial.seed}
    losses = networks.train_unattended(training_network, x, y, **settings)
    return networks.in_float32(trained), losses


def trained_network(trial, x, y, out):
    """The trial's network and its training, {"flags", "loss", "seconds"}; both are kept, and read if they are there.

    So a trial whose record is gone is judged anew without training: `models/NAME.keras` and `.json` under `out`.
    """
    path = out / "models" / f"{trial.name}.keras"
    kept = path.with_suffix(".json")
    if kept.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError, InputError):  # damaged or gone
            training = json.loads(kept.read_text())
            if training["flags"] == trial.flags:
                return networks.load_network(path, "benchmark_ood.py"), training
    started = time.perf_counter()
    network, loss = train(trial, x, y)
    networks.save_network(network, path)
    training = {"flags": trial.flags, "loss": loss, "seconds": time.perf_counter() - started}
    with runs.replacing(kept) as beside:
        beside.write_text(json.dumps(training))
    return network, training


def calibration(known_scores, test_scores):
    """What becomes of the promise on test images, as a dictionary for JSON; scores : (n,), higher for what is stranger.

    turned_away : the share of the test images at each of `LEVELS`; at_1_percent : the same at 0.01.
    halves : as a check, that share where a random half of the test images calibrates and the other half is
    judged, once for each of `HALVINGS` halvings.
    """
    p_values = conformal_p_values(known_scores, test_scores)
    rng, halves = np.random.default_rng(0), []
    for _ in range(HALVINGS):
        calibrating, judged = np.array_split(rng.permutation(test_scores), 2)
        halves.append(float(np.mean(conformal_p_values(calibrating, judged) <= 0.01)))
    turned_away = [float(np.mean(p_values <= level)) for level in LEVELS]
    return {"turned_away": turned_away, "at_1_percent": float(np.mean(p_values <= 0.01)), "halves": halves}


# Parts of our detector, from log p-values to evidence, (n, 4) to (n,): the three layers', and LOF's on the sphere.
PARTS = {
    "first block alone": lambda log_p: log_p[:, 0],
    "third block alone": lambda log_p: log_p[:, 1],
    "sphere alone, distance": lambda log_p: log_p[:, 2],
    "sphere alone, LOF": lambda log_p: log_p[:, 3],
    "without the first block": lambda log_p: log_p[:, 1] + log_p[:, 2],
    "without the third block": lambda log_p: truncated(log_p) + log_p[:, 2],
    "without the sphere": lambda log_p: truncated(log_p) + log_p[:, 1],
    "LOF instead of the distance": lambda log_p: truncated(log_p) + log_p[:, 1] + log_p[:, 3],
    "first block not truncated": lambda log_p: log_p[:, :3].sum(axis=1),
    "smallest of the three": lambda log_p: log_p[:, :3].min(axis=1),
}


def truncated(log_p):
    """The first block's evidence as our detector counts it."""
    return np.minimum(log_p[:, 0] - np.log(LAYERS["block1"][1]), 0)


def ablation(known, normal, outliers, normal_log_p, log_p):
    """`scoreboard.separation` of the parts of our detector.

    normal : features, outliers : {set name: features}; normal_log_p and log_p : what its layers say of them.
    """
    sphere = LayeredLOF().fit(known.train["embedding"], X_calibration=known.calibration["embedding"])
    normal_log_p = np.hstack([normal_log_p, sphere.layer_log_p_values(normal["embedding"])])
    log_p = {
        name: np.hstack([log_p[name], sphere.layer_log_p_values(features["embedding"])])
        for name, features in outliers.items()
    }
    return {
        title: scoreboard.separation(-part(normal_log_p), {name: -part(of_set) for name, of_set in log_p.items()})
        for title, part in PARTS.items()
    }


def accepted(outliers, p_values, digits, level):
    """The outliers that pass for digits most easily, at most `GALLERY` of each set, the most digit-like first.

    outliers, p_values, digits : {set name: images, p-values, predicted digits}.
    Returns {"sets": (m,) names with the share that passes, "set": (n,) the number of each image's set,
    "caption": (n,) digits, "image": (n, 28, 28, 1)}.
    """
    sets, numbers, captions, images = [], [], [], []
    for number, (name, p) in enumerate(p_values.items()):
        closest = np.argsort(-p)[: min(np.sum(p > level), GALLERY)]
        sets.append(f"{name}: {np.mean(p > level):.2%} pass")
        numbers += [number] * len(closest)
        captions += [f"as {digit}" for digit in digits[name][closest]]
        images += list(outliers[name][closest])
    return {"sets": np.array(sets), "set": np.array(numbers), "caption": np.array(captions), "image": np.array(images)}


def run(trial, folder, out):
    """Run a trial and write its record, `results/NAME.json` under `out`; returns the trial and its metrics.

    folder : where data sets are looked for. The network is kept as `trained_network` says, and of the best recipe's
    seed 0 the outliers that get through, in `models/NAME-accepted.npz`.
    """
    splits, missing = data.load_mnist(folder, trial.smoke), ""
    learned = [(x[y < trial.classes], y[y < trial.classes]) for x, y in splits]
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = learned
    if trial.classes == 10:
        outliers, missing = outlier_sets.load_scoreboard(folder, smoke=trial.smoke)
    else:
        x, y = splits[2]
        outliers = {NEAR: x[y >= trial.classes]}

    for name in ["models", "results"]:
        runs.make_writable((out / name / trial.name).parent)
    network, training = trained_network(trial, x_train, y_train, out)
    started = time.perf_counter() - training["seconds"]  # a training counts, whichever run it was in
    known = scoreboard.Known(
        train=scoreboard.features(network, x_train),
        labels=y_train,
        calibration=scoreboard.features(network, x_val),
    )
    test = scoreboard.features(network, x_test)
    features = {name: scoreboard.features(network, x) for name, x in outliers.items()}
    detector = layered_lof(known.train)
    ours, test_log_p, log_p = scoreboard.judge_layers(detector, known, test, features)
    detectors = {name: fit for name, fit in scoreboard.DETECTORS.items() if name == ARTICLE or trial.judges(name)}
    judged = {name: scoreboard.judge(fit, known, test, features) for name, fit in detectors.items()}
    metrics = {
        "accuracy": {
            name: float((of_split["logits"].argmax(axis=1) == label).mean())
            for name, of_split, label in [("val", known.calibration, y_val), ("test", test, y_test)]
        },
        "validation_loss": float(log_loss(y_val, softmax(known.calibration["logits"].astype(float), axis=1))),
        "parameters": network.count_params(),
        "detectors": {OURS: ours} | judged,
        "parts": ablation(known, test, features, test_log_p, log_p) if trial.recipe_name == "best" else {},
        "calibration": calibration(-detector.calibration_scores_, -detector.evidence(test_log_p)),
    }
    if trial.is_shown:
        p_values = {
            name: conformal_p_values(-detector.calibration_scores_, -detector.evidence(of_set))
            for name, of_set in log_p.items()
        }
        digits = {name: of_set["logits"].argmax(axis=1) for name, of_set in features.items()}
        passing = accepted(outliers, p_values, digits, detector.level)
        runs.save_arrays(out / "models" / f"{trial.name}-accepted.npz", passing)
    keras.backend.clear_session()
    more = {"loss": training["loss"], "missing": missing, "cifar10_sha256": data.cifar10_sha256(folder)}
    runs.write_record(argparse.Namespace(out=out, **trial.flags), trial.name, metrics, started, **more)
    return trial, metrics

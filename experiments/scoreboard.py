"""The scoreboard: how well do detectors reject out-of-distribution images, without having seen one?

    python -m experiments.scoreboard                  # the best recipe, five seeds
    python -m experiments.scoreboard --recipes all    # every recipe, for their comparison, hours
    python -m experiments.scoreboard --data FOLDER    # the folder that holds cifar-10-batches-bin/
    python -m experiments.scoreboard --smoke          # a try on small slices, a minute

Each seed trains two networks: one on all digits, which meets clothes, photographs, letters, noise and turned digits,
and one on the digits 0-4, which meets the digits 5-9.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/scoreboard.jsonl                             a line a network, as it ends
        runs/models/scoreboard/RECIPE/CLASSES-digits-seedN.keras  the networks: a trial whose line is gone reads its own
        runs/figures/scoreboard_accepted.png                      the OOD images that our detector accepts
Repeating the command continues with what is missing.
"""

import contextlib
import json
import math
import time
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np
from scipy.special import softmax
from sklearn.metrics import log_loss

from common import cli, plots, records, training
from experiments import building, made_outliers, sweep
from experiments.baselines import ARTICLE, DETECTORS, INPUT_SPACE, Known, features_of
from hypersphere import datasets, features, files, layers, networks, scores
from hypersphere.detectors import LayeredDetector, layers_of, side_by_side
from hypersphere.errors import InputError

OURS = "layered LOF (ours)"
LEVELS = np.concatenate([np.arange(1, 100) / 1000, np.arange(10, 101) / 100]).round(3)  # of the reliability figure
HALVINGS = 100
GALLERY = 12  # images a set


# %% The recipes


@dataclass(frozen=True)
class Recipe:
    """How the L2-constrained network is built and trained; a record keeps all of it."""

    epochs: int = 30
    batch_size: int = 128
    optimizer: str = "adamw"  # or "sgd", with Nesterov momentum 0.9
    learning_rate: float = 1e-2  # the highest
    weight_decay: float = 0.05  # AdamW's; SGD has a penalty of this much on all kernels instead
    batch_norm: bool = True
    augment: bool = True  # turned, zoomed and shifted anew in each epoch
    unchanged: float = 0.3  # the share of the images that are not, in each epoch
    alpha: float | None = 16.0  # radius of the sphere; None leaves the embedding as it is
    width: int = 32  # channels of the first convolution; the next two have twice and four times as many
    label_smoothing: float = 0.0  # the share of each label that is spread over all classes
    one_cycle: bool = True  # else the learning rate stays as it is


BEST = Recipe()
ALL_CHANGED = replace(BEST, unchanged=0.0)
SHORTER = replace(ALL_CHANGED, epochs=15)
RECIPES = {
    "best": BEST,
    "article": Recipe(
        10, 128, "sgd", learning_rate=0.05, weight_decay=1e-3, batch_norm=False, augment=False, unchanged=0.0
    ),
    "all images changed": ALL_CHANGED,
    "half the epochs": SHORTER,
    # Each differs from the one above in one choice, and in the learning rate where its own would not do.
    "no augmentation": replace(SHORTER, augment=False),
    "no batch norm": replace(SHORTER, batch_norm=False, learning_rate=2e-3),
    "label smoothing": replace(SHORTER, label_smoothing=0.1),
    "half the width": replace(SHORTER, width=16),
    "constant rate": replace(SHORTER, one_cycle=False, learning_rate=1e-3),
    "half the radius": replace(SHORTER, alpha=8.0),
}


def build(recipe, classes=10, seed=None):
    """The network to train and the network to use: images, (n, 28, 28, 1), to logits; both share their layers.

    The network to train changes its images first, if the recipe augments: were that a part of the network to use, it
    would happen wherever `training=False` is forgotten.
    """
    penalty = keras.regularizers.L2(recipe.weight_decay) if recipe.optimizer == "sgd" else None
    seeds = building.layer_seeds(seed)
    image = keras.Input((28, 28, 1), name="image")
    filters = [recipe.width, 2 * recipe.width, 4 * recipe.width]
    options = {"filters": filters, "units": 64, "batch_norm": recipe.batch_norm, "penalty": penalty}
    embedding = building.convolutional_embedding(
        image, seeds, **options, name="features" if recipe.alpha else "embedding"
    )
    if recipe.alpha:
        on_sphere = {"arguments": {"alpha": recipe.alpha}, "dtype": "float32", "name": "embedding"}
        embedding = keras.layers.Lambda(layers.l2_constrain, **on_sphere)(embedding)
    initializer = keras.initializers.GlorotUniform(next(seeds))
    options = {"kernel_regularizer": penalty, "kernel_initializer": initializer, "dtype": "float32"}
    logits = keras.layers.Dense(classes, name="logits", **options)(embedding)
    network = keras.Model(image, logits)
    if not recipe.augment:
        return network, network
    seen = keras.Input((28, 28, 1), name="image")
    changed = building.RandomWarp(unchanged=recipe.unchanged, seed=next(seeds))(seen)
    return keras.Model(seen, network(changed)), network


def optimizer_of(recipe, n_images):
    """The recipe's optimizer for a training on so many images."""
    rate = recipe.learning_rate
    if recipe.one_cycle:
        rate = training.one_cycle(rate, steps=recipe.epochs * math.ceil(n_images / recipe.batch_size))
    if recipe.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)


def loss_of(recipe):
    """The recipe's cross-entropy of labels, (n,), and logits; None for the plain one.

    Source of label smoothing: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567
    """
    if not recipe.label_smoothing:
        return None
    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    return lambda labels, logits: smoothed(
        keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1]), logits
    )


# %% Judging detectors


def judge(fit, known, test, ood):
    """Fit a detector and score the test images and every OOD set; returns `scores.separation` and the seconds."""
    started = time.perf_counter()
    score = fit(known)
    fitted = time.perf_counter()
    test_scores = score(test)
    scored = time.perf_counter()
    separation = scores.separation(test_scores, {name: score(of_set) for name, of_set in ood.items()})
    return separation | {"fit_seconds": fitted - started, "score_seconds": scored - fitted}


def judge_layers(detector, known, test, ood, layers=features.LAYERS):
    """As `judge`, for a layered detector; also its layers' log p-values, (n, layers), of the test images and by set."""

    def rows(found):
        return side_by_side(found, layers)

    started = time.perf_counter()
    detector.fit(rows(known.train), X_calibration=rows(known.calibration))
    fitted = time.perf_counter()
    test_log_p = detector.layer_log_p_values(rows(test))
    scored = time.perf_counter()
    log_p = {name: detector.layer_log_p_values(rows(of_set)) for name, of_set in ood.items()}
    ood_scores = {name: -detector.evidence(of_set) for name, of_set in log_p.items()}
    separation = scores.separation(-detector.evidence(test_log_p), ood_scores)
    return separation | {"fit_seconds": fitted - started, "score_seconds": scored - fitted}, test_log_p, log_p


# %% Parts of our detector, from log p-values to evidence, (n, 4) to (n,): the three layers', and LOF's on the embedding


def truncated(log_p):
    """The first block's evidence as our detector counts it."""
    return np.minimum(log_p[:, 0] - np.log(features.LAYERS["block1"][1]), 0)


PARTS = {
    "first block alone": lambda log_p: log_p[:, 0],
    "third block alone": lambda log_p: log_p[:, 1],
    "embedding alone, distance": lambda log_p: log_p[:, 2],
    "embedding alone, LOF": lambda log_p: log_p[:, 3],
    "without the first block": lambda log_p: log_p[:, 1] + log_p[:, 2],
    "without the third block": lambda log_p: truncated(log_p) + log_p[:, 2],
    "without the embedding": lambda log_p: truncated(log_p) + log_p[:, 1],
    "LOF instead of the distance": lambda log_p: truncated(log_p) + log_p[:, 1] + log_p[:, 3],
    "first block not truncated": lambda log_p: log_p[:, :3].sum(axis=1),
    "smallest of the three": lambda log_p: log_p[:, :3].min(axis=1),
}


def ablation(known, test, ood, test_log_p, log_p):
    """`scores.separation` of the parts of our detector; the last two are what `judge_layers` gives."""
    of_embedding = LayeredDetector()
    of_embedding.fit(known.train["embedding"], X_calibration=known.calibration["embedding"])
    test_log_p = np.hstack([test_log_p, of_embedding.layer_log_p_values(test["embedding"])])
    log_p = {
        name: np.hstack([log_p[name], of_embedding.layer_log_p_values(of_set["embedding"])])
        for name, of_set in ood.items()
    }
    return {
        title: scores.separation(-part(test_log_p), {name: -part(of_set) for name, of_set in log_p.items()})
        for title, part in PARTS.items()
    }


def calibration(calibration_scores, test_scores):
    """How well the nominal rejection rate holds on test images, as a dictionary for JSON; novelty scores, (m,), (n,).

    rejected : the share of the test images at each of the levels; rejected_at_1_percent : the same at 0.01.
    halves : as a check, that share where a random half of the test images calibrates and the other half is
    judged, once for each of `HALVINGS` halvings.
    """
    p_values = scores.conformal_p_values(calibration_scores, test_scores)
    rng, halves = np.random.default_rng(0), []
    for _ in range(HALVINGS):
        calibrating, judged = np.array_split(rng.permutation(test_scores), 2)
        halves.append(float(np.mean(scores.conformal_p_values(calibrating, judged) <= 0.01)))
    rejected = [float(np.mean(p_values <= level)) for level in LEVELS]
    return {
        "levels": LEVELS.tolist(),
        "rejected": rejected,
        "rejected_at_1_percent": float(np.mean(p_values <= 0.01)),
        "halves": halves,
    }


# %% A trial


def plan(args, cifar10_sha256):
    """The trials, {name: settings}: every recipe with the same seeds."""
    trials = {}
    for recipe_name in dict.fromkeys(RECIPES if "all" in args.recipes else args.recipes):
        recipe = RECIPES[recipe_name]
        recipe = replace(recipe, epochs=args.epochs or (2 if args.smoke else recipe.epochs))
        for seed in range(args.seeds or (1 if args.smoke else 5)):
            for classes in [10, 5]:
                settings = {"recipe_name": recipe_name, "classes": classes, "seed": seed, "precision": args.precision}
                settings |= {"smoke": args.smoke, "recipe": asdict(recipe)}
                settings |= {"cifar10_sha256": cifar10_sha256} if classes == 10 else {}
                trials[f"{recipe_name.replace(' ', '_')}/{classes}-digits-seed{seed}"] = settings
    return trials


def trained_network(settings, x, y, path):
    """The trial's network, in float32, and {"settings", "loss", "seconds"} of its training.

    Both are kept, in `path` and its `.json`, and read if they are there: a trial whose record is gone is judged anew
    without training.
    """
    note = path.with_suffix(".json")
    if note.is_file():
        with contextlib.suppress(ValueError, KeyError, TypeError, InputError):  # damaged or gone
            trained = json.loads(note.read_text(encoding="utf-8"))
            if trained["settings"] == json.loads(json.dumps(settings)):
                return networks.load_network(path, "it is trained again", [*features.BLOCKS, "embedding"]), trained
    started = time.perf_counter()
    recipe = Recipe(**settings["recipe"])
    keras.config.set_dtype_policy(training.POLICIES[settings["precision"]])
    training_network, network = build(recipe, settings["classes"], settings["seed"])
    training.compile_for_logits(training_network, optimizer_of(recipe, len(x)), loss_of(recipe))
    schedule = {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "seed": settings["seed"]}
    loss = [row["loss"] for row in training.fit(training_network, (x, y), **schedule)]
    network = training.in_float32(network)
    path.parent.mkdir(parents=True, exist_ok=True)
    networks.save_network(network, path)
    trained = {"settings": settings, "loss": loss, "seconds": time.perf_counter() - started}
    with files.replacing(note) as beside:
        beside.write_text(json.dumps(trained), encoding="utf-8")
    return network, trained


def images_of(settings, data):
    """Training, validation and test images of the digits to learn, three (x, y), and OOD images, {set: x}.

    Also a sentence on what of these could not be had.
    """
    splits, classes = datasets.load_mnist(data, settings["smoke"]), settings["classes"]
    learned = [(x[y < classes], y[y < classes]) for x, y in splits]
    if classes == 10:
        return learned, *made_outliers.load_all(data, settings["smoke"])
    x, y = splits[2]
    return learned, {"digits 5-9": x[y >= classes]}, ""


def run_trial(name, settings, data, models):
    """Train a network, fit the detectors to it and judge them on every set.

    The network is kept as `trained_network` says, and of the best recipe's seed 0 the OOD images that are accepted, in
    `models/NAME-accepted.npz`.
    """
    is_best = settings["recipe_name"] == "best"
    ((x_train, y_train), (x_val, y_val), (x_test, y_test)), ood, missing = images_of(settings, data)
    network, trained = trained_network(settings, x_train, y_train, models / f"{name}.keras")
    started = time.perf_counter() - trained["seconds"]  # a training counts, whichever run it was in
    known = Known(features_of(network, x_train), y_train, features_of(network, x_val))
    test = features_of(network, x_test)
    of_sets = {set_name: features_of(network, x) for set_name, x in ood.items()}
    detector = LayeredDetector(layers_of(known.train, features.LAYERS))
    ours, test_log_p, log_p = judge_layers(detector, known, test, of_sets)
    # The input space knows no seed: there, LOF is measured with seed 0 alone.
    judged = {d for d in DETECTORS if d == ARTICLE or (is_best and (d != INPUT_SPACE or settings["seed"] == 0))}
    metrics = {
        "accuracy": {
            split: float((of_split["logits"].argmax(axis=1) == label).mean())
            for split, of_split, label in [("val", known.calibration, y_val), ("test", test, y_test)]
        },
        "validation_loss": float(log_loss(y_val, softmax(known.calibration["logits"].astype(float), axis=1))),
        "parameters": network.count_params(),
        "detectors": {OURS: ours}
        | {title: judge(fit, known, test, of_sets) for title, fit in DETECTORS.items() if title in judged},
        "parts": ablation(known, test, of_sets, test_log_p, log_p) if is_best else {},
        "calibration": calibration(-detector.calibration_scores_, -detector.evidence(test_log_p)),
    }
    if is_best and settings["seed"] == 0:
        p_values = {
            set_name: scores.conformal_p_values(-detector.calibration_scores_, -detector.evidence(of_set))
            for set_name, of_set in log_p.items()
        }
        digits = {set_name: of_set["logits"].argmax(axis=1) for set_name, of_set in of_sets.items()}
        files.save_arrays(models / f"{name}-accepted.npz", accepted(ood, p_values, digits, detector.level))
    keras.backend.clear_session()
    return records.new_record(name, settings, metrics, started, loss=trained["loss"], missing=missing)


# %% The figure of what is accepted


def accepted(ood, p_values, digits, level):
    """The OOD images that are accepted with the highest p-values, at most `GALLERY` of each set.

    ood, p_values, digits : {set name: images, p-values, predicted digits}.
    Returns {"sets": (m,) names with the share that is accepted, "set": (n,) the number of each image's set,
    "caption": (n,) digits, "image": (n, 28, 28, 1)}.
    """
    sets, numbers, captions, images = [], [], [], []
    for number, (name, p) in enumerate(p_values.items()):
        highest = np.argsort(-p)[: min(np.sum(p > level), GALLERY)]
        sets.append(f"{name}: {np.mean(p > level):.2%}")
        numbers += [number] * len(highest)
        captions += [f"as {digit}" for digit in digits[name][highest]]
        images += list(ood[name][highest])
    return {"sets": np.array(sets), "set": np.array(numbers), "caption": np.array(captions), "image": np.array(images)}


def kept_gallery(path, name, row):
    """The rows of images that a trial kept, {row's name: [(image, caption), ...]}; None, with a sentence, if deleted.

    row : what the file calls the number of an image's row; the names of all rows are under its plural.
    """
    if not path.is_file():
        print(f"{path}: missing, so no gallery; to make it again, delete the line of {name} from the records")
        return None
    arrays = files.load_arrays(path, "delete it and its line in the records, and run again")
    rows = {of_row: [] for of_row in arrays[f"{row}s"]}
    for number, caption, image in zip(arrays[row], arrays["caption"], arrays["image"], strict=True):
        rows[arrays[f"{row}s"][number]].append((image, caption))
    return rows


def draw_accepted(trials, out):
    """Draw what is accepted in the best recipe's seed 0, or say that its images were deleted."""
    rows = {}
    for name in trials:
        path = out / "models" / "scoreboard" / f"{name}-accepted.npz"
        if name.startswith("best/") and name.endswith("seed0"):
            kept = kept_gallery(path, name, "set")
            if kept is None:
                return
            rows |= kept
    if rows:
        title = "OOD images accepted where 1 % of the digits are rejected (nominal), and as which digit (seed 0)"
        plots.save(plots.rows_of_images(rows, title), out / "figures" / "scoreboard_accepted.png")


def main():
    parser = cli.Parser(__doc__, out=cli.PROJECT / "runs")
    parser.add_argument("--recipes", nargs="+", choices=["all", *RECIPES], default=["best"], help="%(default)s")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", help="a recipe, 5; with --smoke 1")
    parser.add_argument("--epochs", type=cli.positive_int, help="passes over the training images, the recipe's")
    sweep.add_flags(parser)
    args = parser.parse()
    trials = plan(args, sweep.cifar10_setting(args.data))
    for record in sweep.run("experiments.scoreboard", trials, args, "scoreboard"):
        ours = record["metrics"]["detectors"][OURS]["auroc"]
        aurocs = ", ".join(f"{name} {100 * auroc:.2f}" for name, auroc in ours.items())
        print(f"{record['name']}: test accuracy {record['metrics']['accuracy']['test']:.2%}, AUROC {aurocs}")
    draw_accepted(trials, args.out)


if __name__ == "__main__":
    main()

"""Classes that the network has never seen: found again among themselves, learned from a few examples, or rejected.

    python -m experiments.unseen                       # MNIST and Fashion-MNIST, six heads, ten seeds
    python -m experiments.unseen --dataset mnist --heads l2softmax arcface --seeds 2
    python -m experiments.unseen --images FOLDER       # a folder a class of your own: half of them train
    python -m experiments.unseen --choose              # compare recipes on known classes alone
    python -m experiments.unseen --scales              # MNIST alone: cosine softmax with five scales, five seeds
    python -m experiments.unseen --smoke               # a try on small slices, a minute

A network learns the classes 0 to 4; the test images of 5 to 9 are embedded. *Retrieval*: is the nearest other image of
the same class? *Enrolment*: the mean direction of 1, 5 or 20 examples of each new class names the others. *Rejection*:
five examples of four of the new classes are enrolled; what is neither known nor enrolled should be rejected.

--choose compares recipes without a look at 5 to 9: two of the classes 0 to 4 play the new ones, on training images.

Reads   data/mnist, data/fashion-mnist
Writes  runs/results/unseen.jsonl           a line a trial, as it ends
        runs/results/unseen_choice.jsonl    the same of --choose; unseen_scales.jsonl, of --scales
        runs/figures/unseen_nearest_*.png   three new images and their ten nearest, by softmax and by another head
Repeating the command continues with what is missing.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
from sklearn.decomposition import PCA

from common import cli, plots, records, training
from experiments import building, sweep
from experiments.draws import turned_classes
from experiments.heads import HEADS as ARTICLE_HEADS
from experiments.heads import head_of, trainable
from experiments.scoreboard import RECIPES, Recipe, optimizer_of
from hypersphere import datasets, detectors, features, files, heads, outliers, scores
from hypersphere.enrolment import Enrolment, retrieval
from hypersphere.errors import InputError

HEADS = ARTICLE_HEADS | {"l2softmax": (heads.L2Softmax, {"alpha": 16.0})}  # article 1's radius
RAW = ["pixels", "pca64"]  # spaces without a network
EXAMPLES, DRAWINGS = [1, 5, 20], 100
LEVEL = 0.01  # of known digits, rejected
# How a network is trained, and how many turns of each class are classes of their own.
AUGMENTED = replace(RECIPES["best"], width=16, epochs=12)
CANDIDATES = {
    "article": (replace(RECIPES["article"], width=16), 1),  # article 1's
    "augmented": (AUGMENTED, 1),
    "turns": (replace(AUGMENTED, epochs=4), 4),  # as many steps: each epoch sees each image in four turns
    "turns, twice as long": (replace(AUGMENTED, epochs=8), 4),
}
CHOSEN = "turns"  # on MNIST's known classes, --choose; Fashion-MNIST's were not compared
CHOICE_PAIRS = [(0, 1), (2, 4), (1, 3)]  # of known classes, which play the new ones
CHOICE_SEED = 100  # of no reported trial
SCALES = [1, 4, 8, 16, 64]
QUERIES, SHOWN = [0, 2, 4], 10  # new classes whose first image is looked up, and how many nearest ones are shown
SMOKE_IMAGES = 600


# %% The plan


def plan(args):
    """The trials, {name: settings}: every head learns from the same images."""
    if args.scales:
        return trials_of(args, "mnist", "mnist", CHOSEN, range(seeds_of(args, 5)), {})
    sets = [args.images] if args.images else [args.dataset] if args.dataset else ["mnist", "fashion-mnist"]
    trials = {}
    for of_set in sets:
        if args.choose:
            for candidate in CANDIDATES:
                for pair in CHOICE_PAIRS:
                    folder = f"{of_set}/{candidate.replace(', ', '_').replace(' ', '_')}-new_{pair[0]}_{pair[1]}"
                    trials |= trials_of(args, of_set, folder, candidate, [CHOICE_SEED], {"pair": pair})
        else:
            trials |= trials_of(args, of_set, Path(of_set).name, CHOSEN, range(seeds_of(args, 10)), {})
    return trials


def seeds_of(args, default):
    """How many seeds the flags ask for."""
    return args.seeds or (1 if args.smoke else default)


def spaces(args):
    """What is compared, {name: settings}: heads, and spaces without a network; or one head with many scales."""
    if args.scales:  # without a margin, CosFace is AdaCos with another scale
        of_scales = {f"scale{scale}": {"scale": float(scale), "margin": 0.0} for scale in SCALES}
        return {name: {"head": "cosface", "head_arguments": of_scale} for name, of_scale in of_scales.items()}
    return {
        head: {"head": head, "head_arguments": HEADS[head][1]} if head in HEADS else {"head": head}
        for head in dict.fromkeys(args.heads)
    }


def trials_of(args, of_set, folder, candidate, seeds, more):
    """The trials of one data set with one recipe, {name: settings}."""
    recipe, turns = CANDIDATES[candidate]
    recipe = replace(recipe, epochs=1) if args.smoke else recipe
    common = {"dataset": of_set, "recipe_name": candidate, "recipe": asdict(recipe), "turns": turns}
    common |= {"precision": args.precision, "smoke": args.smoke} | more
    return {
        f"{folder}/{name}-seed{seed}": common | of_space | {"seed": seed}
        for seed in seeds
        for name, of_space in spaces(args).items()
    }


# %% The images


def load(settings, data):
    """Known classes to train and to validate, new images of them, and images of new classes, {name: (x, y)}.

    The new classes' labels go on after those of the known ones, which count from 0. Raises InputError if a folder of
    one's own has too few classes or images.
    """
    n_known = 5
    if settings["dataset"] in datasets.CLASS_NAMES:
        x, y = datasets.load_labelled(settings["dataset"], "train", data)
        x_test, y_test = datasets.load_labelled(settings["dataset"], "t10k", data)
    else:
        x, y = load_folders(settings["dataset"])
        is_test = np.concatenate([np.arange(count) % 3 == 0 for count in np.bincount(y)])
        x, y, x_test, y_test = x[~is_test], y[~is_test], x[is_test], y[is_test]
        n_known = (y.max() + 1) // 2
    if "pair" in settings:
        x, y, x_test, y_test = among_known(x, y, n_known, settings["pair"])
        n_known -= len(settings["pair"])
    known = np.flatnonzero(y < n_known)
    if settings["smoke"]:
        known, x_test, y_test = known[:SMOKE_IMAGES], x_test[:SMOKE_IMAGES], y_test[:SMOKE_IMAGES]
    is_val = np.arange(len(known)) % 6 == 5
    test_known = y_test < n_known
    return {
        "train": (x[known[~is_val]], y[known[~is_val]]),
        "val": (x[known[is_val]], y[known[is_val]]),
        "known": (x_test[test_known], y_test[test_known]),
        "new": (x_test[~test_known], y_test[~test_known]),
    }


def among_known(x, y, n_known, pair):
    """Training and test images, with labels, of the known classes alone, of which a pair plays the new ones."""
    order = [number for number in range(n_known) if number not in pair] + list(pair)
    x, y = x[y < n_known], np.argsort(order)[y[y < n_known]]
    is_test = np.arange(len(y)) % 6 == 0
    return x[~is_test], y[~is_test], x[is_test], y[is_test]


def load_folders(folder):
    """The images of a folder with a folder a class: x, (n, 28, 28, 1), and y, (n,), in order of the classes' names."""
    folders = sorted(path for path in Path(folder).iterdir() if path.is_dir()) if Path(folder).is_dir() else []
    if len(folders) < 4:
        raise InputError(f"{folder}: {len(folders)} classes; give a folder with at least four folders, a class each")
    of_classes = [outliers.load_image_folder(path) for path in folders]
    for path, images in zip(folders, of_classes, strict=True):
        if len(images) < 3 * (max(EXAMPLES) + 1):
            raise InputError(f"{path}: {len(images)} images, but it needs {3 * (max(EXAMPLES) + 1)}; add some")
    return np.concatenate(of_classes), np.repeat(np.arange(len(folders)), [len(images) for images in of_classes])


# %% A trial


def build(settings, image_shape, n_classes):
    """The network to train and the network to use, both images to logits."""
    recipe, seeds = Recipe(**settings["recipe"]), building.layer_seeds(settings["seed"])
    penalty = keras.regularizers.L2(recipe.weight_decay) if recipe.optimizer == "sgd" else None
    filters = [recipe.width, 2 * recipe.width, 4 * recipe.width]
    image = keras.Input(image_shape)
    options = {"filters": filters, "units": 64, "batch_norm": recipe.batch_norm, "penalty": penalty}
    encoder = keras.Model(image, building.convolutional_embedding(image, seeds, **options))
    head = head_of(settings["head"], settings["head_arguments"], n_classes, seeds)
    network = keras.Model(image, head(encoder.output))
    seen = keras.Input(image_shape)
    changed = building.RandomWarp(unchanged=recipe.unchanged, seed=next(seeds))(seen) if recipe.augment else seen
    return trainable(keras.Model(seen, encoder(changed)), head), network


def train(settings, x, y):
    """A network trained on the known classes, or on their turns; returns it and each epoch's loss."""
    recipe = Recipe(**settings["recipe"])
    keras.config.set_dtype_policy(training.POLICIES[settings["precision"]])
    x, y = turned_classes(x, y, settings["turns"])
    training_network, network = build(settings, x.shape[1:], int(y.max()) + 1)
    training.compile_for_logits(training_network, optimizer_of(recipe, len(x)))
    schedule = {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "seed": settings["seed"]}
    rows = training.fit(training_network, (x, y), **schedule)
    return training.in_float32(network), [row["loss"] for row in rows]


def run_trial(name, settings, data, models):
    """Train one head on the known classes, and judge its embedding, or pixels or their PCA, on the new ones.

    Of seed 0 the images nearest to a few new ones are kept, in `models/NAME-nearest.npz`.
    """
    started = time.perf_counter()
    images, loss = load(settings, data), []
    labels = {of_set: y for of_set, (_, y) in images.items()}
    if settings["head"] in HEADS:
        network, loss = train(settings, *images["train"])
        extracted = {of_set: features.extract(network, x) for of_set, (x, _) in images.items()}
        points = {of_set: of["embedding"] for of_set, of in extracted.items()}
    else:
        points = without_network(settings["head"], {of_set: x for of_set, (x, _) in images.items()})
    metrics = retrieval(points["new"], labels["new"]) | {"enrolment": enrolment(points, labels, settings["seed"])}
    if settings["head"] in HEADS:
        upright = extracted["known"]["logits"][:, : labels["train"].max() + 1]  # where turns are classes, too
        metrics["known_accuracy"] = float(np.mean(upright.argmax(axis=1) == labels["known"]))
        metrics["rejection"] = rejection(extracted, labels, settings["seed"])
        keras.backend.clear_session()
    if settings["seed"] == 0:
        path = models / f"{name}-nearest.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        files.save_arrays(path, nearest(points["new"], *images["new"]))
    return records.new_record(name, settings, metrics, started, loss=loss)


def without_network(space, images):
    """The images as points, less the training images' mean: pixels, or their first 64 principal components."""
    points = {of_set: x.reshape(len(x), -1) for of_set, x in images.items()}
    mean = points["train"].mean(axis=0)
    points = {of_set: x - mean for of_set, x in points.items()}
    if space == "pca64":
        components = PCA(64, svd_solver="covariance_eigh").fit(points["train"]).components_.T
        points = {of_set: x @ components for of_set, x in points.items()}
    return points


def choose_examples(labels, n_examples, rng):
    """The rows of so many examples of each class, and all other rows."""
    rows = np.concatenate([rng.choice(np.flatnonzero(labels == of), n_examples, replace=False) for of in set(labels)])
    return rows, np.setdiff1d(np.arange(len(labels)), rows)


def nearest_known(points, labels):
    """Cosines of known and new images to the nearest known class, {set: (n,)}, and which known ones it names right.

    The known classes are enrolled by all their training images.
    """
    known = Enrolment().fit(points["train"], labels["train"])
    cosines = {of_set: known.cosines(points[of_set]).max(axis=1) for of_set in ["known", "new"]}
    return cosines, known.predict(points["known"]) == labels["known"]


def enrolment(points, labels, seed):
    """How well a few examples of each new class name its other images, {number of examples: {among: accuracy}}.

    Among the new classes alone, and among all, of which the known ones are enrolled by all their training images;
    then over the images of known classes too. Means over `DRAWINGS` drawings of the examples.
    """
    rng, accuracy = np.random.default_rng(seed), {}
    to_known, known_right = nearest_known(points, labels)
    for n_examples in EXAMPLES:
        among_new, among_all = [], []
        for _ in range(DRAWINGS):
            rows, others = choose_examples(labels["new"], n_examples, rng)
            enrolled = Enrolment().fit(points["new"][rows], labels["new"][rows])
            cosines = {of_set: enrolled.cosines(points[of_set]) for of_set in ["known", "new"]}
            right = enrolled.classes_[cosines["new"].argmax(axis=1)] == labels["new"]
            nearer = {of_set: cosines[of_set].max(axis=1) > to_known[of_set] for of_set in cosines}
            among_new.append(right[others].mean())
            of_all = np.concatenate([known_right & ~nearer["known"], (right & nearer["new"])[others]])
            among_all.append(of_all.mean())
        accuracy[str(n_examples)] = {"new": float(np.mean(among_new)), "all": float(np.mean(among_all))}
    return accuracy


def rejection(extracted, labels, seed, n_examples=5, drawings=20):
    """Five examples of all new classes but one are enrolled: what becomes of known, enrolled and other images.

    An image counts as an enrolled class if that is nearer than every known one, and as near as 99 % of the validation
    images are to five others of their class; else the calibrated detector accepts it as known, or rejects it.
    Returns the shares of known images named right, of enrolled ones named right, and of the others rejected.
    """
    rng, embedding = np.random.default_rng(seed), {of_set: of["embedding"] for of_set, of in extracted.items()}
    by_set = {of_set: detectors.side_by_side(of, features.LAYERS) for of_set, of in extracted.items()}
    detector = detectors.LayeredDetector(detectors.layers_of(extracted["train"], features.LAYERS))
    detector.fit(by_set["train"], X_calibration=by_set["val"])
    accepted = {of_set: detector.p_values(by_set[of_set]) > LEVEL for of_set in ["known", "new"]}
    to_known, known_right = nearest_known(embedding, labels)
    shares = []
    for _ in range(drawings):
        rows, others = choose_examples(labels["val"], n_examples, rng)
        of_known = Enrolment().fit(embedding["val"][rows], labels["val"][rows]).cosines(embedding["val"][others])
        nearest = np.quantile(of_known[np.arange(len(others)), labels["val"][others]], LEVEL)
        for left_out in set(labels["new"]):
            rows, others = choose_examples(labels["new"], n_examples, rng)
            rows = rows[labels["new"][rows] != left_out]
            enrolled = Enrolment().fit(embedding["new"][rows], labels["new"][rows])
            cosines = {of_set: enrolled.cosines(embedding[of_set]) for of_set in to_known}
            is_enrolled = {
                of_set: (of.max(axis=1) >= nearest) & (of.max(axis=1) > to_known[of_set])
                for of_set, of in cosines.items()
            }
            named = enrolled.classes_[cosines["new"].argmax(axis=1)] == labels["new"]
            is_left_out = labels["new"][others] == left_out
            shares.append(
                {
                    "known named": np.mean(known_right & ~is_enrolled["known"] & accepted["known"]),
                    "enrolled named": np.mean((named & is_enrolled["new"])[others][~is_left_out]),
                    "others rejected": np.mean((~is_enrolled["new"] & ~accepted["new"])[others][is_left_out]),
                }
            )
    return {name: float(np.mean([of[name] for of in shares])) for name in shares[0]}


# %% The figure of what is nearest


def nearest(points, x, y):
    """A few images, each followed by those nearest to it by cosine, {"image": (q, 1 + n, h, w, c), "label"}."""
    classes, unit = np.unique(y), scores.directions(points)
    rows = [np.flatnonzero(y == classes[number])[0] for number in QUERIES if number < len(classes)]
    others = np.argsort(-(unit[rows] @ unit.T), axis=1)
    nearest_first = np.array([[row, *of_row[of_row != row][:SHOWN]] for row, of_row in zip(rows, others, strict=True)])
    return {"image": x[nearest_first], "label": y[nearest_first]}


def draw_nearest(of_records, out):
    """Draw what is nearest by softmax and by the best head, or by the worst if softmax is best: a figure a data set.

    The best has the highest MAP@R.
    """
    by_set = {}
    for record in of_records:
        of_heads = by_set.setdefault(record["name"].split("/")[0], {})
        of_heads.setdefault(record["settings"]["head"], []).append(record)
    for of_set, of_heads in by_set.items():
        precision = {
            head: np.mean([record["metrics"]["map_at_r"] for record in of_head])
            for head, of_head in of_heads.items()
            if head in HEADS
        }
        if not precision:
            continue
        best, worst = (of(precision, key=precision.get) for of in [max, min])
        shown = dict.fromkeys(["softmax", worst if best == "softmax" else best])
        paths = {head: out / "models" / "unseen" / of_set / f"{head}-seed0-nearest.npz" for head in shown}
        if not all(path.is_file() for path in paths.values()):
            continue
        rows = {}
        for head, path in paths.items():
            arrays = files.load_arrays(path, "delete it and its line in the records, and run again")
            for images, labels in zip(arrays["image"], arrays["label"], strict=True):
                names = [str(label) for label in labels]
                if of_set in datasets.CLASS_NAMES:
                    names = [datasets.CLASS_NAMES[of_set][label] for label in labels]
                captions = [name if name == names[0] else f"{name}, wrong" for name in names]
                rows[f"{names[0]}: {head}"] = [*zip(images, ["query", *captions[1:]], strict=True)]
        rows = {name: rows[name] for name in sorted(rows, key=lambda name: name.split(": ")[0])}
        title = "New images and the ten nearest among those of all new classes (seed 0)"
        plots.save(
            plots.rows_of_images(rows, title), out / "figures" / f"unseen_nearest_{of_set.replace('-', '_')}.png"
        )


# %% The command


def main():
    parser = cli.Parser(__doc__, out=cli.PROJECT / "runs")
    parser.add_argument("--dataset", choices=["mnist", "fashion-mnist"], help="default: both")
    parser.add_argument("--images", metavar="FOLDER", help="your own images instead, a folder a class")
    parser.add_argument("--heads", nargs="+", choices=[*RAW, *HEADS], default=[*RAW, *HEADS], help="default: all")
    parser.add_argument("--choose", action="store_true", help="compare recipes on known classes alone")
    parser.add_argument("--scales", action="store_true", help="compare scales of a cosine softmax on MNIST")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", help="trainings a head, 10; with --smoke 1")
    sweep.add_flags(parser)
    args = parser.parse()
    if args.images:
        load_folders(args.images)  # what is wrong with it is said before the trials
    records_name = "unseen_choice" if args.choose else "unseen_scales" if args.scales else "unseen"
    of_trials = sweep.run("experiments.unseen", plan(args), args, records_name)
    for record in of_trials:
        found, enrolled = record["metrics"], record["metrics"]["enrolment"]
        accuracies = " / ".join(f"{enrolled[str(n)]['new']:.3f}" for n in EXAMPLES)
        print(
            f"{record['name']}: Recall@1 {found['recall_at_1']:.3f}, MAP@R {found['map_at_r']:.3f}, accuracy among new "
            f"classes by {' / '.join(map(str, EXAMPLES))} examples {accuracies}"
        )
    if records_name == "unseen":
        draw_nearest(of_trials, args.out)


if __name__ == "__main__":
    main()

"""Article 2: six heads for anomaly detection. Can a class be told from one that the network never saw?

    python -m experiments.heads                  # the article's two pairs, six heads, ten draws
    python -m experiments.heads --seeds 3
    python -m experiments.heads --dataset mnist --normal 4 --anomaly 9 --seeds 3
    python -m experiments.heads --dataset cifar10 --backbone mobilenetv2 --weights imagenet
    python -m experiments.heads --legacy         # with the faults of the published code, as a control
    python -m experiments.heads --smoke          # a try on small draws, a minute

The *normal* class and 1,000 images each of eight *reference* classes train a classifier of nine classes. A detector
that knows the normal training images alone then tells new normal images from those of the tenth class, the *anomaly*.
Source of the protocol: https://qiita.com/shinmura0/items/d2a3a46c3fb287a1ea0e

Reads   data/fashion-mnist, data/mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/article2.jsonl                           a line a trial, as it ends
        runs/models/article2/PAIR/BACKBONE/HEAD-seed0.keras   the network of each head's first trial
Repeating the command continues with what is missing.
"""

import functools
import math
import re
import time
from dataclasses import asdict, dataclass, replace

from experiments import sweep
from hypersphere import cli, datasets, features, files, heads, networks, records, scores, training
from hypersphere.errors import InputError

import keras
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

# The article's arguments; CosFace, which it does not have, gets ArcFace's.
HEADS = {
    "softmax": (heads.Softmax, {}),
    "l2softmax": (heads.L2Softmax, {"alpha": 5.0}),
    "cosface": (heads.CosFace, {"scale": 30.0, "margin": 0.05}),
    "arcface": (heads.ArcFace, {"scale": 30.0, "margin": 0.05}),
    "adacos": (heads.AdaCos, {}),
    "adacos-dynamic": (heads.AdaCos, {"dynamic": True}),
}
ARTICLE_PAIRS = {"fashion-mnist": (7, 9), "cifar10": (4, 7)}  # sneaker, ankle boot; deer, horse
N_TRAIN, N_VAL, N_TEST = 1000, 200, 1000  # images of a class
N_SMOKE = 60
N_CLASSES = 9


# %% The recipes


@dataclass(frozen=True)
class Recipe:
    """How a backbone is trained; a record keeps all of it."""

    width: float  # filters of the cnn's first convolution, or MobileNetV2's share of filters
    epochs: int
    batch_size: int = 128
    rate: float = 1e-2  # the highest of a one-cycle schedule, or a constant one
    one_cycle: bool = True
    weight_decay: float = 0.05
    mirror: bool = True  # learn from mirror images, and look at both sides of a new one
    shift: int = 0  # pixels, in each direction


CNN_RECIPES = {
    "mnist": Recipe(width=64, epochs=12, mirror=False),
    "fashion-mnist": Recipe(width=64, epochs=12),
    "cifar10": Recipe(width=48, epochs=16, shift=2),
}
ARTICLE_RECIPE = Recipe(networks.MOBILENET_WIDTH, 10, rate=1e-4, one_cycle=False, weight_decay=0, mirror=False)


def recipe_of(backbone, dataset):
    """The recipe of a backbone: the article's for `mobilenetv2`, ours for `cnn`."""
    return CNN_RECIPES[dataset] if backbone == "cnn" else ARTICLE_RECIPE


# %% The plan


def class_number(dataset, text):
    """The number of a class that the user gives by name or number; InputError lists the right ones."""
    names = [name.lower() for name in datasets.CLASS_NAMES[dataset]]
    if text.lower() in names:
        return names.index(text.lower())
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    raise InputError(f"{text}: no class of {dataset}; choose one of: {class_list(dataset)}")


def class_list(dataset):
    """The numbers and names of a data set's classes, in one line."""
    names = enumerate(datasets.CLASS_NAMES[dataset])
    return ", ".join(name if name == str(number) else f"{number} {name}" for number, name in names)


def choose_pairs(dataset, normal, anomaly, data):
    """The pairs that the flags ask for, {data set: (normal, anomaly)}: without a choice both of the article's.

    CIFAR-10's is left out, with a sentence, if it cannot be downloaded and was not asked for. Raises InputError if the
    classes do not fit or files are missing.
    """
    if dataset is None and (normal or anomaly):
        raise InputError("--normal and --anomaly need --dataset: name the data set that the classes are of")
    if dataset in (None, "cifar10"):
        try:
            datasets.complete_cifar10(data)
        except datasets.DownloadError as error:
            if dataset:
                raise
            print(f"{error}; its pair is left out")
            return {"fashion-mnist": ARTICLE_PAIRS["fashion-mnist"]}
    if dataset is None:
        return ARTICLE_PAIRS
    if normal is None and anomaly is None and dataset in ARTICLE_PAIRS:
        return {dataset: ARTICLE_PAIRS[dataset]}
    if normal is None or anomaly is None:
        raise InputError(f"--dataset {dataset}: give both --normal and --anomaly, two of: {class_list(dataset)}")
    pair = class_number(dataset, normal), class_number(dataset, anomaly)
    if pair[0] == pair[1]:
        raise InputError(f"--normal {normal} and --anomaly {anomaly} are the same class; choose two")
    return {dataset: pair}


def choose_weights(backbone, weights):
    """The weights that a trial starts from: those that the user named, or the backbone's own.

    ImageNet's are downloaded now, before several trials do it at once. Raises InputError if they cannot be had, or if
    weights are named for `cnn`, which has none.
    """
    if backbone == "cnn":
        if weights not in (None, "none"):
            raise InputError(f"--weights {weights}: cnn is trained from scratch; give --backbone mobilenetv2 with it")
        return "none"
    weights = weights or "imagenet"
    networks.mobilenetv2_embedding(keras.Input((32, 32, 3)), weights)
    return weights


def plan(args):
    """The trials, {name: settings}: every head learns from the same draws."""
    weights = choose_weights(args.backbone, args.weights)
    seeds = range(args.seeds or (1 if args.smoke else 10))
    trials = {}
    for dataset, (normal, anomaly) in choose_pairs(args.dataset, args.normal, args.anomaly, args.data).items():
        recipe = recipe_of(args.backbone, dataset)
        recipe = replace(recipe, epochs=args.epochs or (2 if args.smoke else recipe.epochs))
        classes = [datasets.CLASS_NAMES[dataset][number] for number in [normal, anomaly]]
        pair = "-".join(re.sub(r"\W+", "_", name.lower()) for name in [dataset, *classes])
        common = {"dataset": dataset, "normal": normal, "anomaly": anomaly, "backbone": args.backbone}
        common |= {"weights": weights, "precision": args.precision, "legacy": args.legacy, "smoke": args.smoke}
        if dataset == "cifar10":
            common["cifar10_sha256"] = datasets.cifar10_sha256(args.data)
        for seed in seeds:
            for head in dict.fromkeys(args.heads):
                name = f"{pair}/{args.backbone}{'-legacy' if args.legacy else ''}/{head}-seed{seed}"
                decided = {"head": head, "head_arguments": HEADS[head][1], "seed": seed, "recipe": asdict(recipe)}
                trials[name] = common | decided
    return trials


# %% A trial: draw, network, training, scores


@dataclass
class Draw:
    """The images of one trial. Labels count the classes of the training from 0; the normal one is last."""

    x_train: np.ndarray  # (9000, height, width, channels) float32 in [0, 1]
    y_train: np.ndarray  # (9000,) int64
    is_normal: np.ndarray  # (9000,) bool: the rows of the normal class
    x_val: np.ndarray  # (1800, ...), none of them in x_train; only the classifier is measured on them
    y_val: np.ndarray
    x_normal: np.ndarray  # (1000, ...) of the test split, fewer of MNIST; the same for every seed
    x_anomaly: np.ndarray


@functools.lru_cache(maxsize=1)
def draw(dataset, normal, anomaly, seed, legacy=False, smoke=False, data=None):
    """Draw the images of one trial, decided by the pair and the seed alone.

    With `legacy` the normal class has the label of the reference class before it, as in the article's code, where
    sneakers were labelled as shirts and deer as cats. The last draw is kept, for the next head.
    """
    n_train, n_val, n_test = (N_SMOKE,) * 3 if smoke else (N_TRAIN, N_VAL, N_TEST)
    x, y = datasets.read_labelled(dataset, "train", data)
    x_test, y_test = datasets.read_labelled(dataset, "t10k", data)
    rng = np.random.default_rng(seed)
    references = [number for number in range(10) if number not in (normal, anomaly)]
    rows = [rng.permutation(np.flatnonzero(y == number))[: n_train + n_val] for number in [*references, normal]]
    train_rows = np.concatenate([of_class[:n_train] for of_class in rows])
    val_rows = np.concatenate([of_class[n_train:] for of_class in rows])
    y_train, y_val = np.repeat(np.arange(N_CLASSES), n_train), np.repeat(np.arange(N_CLASSES), n_val)
    is_normal = y_train == N_CLASSES - 1
    if legacy:
        before = max((i for i, number in enumerate(references) if number < normal), default=0)
        y_train, y_val = (np.where(labels == N_CLASSES - 1, before, labels) for labels in [y_train, y_val])
    return Draw(
        x_train=datasets.to_float(x[train_rows]),
        y_train=y_train,
        is_normal=is_normal,
        x_val=datasets.to_float(x[val_rows]),
        y_val=y_val,
        x_normal=datasets.to_float(x_test[y_test == normal][:n_test]),
        x_anomaly=datasets.to_float(x_test[y_test == anomaly][:n_test]),
    )


def augment(image, recipe, seeds):
    """Images as a training sees them, (n, h, w, c) to the same: mirrored and shifted anew in each epoch."""
    x = image
    if recipe.mirror:
        x = keras.layers.RandomFlip("horizontal", seed=next(seeds))(x)
    if recipe.shift:
        share = recipe.shift / image.shape[1]
        moves = {"fill_mode": "nearest", "interpolation": "nearest", "seed": next(seeds)}
        x = keras.layers.RandomTranslation(share, share, **moves)(x)
    return x


def build(settings, image_shape):
    """The network to train, (image, label) to logits, and the network to use, image to logits.

    They share their layers but for the augmentation, which the network to use does not have: called
    without `training=False`, Keras's random layers would change the images that it is given.
    """
    recipe, seeds = Recipe(**settings["recipe"]), networks.layer_seeds(settings["seed"])
    image, label = keras.Input(image_shape, name="image"), keras.Input((), dtype="int64", name="label")
    augmented = augment(image, recipe, seeds)
    plain = keras.Input(image_shape, name="image")
    if settings["backbone"] == "cnn":
        filters = [recipe.width, 2 * recipe.width, 4 * recipe.width]
        embedding = networks.convolutional_embedding(plain, seeds, filters=filters, units=256, batch_norm=True)
    else:
        embedding = networks.mobilenetv2_embedding(plain, settings["weights"])
    kind, arguments = HEADS[settings["head"]][0], settings["head_arguments"]
    head = kind(N_CLASSES, legacy=settings["legacy"], seed=next(seeds), name="head", **arguments)
    encoder = keras.Model(plain, embedding)
    return keras.Model([image, label], head(encoder(augmented), label)), keras.Model(plain, head(embedding))


def optimizer_of(recipe, n_images):
    """AdamW with a one-cycle rate, or the article's Adam with a constant one."""
    if not recipe.one_cycle:
        return keras.optimizers.Adam(recipe.rate, amsgrad=True)
    steps = recipe.epochs * math.ceil(n_images / recipe.batch_size)
    return keras.optimizers.AdamW(training.one_cycle(recipe.rate, steps), weight_decay=recipe.weight_decay)


def directions(network, x, mirrored):
    """Directions of the embeddings, (n, d); if `mirrored`, the mean direction of an image and its mirror image."""
    direction = scores.directions(features.embed(network, x)[0])
    if not mirrored:
        return direction
    return scores.directions(direction + scores.directions(features.embed(network, x[:, :, ::-1])[0]))


def auroc_by_scorer(train, normal, anomaly):
    """AUROC with each scorer, {name: value}; all of them see the same directions.

    train : (n, d), of the normal class's training images; normal, anomaly : (m, d), of new images.
    """
    new = {"normal": normal, "anomaly": anomaly}
    by_scorer = {"cosine": {name: scores.cosine_score(train, x) for name, x in new.items()}}
    for k in [5, 20]:
        lof = LocalOutlierFactor(n_neighbors=k, algorithm="brute", novelty=True).fit(train)
        by_scorer[f"lof{k}"] = {name: scores.novelty_score(lof, x) for name, x in new.items()}
    return {name: scores.auroc(of["normal"], of["anomaly"]) for name, of in by_scorer.items()}


def run_trial(name, settings, data, models):
    """Train one head on one draw and score the test images; the network of seed 0 is kept, in `models/NAME.keras`."""
    started = time.perf_counter()
    recipe = Recipe(**settings["recipe"])
    drawn = draw(*(settings[key] for key in ["dataset", "normal", "anomaly", "seed", "legacy", "smoke"]), data)
    keras.utils.set_random_seed(settings["seed"])  # of MobileNetV2 without weights: other layers have their own seeds
    keras.config.set_dtype_policy(training.POLICIES[settings["precision"]])
    training_network, network = build(settings, drawn.x_train.shape[1:])
    training.compile_for_logits(training_network, optimizer_of(recipe, len(drawn.x_train)))
    schedule = {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "seed": settings["seed"]}
    loss = training.fit_in_silence(training_network, drawn.x_train, drawn.y_train, **schedule, with_labels=True)
    images = [drawn.x_train[drawn.is_normal], drawn.x_normal, drawn.x_anomaly]
    train, normal, anomaly = (directions(network, x, recipe.mirror) for x in images)
    _, prediction = features.embed(network, drawn.x_val)
    metrics = {
        "auroc": auroc_by_scorer(train, normal, anomaly),
        "val_accuracy": float((prediction == drawn.y_val).mean()),
    }
    if isinstance(network.get_layer("head"), heads.AdaCos):
        metrics["scale"] = float(network.get_layer("head").scale)
    if settings["seed"] == 0:
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        networks.save_network(network, models / f"{name}.keras")
    keras.backend.clear_session()
    return records.new_record(name, settings, metrics, started, loss=loss)


# %% The command


def main():
    parser = cli.Parser(__doc__, out=files.PROJECT / "runs")
    parser.add_argument("--dataset", choices=list(datasets.CLASS_NAMES), help="default: the article's two pairs")
    parser.add_argument("--normal", metavar="CLASS", help="the normal class, name or number; default: the article's")
    parser.add_argument("--anomaly", metavar="CLASS", help="the class that is never seen in training")
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS), help="default: all")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", help="draws a head, 10; with --smoke 1")
    parser.add_argument("--backbone", choices=["cnn", "mobilenetv2"], default="cnn", help="%(default)s")
    parser.add_argument("--weights", help="of mobilenetv2: imagenet (default), none or a file")
    parser.add_argument("--epochs", type=cli.positive_int, help="passes over the training images, the recipe's")
    parser.add_argument("--legacy", action="store_true", help="a control: labels and norms as in the published code")
    sweep.add_flags(parser)
    args = parser.parse()
    for record in sweep.run("experiments.heads", plan(args), args, "article2"):
        aurocs = ", ".join(f"{scorer} {auroc:.3f}" for scorer, auroc in record["metrics"]["auroc"].items())
        print(f"{record['name']}: AUROC {aurocs}")


if __name__ == "__main__":
    main()

"""Article 2: six heads for anomaly detection. Can a class be told from one that the network never saw?

    python -m experiments.heads                  # the article's two pairs, six heads, ten draws
    python -m experiments.heads --seeds 3
    python -m experiments.heads --dataset mnist --normal 4 --anomaly 9 --seeds 3
    python -m experiments.heads --backbone mobilenetv2 --use frozen --width 1.0 --size 160
    python -m experiments.heads --references none --heads l2softmax arcface adacos
    python -m experiments.heads --legacy         # with the faults of the published code, as a control
    python -m experiments.heads --smoke          # a try on small draws, a minute

The *normal* class and 1,000 images each of eight *reference* classes train a classifier of nine classes. A detector
that knows the normal training images alone then tells new normal images from those of the tenth class, the *anomaly*.
Source of the protocol: https://qiita.com/shinmura0/items/d2a3a46c3fb287a1ea0e

--backbone mobilenetv2 starts from ImageNet weights: *fine-tuned* with a head; only its *upper blocks* trained, on
maps that the frozen ones give once for all heads of a draw; or *frozen*, where a dense layer and a head learn from its
features, which are also judged as they are (*features*, without any training).
--references none trains on the normal images alone: their four turns and mirror images are the classes. With
--views 4 each class's turns are classes of their own beside reference classes, too.

Reads   data/fashion-mnist, data/mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/article2.jsonl                          a line a trial, as it ends
        runs/models/article2/PAIR/VARIANT/HEAD-seed0.keras   each head's first network, if a trial has one head
Repeating the command continues with what is missing.
"""

import math
import re
import time
from dataclasses import asdict, dataclass, replace

import keras
import numpy as np
import tensorflow as tf
from scipy import special
from sklearn.neighbors import LocalOutlierFactor

from common import cli, records, training
from experiments import building, mobilenet, sweep
from experiments.draws import draw, in_views, normal_alone, views
from hypersphere import datasets, heads, layers, networks, scores
from hypersphere.errors import InputError
from hypersphere.model import MetricModel

# The article's arguments; CosFace, which it does not have, gets ArcFace's.
HEADS = {
    "softmax": (keras.layers.Dense, {}),
    "l2softmax": (heads.L2Softmax, {"alpha": 5.0}),
    "cosface": (heads.CosFace, {"scale": 30.0, "margin": 0.05}),
    "arcface": (heads.ArcFace, {"scale": 30.0, "margin": 0.05}),
    "adacos": (heads.AdaCos, {}),
    "adacos-dynamic": (heads.AdaCos, {"dynamic": True}),
}


@keras.saving.register_keras_serializable(package="hypersphere-experiments")
class WholeNormsL2Softmax(heads.L2Softmax):
    """L2-softmax with a fault of the published code: one norm for the whole batch."""

    def call(self, embedding):
        return keras.ops.matmul(self.alpha * layers.unit(embedding, axis=None), self.kernel) + self.bias


@keras.saving.register_keras_serializable(package="hypersphere-experiments")
class WholeNormsArcFace(heads.ArcFace):
    """ArcFace with a fault of the published code: one norm for the whole batch, and one for the whole kernel."""

    def cosines(self, embedding):
        return keras.ops.matmul(layers.unit(embedding, axis=None), layers.unit(self.kernel, axis=None))


@keras.saving.register_keras_serializable(package="hypersphere-experiments")
class WholeNormsAdaCos(heads.AdaCos):
    """AdaCos with the same fault."""

    cosines = WholeNormsArcFace.cosines


LEGACY_HEADS = {"l2softmax": WholeNormsL2Softmax, "arcface": WholeNormsArcFace, "adacos": WholeNormsAdaCos}
ARTICLE_PAIRS = {"fashion-mnist": (7, 9), "cifar10": (4, 7)}  # sneaker, ankle boot; deer, horse
USES = ["fine-tuned", "upper-blocks", "frozen", "features"]  # of MobileNetV2
BATCH = 50  # images at a time through a network, for the memory of large ones
FROZEN_LAYERS = ["block_6_expand_relu", "block_13_expand_relu", "out_relu"]


# %% The recipes


@dataclass(frozen=True)
class Recipe:
    """How a backbone is trained; a record keeps all of it."""

    width: float  # filters of the cnn's first convolution, or MobileNetV2's share of filters
    epochs: int
    batch_size: int = 128
    rate: float = 1e-2  # the highest of a one-cycle schedule
    weight_decay: float = 0.05
    mirror: bool = True  # learn from mirror images, and look at both sides of a new one
    shift: int = 0  # pixels, in each direction
    size: int | None = None  # pixels of the images that MobileNetV2 gets


CNN_RECIPES = {
    "mnist": Recipe(width=32, epochs=12, mirror=False),
    "fashion-mnist": Recipe(width=32, epochs=12),
    "cifar10": Recipe(width=32, epochs=16, shift=2),
}


def recipe_of(args, dataset):
    """The recipe that the flags ask for."""
    if args.backbone == "cnn":
        recipe = CNN_RECIPES[dataset]
    elif args.use == "fine-tuned":
        recipe = Recipe(args.width, size=args.size, epochs=8, rate=1e-3)
    elif args.use == "upper-blocks":
        recipe = Recipe(args.width, size=args.size, epochs=2, rate=1e-3)
    else:  # mirror images cost as much as the images; the frozen heads are compared without them
        recipe = Recipe(args.width, size=args.size, epochs=15, rate=1e-3, mirror=args.use == "features")
    if args.views == 8:
        recipe = replace(recipe, mirror=False)  # mirror images are classes
    return replace(recipe, epochs=args.epochs or (2 if args.smoke else recipe.epochs))


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


def choose_weights(args):
    """What the flags say of MobileNetV2's weights, as settings; for `cnn` there are none.

    The network is built once now: ImageNet's weights are downloaded before several trials do it at once. Raises
    InputError if they cannot be had or do not fit, or if flags do not go together.
    """
    if args.backbone == "cnn":
        for flag in ["weights", "use", "width", "size"]:
            if getattr(args, flag):
                raise InputError(f"--{flag}: of MobileNetV2; give --backbone mobilenetv2 with it")
        return {}
    args.use, args.width, args.size = args.use or "fine-tuned", args.width or 0.5, args.size or 96
    if args.legacy:
        raise InputError("--legacy: a control of cnn; leave --backbone out")
    if args.views > 1 and args.use != "fine-tuned":
        flag = "--references none" if args.references == "none" else f"--views {args.views}"
        raise InputError(f"{flag}: no views with --use {args.use}; give --use fine-tuned")
    weights = args.weights or "imagenet"
    network = mobilenet.mobilenetv2(args.width, args.size, weights)
    sha256 = "" if weights == "none" else mobilenet.weights_sha256(network)
    return {"use": args.use, "weights": weights, "weights_sha256": sha256}


def variant_name(args):
    """A word for all that is the same in the trials of a run but the pair, the head and the seed."""
    parts = [args.backbone]
    if args.backbone == "mobilenetv2":
        parts += [str(args.width), str(args.size), args.use.replace("-", "_")]
    parts += ["self_supervised"] * (args.references == "none") + [f"{args.views}_views"] * (args.views > 1)
    parts += ["test"] * (args.split == "test")
    if args.without:
        parts.append("without_" + re.sub(r"\W+", "_", args.without.lower()))
    return "-".join([*parts, *["legacy"] * args.legacy])


def plan(args):
    """The trials, {name: settings}: every head learns from the same draws.

    A trial is one head on one draw, or all heads on one draw, if they share what a frozen part gives.
    """
    args.views = args.views or (8 if args.references == "none" else 1)
    if args.references == "none" and args.views < 4:
        raise InputError(f"--references none --views {args.views}: the views are the classes; give 4 or 8")
    common = {"backbone": args.backbone, "split": args.split, "references": args.references, "views": args.views}
    if args.legacy and not set(args.heads) <= set(LEGACY_HEADS):
        raise InputError(f"--legacy: the published code has {', '.join(LEGACY_HEADS)}; name these with --heads")
    common |= choose_weights(args) | {"precision": args.precision, "legacy": args.legacy, "smoke": args.smoke}
    trials = {}
    for dataset, (normal, anomaly) in choose_pairs(args.dataset, args.normal, args.anomaly, args.data).items():
        classes = [datasets.CLASS_NAMES[dataset][number] for number in [normal, anomaly]]
        pair = "-".join(re.sub(r"\W+", "_", name.lower()) for name in [dataset, *classes])
        decided = common | {"dataset": dataset, "normal": normal, "anomaly": anomaly}
        decided["recipe"] = asdict(recipe_of(args, dataset))
        if args.without:
            decided["without"] = class_number(dataset, args.without)
        if dataset == "cifar10":
            key = "cifar10_train_sha256" if args.split == "train" else "cifar10_sha256"
            decided[key] = datasets.cifar10_sha256(args.data, sweep.CIFAR10_SPLITS[key])
        heads_of_trial = {head: {"head": head, "head_arguments": HEADS[head][1]} for head in dict.fromkeys(args.heads)}
        if args.use in ("frozen", "upper-blocks"):
            heads_of_trial = {"draw": {"heads": {head: HEADS[head][1] for head in heads_of_trial}}}
        elif args.use == "features":
            heads_of_trial = {"draw": {"heads": {}}}
        for seed in range(args.seeds or (1 if args.smoke else 10)):
            for name, of_head in heads_of_trial.items():
                trials[f"{pair}/{variant_name(args)}/{name}-seed{seed}"] = decided | of_head | {"seed": seed}
    return trials


# %% A trial: draw, network, training, scores


def draw_of(settings, data):
    """The images of a trial."""
    pair = [settings[key] for key in ["dataset", "normal", "anomaly", "seed"]]
    flags = {key: settings[key] for key in ["split", "legacy", "smoke"]}
    drawn = draw(*pair, **flags, without=settings.get("without"), data=data)
    if settings["references"] == "none":
        drawn = normal_alone(drawn)
    return in_views(drawn, settings["views"])


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


def build(settings, image_shape, n_classes):
    """The network to train and the network to use, both images to logits.

    They share their layers but for the augmentation, which the network to use does not have: called
    without `training=False`, Keras's random layers would change the images that it is given.
    """
    recipe, seeds = Recipe(**settings["recipe"]), building.layer_seeds(settings["seed"])
    image = keras.Input(image_shape, name="image")
    augmented = augment(image, recipe, seeds)
    plain = keras.Input(image_shape, name="image")
    if settings["backbone"] == "cnn":
        filters = [recipe.width, 2 * recipe.width, 4 * recipe.width]
        embedding = building.convolutional_embedding(plain, seeds, filters=filters, units=256, batch_norm=True)
    else:
        pretrained = mobilenet.mobilenetv2(recipe.width, recipe.size, settings["weights"])
        embedding = mobilenet.mobilenetv2_embedding(plain, pretrained, recipe.size)
    head = head_of(settings["head"], settings["head_arguments"], n_classes, seeds, settings["legacy"])
    encoder = keras.Model(plain, embedding)
    return trainable(keras.Model(image, encoder(augmented)), head), keras.Model(plain, head(embedding))


def head_of(name, arguments, n_classes, seeds, legacy=False):
    """A head by its name, the layer "head", in float32."""
    kind = LEGACY_HEADS[name] if legacy else HEADS[name][0]
    initializer = keras.initializers.GlorotUniform(next(seeds))
    return kind(n_classes, kernel_initializer=initializer, dtype="float32", name="head", **arguments)


def trainable(encoder, head):
    """A model that learns with a head, which may be a plain Dense layer."""
    return MetricModel(encoder, head) if isinstance(head, heads.Head) else keras.Sequential([encoder, head])


def train(network, x, y, recipe, seed):
    """Train a network with AdamW at a one-cycle rate; returns each epoch's loss."""
    steps = recipe.epochs * math.ceil(len(x) / recipe.batch_size)
    rate = training.one_cycle(recipe.rate, steps)
    training.compile_for_logits(network, keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay))
    schedule = {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "seed": seed}
    return [row["loss"] for row in training.fit(network, (x, y), **schedule)]


def sides(x, mirrored):
    """Images, (n, h, w, c), as a list: alone, or with their mirror images."""
    return [x, x[:, :, ::-1]] if mirrored else [x]


def look(network, of_sides):
    """What a network says of images: directions of their embeddings, (n, d), and log-probabilities, (n, classes).

    of_sides : the images, alone or with their mirror images; the directions and the logits are averaged.
    """
    model = keras.Model(network.input, {"embedding": network.get_layer("embedding").output, "logits": network.output})
    outputs = [model.predict(x, BATCH, verbose=0) for x in of_sides]
    logits = sum(of_side["logits"] for of_side in outputs) / len(outputs)
    return mean_direction([of_side["embedding"] for of_side in outputs]), special.log_softmax(logits, axis=1)


def mean_direction(of_sides):
    """The direction of the mean of several embeddings' directions; of_sides : list of (n, d). Returns (n, d)."""
    return scores.directions(sum(scores.directions(embedding) for embedding in of_sides))


def auroc_by_scorer(*of_views):
    """AUROC with each scorer of directions, {name: value}; all of them see the same directions.

    of_views : (train, normal, anomaly) for each view of the images, whose scores are added. train : (n, d), of the
    normal class's training images; normal, anomaly : (m, d), of new images.
    """
    totals = {}
    for known, *new in of_views:
        by_scorer = {"cosine": [scores.cosine_score(known, x) for x in new]}
        for k in [5, 20]:
            lof = LocalOutlierFactor(n_neighbors=k, algorithm="brute", novelty=True).fit(known)
            by_scorer[f"lof{k}"] = [scores.novelty_score(lof, x) for x in new]
        for name, of_new in by_scorer.items():
            totals[name] = [total + of for total, of in zip(totals.get(name, [0, 0]), of_new, strict=True)]
    return {name: scores.auroc(*of_new) for name, of_new in totals.items()}


def metrics_of(of_views, labels, of_val, y_val):
    """What was seen comes to: AUROC by scorer, and accuracy on validation images.

    of_views : for each view of the images what `look` gives for "known", the normal class's training images, for new
    "normal" ones and for the "anomaly"; of_val : for validation images. labels : the class of normal images in each
    view; to the scorers of directions comes "probability", minus the log-probability of that class.
    """
    directions = [[of_view[of_set][0] for of_set in ["known", "normal", "anomaly"]] for of_view in of_views]
    surprise = [
        -sum(of_view[of_set][1][:, label] for of_view, label in zip(of_views, labels, strict=True))
        for of_set in ["normal", "anomaly"]
    ]
    auroc = auroc_by_scorer(*directions) | {"probability": scores.auroc(*surprise)}
    return {"auroc": auroc, "val_accuracy": float((of_val[1].argmax(axis=1) == y_val).mean())}


def scale_of(network):
    """AdaCos's scale after the training, as a dictionary; empty for other heads."""
    head = network.get_layer("head")
    return {"scale": float(head.scale)} if isinstance(head, heads.AdaCos) else {}


def together(of_heads):
    """What several heads see, as that of one: their directions side by side, the mean of their log-probabilities.

    The cosine of two images is then the mean of the heads' cosines. of_heads : for each head, {set: what it sees}.
    """
    return {
        of_set: (
            np.concatenate([of_head[of_set][0] for of_head in of_heads], axis=1) / math.sqrt(len(of_heads)),
            np.mean([of_head[of_set][1] for of_head in of_heads], axis=0),
        )
        for of_set in of_heads[0]
    }


def run_trial(name, settings, data, models):
    """Train on one draw and score its new images; the network of seed 0 is kept, in `models/NAME.keras`."""
    started = time.perf_counter()
    keras.utils.set_random_seed(settings["seed"])  # of MobileNetV2 without weights: other layers have their own seeds
    keras.config.set_dtype_policy(training.POLICIES[settings["precision"]])
    trial = TRIALS[settings.get("use", "fine-tuned")]
    network, metrics, more = trial(settings, draw_of(settings, data))
    if network and settings["seed"] == 0:
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        networks.save_network(network, models / f"{name}.keras")
    keras.backend.clear_session()
    return records.new_record(name, settings, metrics, started, **more)


def trained_trial(settings, drawn):
    """Train a backbone with one head."""
    recipe = Recipe(**settings["recipe"])
    training_network, network = build(settings, drawn.x_train.shape[1:], drawn.n_classes)
    loss = train(training_network, drawn.x_train, drawn.y_train, recipe, settings["seed"])
    n_views = settings["views"]
    by_set = {"known": np.split(drawn.x_train[drawn.is_normal], n_views)}
    by_set |= {"normal": views(drawn.x_normal, n_views), "anomaly": views(drawn.x_anomaly, n_views)}
    of_views = [
        {of_set: look(network, sides(of[view], recipe.mirror)) for of_set, of in by_set.items()}
        for view in range(n_views)
    ]
    metrics = metrics_of(of_views, np.unique(drawn.y_train[drawn.is_normal]), look(network, [drawn.x_val]), drawn.y_val)
    return network, metrics | scale_of(network), {"loss": loss}


def frozen_trial(settings, drawn):
    """Judge the features of a frozen MobileNetV2, each layer's alone, and train heads on all of them together."""
    recipe = Recipe(**settings["recipe"])
    by_set = frozen_features(recipe, settings["weights"], drawn)
    by_head = {}
    for layer in FROZEN_LAYERS:
        of_layer = {of_set: mean_direction([side[layer] for side in of_sides]) for of_set, of_sides in by_set.items()}
        known = of_layer["train"][drawn.is_normal]
        by_head[layer] = {"auroc": auroc_by_scorer((known, of_layer["normal"], of_layer["anomaly"]))}
    joined = {
        of_set: np.stack([np.concatenate([side[layer] for layer in FROZEN_LAYERS], axis=1) for side in of_sides])
        for of_set, of_sides in by_set.items()
    }

    def embed(x, seeds):
        initializer = keras.initializers.GlorotUniform(next(seeds))
        return keras.layers.Dense(256, kernel_initializer=initializer, dtype="float32", name="embedding")(x)

    learned, losses = train_heads(settings, drawn, joined, embed)
    return None, {"heads": by_head | learned}, {"loss": losses}


def frozen_features(recipe, weights, drawn):
    """The features of a draw's sets, {set: [{layer: (n, d)} of each side]}, standardised by the training images'."""
    pretrained = mobilenet.mobilenetv2(recipe.width, recipe.size, weights)
    model = mobilenet.mobilenetv2_features(drawn.x_train.shape[1:], pretrained, recipe.size, FROZEN_LAYERS)
    by_set = {
        of_set: [model.predict(side, BATCH, verbose=0) for side in sides(x, recipe.mirror)]
        for of_set, x in drawn.images().items()
    }
    for layer in FROZEN_LAYERS:
        of_train = np.concatenate([side[layer] for side in by_set["train"]])
        mean, deviation = of_train.mean(axis=0), of_train.std(axis=0) + 1e-6
        for side in (side for of_sides in by_set.values() for side in of_sides):
            side[layer] = (side[layer] - mean) / deviation
    return by_set


def upper_trial(settings, drawn):
    """Train MobileNetV2's last four blocks with each head, on the maps that the frozen ones give, computed once."""
    recipe, shape = Recipe(**settings["recipe"]), drawn.x_train.shape[1:]

    def halves():
        pretrained = mobilenet.mobilenetv2(recipe.width, recipe.size, settings["weights"])
        return mobilenet.mobilenetv2_halves(shape, pretrained, recipe.size)

    lower = halves()[0]
    maps = {
        of_set: np.stack([lower.predict(side, BATCH, verbose=0)["maps"] for side in sides(x, recipe.mirror)])
        for of_set, x in drawn.images().items()
    }

    def embed(x, seeds):
        upper = halves()[1]
        return keras.layers.GlobalAveragePooling2D(dtype="float32", name="embedding")(upper(x))

    learned, losses = train_heads(settings, drawn, maps, embed)
    return None, {"heads": learned}, {"loss": losses}


def train_heads(settings, drawn, of_sets, embed):
    """Train each head of a trial on what a frozen part gives; returns metrics and losses, {head: value}.

    Several heads are also judged together. of_sets : {set: (sides, n, ...)}, of which all sides are learned from.
    embed : what is learned below a head, a function of the symbolic input and of the layers' seeds.
    """
    recipe, losses, seen, scales = Recipe(**settings["recipe"]), {}, {}, {}
    shape = of_sets["train"].shape[2:]
    x_train = tf.constant(of_sets["train"].reshape(-1, *shape))  # once, where each head's training would copy an array
    y_train = np.tile(drawn.y_train, len(of_sets["train"]))
    looked_at = of_sets | {"known": of_sets["train"][:, drawn.is_normal]}
    del looked_at["train"]
    for name, arguments in settings["heads"].items():
        seeds = building.layer_seeds(settings["seed"])
        x = keras.Input(shape, dtype=x_train.dtype.name)
        embedding, head = embed(x, seeds), head_of(name, arguments, drawn.n_classes, seeds)
        learner = trainable(keras.Model(x, embedding), head)
        losses[name] = train(learner, x_train, y_train, recipe, settings["seed"])
        network = keras.Model(x, head(embedding))
        seen[name] = {of_set: look(network, of_sides) for of_set, of_sides in looked_at.items()}
        scales[name] = scale_of(network)
    if len(seen) > 1:
        seen["together"] = together(list(seen.values()))
    return {
        name: metrics_of([of], [drawn.n_classes - 1], of["val"], drawn.y_val) | scales.get(name, {})
        for name, of in seen.items()
    }, losses


TRIALS = {"fine-tuned": trained_trial, "upper-blocks": upper_trial, "frozen": frozen_trial, "features": frozen_trial}


# %% The command


def main():
    parser = cli.Parser(__doc__, out=cli.PROJECT / "runs")
    parser.add_argument("--dataset", choices=list(datasets.CLASS_NAMES), help="default: the article's two pairs")
    parser.add_argument("--normal", metavar="CLASS", help="the normal class, name or number; default: the article's")
    parser.add_argument("--anomaly", metavar="CLASS", help="the class that is never seen in training")
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS), help="default: all")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", help="draws a head, 10; with --smoke 1")
    parser.add_argument("--backbone", choices=["cnn", "mobilenetv2"], default="cnn", help="%(default)s")
    parser.add_argument("--use", choices=USES, help="of mobilenetv2, fine-tuned")
    parser.add_argument("--width", type=float, choices=[0.35, 0.5, 1.0], help="of mobilenetv2, 0.5")
    parser.add_argument("--size", type=int, choices=[96, 128, 160, 192, 224], help="of its images, 96 pixels")
    parser.add_argument("--weights", help="of mobilenetv2: imagenet (default), none or a file")
    parser.add_argument("--references", choices=["eight", "none"], default="eight", help="classes, %(default)s")
    parser.add_argument("--views", type=int, choices=[1, 4, 8], help="turns and mirror images that are classes, 1 or 8")
    parser.add_argument("--split", choices=["train", "test"], default="train", help="of the new images, %(default)s")
    parser.add_argument("--without", metavar="CLASS", help="left out altogether, to choose settings without its images")
    parser.add_argument("--epochs", type=cli.positive_int, help="passes over the training images, the recipe's")
    parser.add_argument("--legacy", action="store_true", help="a control: labels and norms as in the published code")
    sweep.add_flags(parser)
    args = parser.parse()
    for record in sweep.run("experiments.heads", plan(args), args, "article2"):
        for head, metrics in record["metrics"].get("heads", {"": record["metrics"]}).items():
            aurocs = ", ".join(f"{scorer} {auroc:.3f}" for scorer, auroc in metrics["auroc"].items())
            print(f"{' '.join([record['name'], head]).strip()}: AUROC {aurocs}")


if __name__ == "__main__":
    main()

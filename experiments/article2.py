"""Article 2: which head makes a class that no network has seen stand apart?

    python -m experiments.article2                   # the article's two pairs, seven heads, ten draws
    python -m experiments.article2 --dataset mnist --normal 4 --anomaly 9 --draws 3
    python -m experiments.article2 --backbone mobilenetv2 --use upper-blocks --width 1.0 --size 128
    python -m experiments.article2 --backbone pixels # a baseline without a network
    python -m experiments.article2 --faults both     # a control: with the faults of the published code
    python -m experiments.article2 --smoke           # a try on small draws, a minute

The *normal* class and 1,000 images each of eight *reference* classes train a classifier. A detector that knows the
normal training images alone then tells new normal images from those of the tenth class, the *anomaly*.
--use: MobileNetV2 is fine-tuned; or its upper blocks alone, on what the frozen ones give once for all heads of a draw;
or its features are judged as they are. --references none: the normal class's four rotations and their mirror images are
the classes.

Reads   data/fashion-mnist, data/mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/article2.jsonl   a line a trial, as it ends; a second call runs those that are missing
Source of the protocol: https://qiita.com/shinmura0/items/d2a3a46c3fb287a1ea0e
"""

import itertools
import math
import re

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.neighbors import LocalOutlierFactor

from common import cli, plots, records, training
from experiments import building, mobilenet, sweep
from experiments import tables as shared
from hypersphere import datasets, heads, layers, scores
from hypersphere.errors import InputError

HEADS = building.HEADS | {"l2softmax": (heads.L2Softmax, {"alpha": 5.0}, "L2-softmax")}  # the article's alpha
NAMES = {name: title for name, (*_, title) in HEADS.items()}
NAMES |= {"block_13_expand_relu": "features of block 13", "no head": "no head", "grid": "ArcFace, other settings"}
SCORERS = {"cosine": "largest cosine", "lof5": "LOF, k = 5", "lof20": "LOF, k = 20"}
MEASURES = SCORERS | {"accuracy": "validation accuracy"}
WORDS = {"upper-blocks": "upper blocks trained", "features": "features alone", "none": "no reference classes"}
WORDS |= {"test": "new images of the test split", "cnn": "from scratch", "pixels": "pixels, no network"}
WORDS |= {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
PAIRS = {"sneaker": ("fashion-mnist", 7, 9), "deer": ("cifar10", 4, 7)}  # the article's: data set, normal, anomaly
FOUND = {"sneaker": "boots among sneakers", "deer": "horses among deer"}
RECIPE = {"width": 32, "epochs": 12, "rate": 1e-2, "mirror": True, "shift": 0, "size": None}
RECIPE |= {"batch_size": 128, "optimizer": "adamw", "weight_decay": 0.05}
ARTICLE_RECIPE = {"epochs": 10, "optimizer": "adam", "rate": 1e-4, "weight_decay": 0.0, "mirror": False}
RECIPES = {"mnist": {"mirror": False}, "fashion-mnist": {}, "cifar10": {"epochs": 16, "shift": 2}}  # from scratch
FIRST_FOR_CHOICES = 100  # draws from this seed on take no part in what is reported
BATCH = 50  # images at a time through a network, for the memory of large ones
EPOCHS = {"fine-tuned": 8, "upper-blocks": 2, "features": 0}  # of MobileNetV2
GRID = [{"scale": scale, "margin": margin} for scale in [8.0, 16.0, 30.0, 64.0] for margin in [0.0, 0.05, 0.2, 0.5]]
PLANNED = {  # before the runs: factors of heads' AUROC, by the largest cosine or "_lof20", with both faults "_both"
    "from scratch": {
        "ArcFace minus AdaCos": {"arcface": 1, "adacos": -1},
        "L2-softmax minus ArcFace": {"l2softmax": 1, "arcface": -1},
        "ArcFace, largest cosine minus LOF, k = 20": {"arcface": 1, "arcface_lof20": -1},
    },
    "fine-tuned": {
        "ArcFace minus AdaCos": {"arcface": 1, "adacos": -1},
        "ArcFace minus AdaCos, with the faults": {"arcface_both": 1, "adacos_both": -1},
        "the same, with the faults minus without": {"arcface_both": 1, "adacos_both": -1, "arcface": -1, "adacos": 1},
        "sub-cluster minus fixed AdaCos": {"subcluster": 1, "adacos": -1},
    },
}
LEAST_DRAWS = 5  # of a contrast, and of a verdict on one
ABOUT = 0.02  # AUROC: "as good as" means that the 95% interval of the difference does not fall below minus this
COLUMNS = ["pair", "way", "network", "use", "faults", "seed", "head", "scale", "margin", *MEASURES, "record"]
# The ten AUCs behind each of the article's boxes, with the scorer that it used for that head.
# Source: the author's notebook of https://qiita.com/shinmura0/items/d2a3a46c3fb287a1ea0e
ARTICLE_SCORERS = {"l2softmax": "lof5", "arcface": "cosine", "adacos": "cosine"}
ARTICLE_AUROC = {
    ("sneaker", "l2softmax"): [0.92, 0.94, 0.91, 0.96, 0.91, 0.91, 0.92, 0.93, 0.91, 0.88],
    ("sneaker", "arcface"): [0.93, 0.94, 0.94, 0.92, 0.94, 0.95, 0.94, 0.91, 0.95, 0.92],
    ("sneaker", "adacos"): [0.95, 0.93, 0.95, 0.90, 0.89, 0.90, 0.92, 0.95, 0.95, 0.95],
    ("deer", "l2softmax"): [0.83, 0.84, 0.86, 0.81, 0.84, 0.82, 0.84, 0.87, 0.79, 0.83],
    ("deer", "arcface"): [0.77, 0.80, 0.83, 0.83, 0.80, 0.82, 0.83, 0.81, 0.76, 0.80],
    ("deer", "adacos"): [0.83, 0.80, 0.81, 0.80, 0.80, 0.79, 0.82, 0.83, 0.78, 0.79],
}


class WholeNorms:
    """A fault of the published code: one norm for the whole batch, and one for all classes."""

    def cosines(self, embedding):
        return keras.ops.matmul(layers.unit(embedding, axis=None), layers.unit(self.kernel, axis=None))


FAULTY_HEADS = {name: type("FaultyHead", (WholeNorms, HEADS[name][0]), {}) for name in ["arcface", "adacos"]}


def choose_pairs(dataset, normal, anomaly, data):
    """The pairs that the flags ask for, [(data set, normal, anomaly)]: without a choice the article's."""
    pairs = [pair for pair in PAIRS.values() if dataset in (None, pair[0])]
    if dataset is None and sweep.cifar10_setting(data) is None:
        pairs.remove(PAIRS["deer"])
    if (normal, anomaly) == (None, None) and pairs:
        return pairs
    names = [name.lower() for name in datasets.CLASS_NAMES[dataset or "fashion-mnist"]]
    numbers = {name: number for number, name in enumerate(names)} | {str(number): number for number in range(10)}
    classes = [numbers.get(str(name).lower()) for name in [normal, anomaly]]
    if dataset is None or None in classes or classes[0] == classes[1]:
        raise InputError(f"give --dataset, --normal and --anomaly, two of its classes, such as {', '.join(names)}")
    return [(dataset, *classes)]


def choose_backbone(args):
    """The backbone's settings: MobileNetV2 is built now, as several trials at once must not download its weights."""
    for flag in ["weights", "use", "width", "size", "recipe"]:
        if args.backbone != "mobilenetv2" and getattr(args, flag):
            raise InputError(f"--{flag}: of MobileNetV2; give --backbone mobilenetv2 with it")
    use = "features" if args.backbone == "pixels" else args.use or "fine-tuned"
    if use != "fine-tuned" and (args.references == "none" or args.faults or args.grid or args.recipe):
        words = "not with --references none, --faults, --grid or --recipe"
        raise InputError(f"--backbone {args.backbone}, {use}: {words}; leave them out, or give --use fine-tuned")
    if use == "features" and args.heads:
        raise InputError("--backbone pixels and --use features train no head; leave --heads out, or give another")
    if args.backbone != "mobilenetv2":
        return {"backbone": args.backbone}
    width, size, weights = args.width or 0.5, args.size or 96, args.weights or "imagenet"
    network = mobilenet.mobilenetv2(width, size, weights)
    sha256 = "" if weights == "none" else training.network_key(network)
    recipe = RECIPE | {"width": width, "size": size, "epochs": EPOCHS[use], "rate": 1e-3}
    recipe |= ARTICLE_RECIPE if args.recipe == "article" else {}
    return {"backbone": "mobilenetv2", "use": use, "weights": weights, "weights_sha256": sha256, "recipe": recipe}


def plan(args):
    """The trials, {name: settings}: one head on one draw, or all heads on one draw if they share a frozen part."""
    chosen = {head: HEADS[head][1] for head in args.heads or (FAULTY_HEADS if args.faults else HEADS)}
    if args.faults and (args.references == "none" or not set(chosen) <= set(FAULTY_HEADS)):
        raise InputError(f"--faults: of {', '.join(FAULTY_HEADS)} with reference classes, as in the published code")
    backbone = choose_backbone(args)
    common = {name: getattr(args, name) for name in ["split", "references", "faults", "smoke"]}
    by_name = {head: {"head": head, "head_arguments": arguments} for head, arguments in chosen.items()}
    for point in GRID if args.grid else []:
        name = "arcface" if point == HEADS["arcface"][1] else "arcface-scale{scale:g}-margin{margin:g}".format(**point)
        by_name[name] = {"head": "arcface", "head_arguments": point}
    if args.backbone == "pixels" or args.use in ("features", "upper-blocks"):
        by_name = {"draw": {"heads": chosen if args.use == "upper-blocks" else {}}}
    trials = {}
    for dataset, normal, anomaly in choose_pairs(args.dataset, args.normal, args.anomaly, args.data):
        settings = {"recipe": RECIPE | RECIPES[dataset]} | backbone | common
        settings |= {"dataset": dataset, "normal": normal, "anomaly": anomaly}
        recipe = settings["recipe"] | ({"mirror": False} if args.references == "none" else {})  # they are classes
        settings["recipe"] = recipe | {"epochs": args.epochs or (2 if args.smoke else recipe["epochs"])}
        if dataset == "cifar10":
            datasets.find_cifar10(args.data)
            for split in {"train", args.split}:
                settings[records.CIFAR10_SETTINGS[split]] = datasets.cifar10_sha256(args.data, split)
        classes = [datasets.CLASS_NAMES[dataset][number] for number in [normal, anomaly]]
        pair = "-".join(re.sub(r"\W+", "_", words.lower()) for words in [dataset, *classes])
        folder = f"{pair}/{re.sub(r'[^0-9a-z.]+', '_', way_of(settings).lower())}"
        for seed in range(args.first, args.first + (args.draws or (1 if args.smoke else 10))):
            for name, head in by_name.items():
                trials[f"{folder}/{name}-seed{seed}"] = settings | head | {"seed": seed}
    return trials


def classes_of(settings):
    """The two classes of a trial, in words."""
    names = [datasets.CLASS_NAMES[settings["dataset"]][settings[role]].lower() for role in ["normal", "anomaly"]]
    return f"{WORDS[settings['dataset']]}: {names[0]} (normal) against {names[1]} (anomaly)"


def way_of(settings):
    """The network and what is special about its trials, in words."""
    recipe, keys = settings["recipe"], [settings.get("use"), settings["references"], settings["split"]]
    network = f"MobileNetV2, width {recipe['width']}, {recipe['size']} pixels"
    words = [WORDS.get(settings["backbone"], network)]
    words += ["the article's recipe"] if recipe.get("optimizer") == "adam" else []
    words += [WORDS.get(key, key) for key in keys if key not in (None, "eight", "train")]
    return ", ".join(words + ([f"faults: {settings['faults']}"] if settings.get("faults") else []))


def views(x):
    """Eight views of square images, (n, size, size, c) each, as a list: four rotations, then their mirror images."""
    return [np.rot90(side, number, axes=(1, 2)) for side in [x, x[:, :, ::-1]] for number in range(4)]


def draw(settings, data=None):
    """The images of a trial, {set: (n, h, w, c) float32 in [0, 1]}, and their labels from 0, {set: (n,) int64}.

    "known" are the normal class's images in "train", "normal" and "anomaly" the new ones: others of the training split
    or the first of the test split. Without references there are eight views of all, one after the other.
    """
    n_train, n_val, n_new = (60, 60, 60) if settings["smoke"] else (1000, 200, 1000)
    x, y = datasets.read_labelled(settings["dataset"], "train", data)
    rng, new_classes = np.random.default_rng(settings["seed"]), [settings["normal"], settings["anomaly"]]
    references = [number for number in range(10) if number not in new_classes]
    rows = [rng.permutation(np.flatnonzero(y == number)) for number in [*references, *new_classes]]
    new = [x[rows[-2][n_train + n_val :]], x[rows[-1]]]
    if settings["split"] == "test":
        x_test, y_test = datasets.read_labelled(settings["dataset"], "test", data)
        new = [x_test[y_test == number] for number in new_classes]
    train, val = [x[row[:n_train]] for row in rows[:-1]], [x[row[n_train:][:n_val]] for row in rows[:-1]]
    sets = {"train": train, "val": val, "known": train[-1:], "normal": [new[0][:n_new]], "anomaly": [new[1][:n_new]]}
    if settings["references"] == "none":
        sets = {name: views(parts[-1]) for name, parts in sets.items()}
    labels = {name: np.repeat(np.arange(len(sets[name])), len(sets[name][0])) for name in ["train", "val"]}
    if settings["faults"] in ("labels", "both"):  # as in the article: sneakers are labelled as shirts, deer as cats
        before = max((i for i, number in enumerate(references) if number < settings["normal"]), default=0)
        labels = {name: np.where(numbers == len(references), before, numbers) for name, numbers in labels.items()}
    images = {name: datasets.to_float(np.concatenate(parts)) for name, parts in sets.items()}
    return images, labels | {"known": labels["train"][-len(images["known"]) :]}


def frozen_part(settings, images):
    """What the frozen part of a backbone gives, {set: [(n, ...) of each side]}; of features, {layer: its columns}.

    If nothing is frozen, it is the images themselves. Features are standardised on the training images.
    """
    recipe, use = settings["recipe"], settings.get("use", "fine-tuned")
    inputs = {name: [x, x[:, :, ::-1]] if recipe["mirror"] else [x] for name, x in images.items()}
    if settings["backbone"] == "pixels":
        return {key: [x.reshape(len(x), -1) for x in sides] for key, sides in inputs.items()}, {"no head": slice(None)}
    if use == "fine-tuned":
        return inputs | {name: [images[name]] for name in ["train", "val"]}, {}
    network = mobilenet.mobilenetv2(recipe["width"], recipe["size"], settings["weights"])
    model = mobilenet.lower_part(keras.Input(images["train"].shape[1:]), network, recipe["size"], use)
    outputs = {name: [model.predict(x, BATCH, verbose=0) for x in sides] for name, sides in inputs.items()}
    if use == "upper-blocks":
        return outputs, {}
    train = np.concatenate(outputs["train"])
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-6
    ends = np.cumsum([layer.shape[-1] for layer in model.get_layer("features").input])
    columns = dict(zip(mobilenet.LAYERS, np.split(np.arange(ends[-1]), ends[:-1]), strict=True))
    return {name: [(x - mean) / deviation for x in sides] for name, sides in outputs.items()}, columns


def augment(image, recipe, seeds):
    """Images as a training sees them, (n, h, w, c) to the same: mirrored and shifted anew in each epoch."""
    x = image
    if recipe["mirror"]:
        x = keras.layers.RandomFlip("horizontal", seed=next(seeds))(x)
    if recipe["shift"]:
        moves = {"fill_mode": "nearest", "interpolation": "nearest", "seed": next(seeds)}
        x = keras.layers.RandomTranslation(*[recipe["shift"] / image.shape[1]] * 2, **moves)(x)
    return x


def learn(settings, x, y, name, arguments):
    """Train one head and what is below it on what `frozen_part` gives, (n, ...), and labels, (n,).

    Returns the network, without the augmentation, and each epoch's loss.
    """
    recipe, seeds = settings["recipe"], building.layer_seeds(settings["seed"])
    image, plain = (keras.Input(x.shape[1:], dtype=x.dtype.name) for _ in range(2))
    use = settings.get("use", "fine-tuned")
    augmented = augment(image, recipe, seeds) if use == "fine-tuned" else image
    if settings["backbone"] == "cnn":
        filters = [recipe["width"] * factor for factor in [1, 2, 4]]
        embedding = building.convolutional_embedding(plain, seeds, filters=filters, units=256, batch_norm=True)
    else:
        network = mobilenet.mobilenetv2(recipe["width"], recipe["size"], settings["weights"])
        embedding = mobilenet.embedding(plain, network, recipe["size"], use)
    kind = FAULTY_HEADS[name] if settings["faults"] in ("norms", "both") else HEADS[name][0]
    initializer = keras.initializers.GlorotUniform(next(seeds))
    head = kind(int(y.max()) + 1, kernel_initializer=initializer, name="head", **arguments)
    encoder = keras.Model(image, keras.Model(plain, embedding)(augmented))
    loss = building.fit(encoder, head, recipe, recipe["rate"], x, y, settings["seed"])
    return keras.Model(plain, head(embedding)), loss


def look(network, sides):
    """What a network says of images: directions of their embeddings, (n, d), and the classes that it gives, (n,).

    sides : the images, alone or with their mirror images; the directions and the logits are averaged.
    """
    model = keras.Model(network.input, [network.get_layer("embedding").output, network.output])
    embeddings, logits = zip(*(model.predict(x, BATCH, verbose=0) for x in sides), strict=True)
    return mean_direction(embeddings), sum(logits).argmax(axis=1)


def mean_direction(sides):
    """The direction of the mean of several embeddings' directions; sides : list of (n, d). Returns (n, d)."""
    return scores.directions(sum(scores.directions(embedding) for embedding in sides))


def auroc_by_scorer(known, normal, anomaly, n_views=1):
    """AUROC with each scorer of directions, {name: value}, the scores of an image's views added.

    known : (n_views * n, d), of the normal class's training images; normal, anomaly : (n_views * m, d), of new ones.
    """
    totals = {"cosine": 0, "lof5": 0, "lof20": 0}
    for train, *new in zip(*(np.split(part, n_views) for part in [known, normal, anomaly]), strict=True):
        x = np.concatenate(new)
        totals["cosine"] = totals["cosine"] + scores.cosine_score(train, x)
        for k in [5, 20]:
            lof = LocalOutlierFactor(n_neighbors=k, algorithm="brute", novelty=True).fit(train)
            totals[f"lof{k}"] = totals[f"lof{k}"] + scores.novelty_score(lof, x)
    n_normal = len(normal) // n_views
    return {name: scores.auroc(total[:n_normal], total[n_normal:]) for name, total in totals.items()}


def judge(seen, labels):
    """AUROC by scorer, and accuracy on validation images.

    seen : {set: what `look` gives}; labels : as `draw` gives them.
    """
    n_views = len(np.unique(labels["known"]))
    auroc = auroc_by_scorer(*(seen[name][0] for name in ["known", "normal", "anomaly"]), n_views)
    return {"auroc": auroc, "val_accuracy": float((seen["val"][1] == labels["val"]).mean())}


def arguments_by_head(settings):
    """The heads of a trial and their arguments, {name: arguments}."""
    return settings.get("heads", {settings.get("head"): settings.get("head_arguments")})


def run_trial(name, settings, data, models):
    """Train on one draw and score its new images."""
    keras.utils.set_random_seed(settings["seed"])  # of MobileNetV2 without weights: other layers have their own seeds
    images, labels = draw(settings, data)
    inputs, layer_columns = frozen_part(settings, images)
    metrics, losses = {}, {}
    for layer, columns in layer_columns.items():
        parts = [mean_direction([x[:, columns] for x in inputs[name]]) for name in ["known", "normal", "anomaly"]]
        metrics[layer] = {"auroc": auroc_by_scorer(*parts)}
    y = np.tile(labels["train"], len(inputs["train"]))
    x = tf.constant(np.concatenate(inputs.pop("train")))
    for head, arguments in arguments_by_head(settings).items():
        network, losses[head] = learn(settings, x, y, head, arguments)
        metrics[head] = judge({key: look(network, sides) for key, sides in inputs.items()}, labels)
        if HEADS[head][0] is heads.AdaCos:
            metrics[head]["scale"] = float(network.get_layer("head").scale)
    if "head" in settings:
        return {"metrics": metrics[head], "loss": losses[head]}
    return {"metrics": {"heads": metrics}, "loss": losses}


def metrics_by_head(record):
    """The metrics of a trial's heads, or of a network's layers, {name: metrics}."""
    return record["metrics"].get("heads", {record["settings"].get("head"): record["metrics"]})


def frame_of(records):
    """The records as a data frame: a row a head and draw. InputError if what is averaged is not alike.

    Draws of choices are left out.
    """
    rows = []
    for record in records:
        settings = record["settings"]
        if settings["seed"] >= FIRST_FOR_CHOICES:
            continue
        classes = tuple(settings[key] for key in ["dataset", "normal", "anomaly"])
        row = {"pair": next((name for name in PAIRS if PAIRS[name] == classes), "_".join(map(str, classes)))}
        row |= {"way": way_of(settings), "faults": settings.get("faults") or "", "use": settings.get("use", "")}
        row |= {"network": way_of(settings | {"faults": None}), "seed": settings["seed"], "record": record}
        arguments = arguments_by_head(settings)
        for head, metrics in metrics_by_head(record).items():
            own = arguments.get(head, {})
            is_of_grid = head == "arcface" and own != HEADS["arcface"][1]
            row |= {"scale": None, "margin": None} | own | {"head": "grid" if is_of_grid else head}
            rows.append(row | metrics["auroc"] | {"accuracy": metrics.get("val_accuracy")})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for _, group in frame.groupby(["pair", "way"]):
        used = {id(record): record for record in group.record}  # a line may have several heads
        shared.require_alike(list(used.values()), free=["head", "heads", "head_arguments", "weights"])
    frame = frame[frame["head"].isin(NAMES)]
    ranks = {"pair": [*PAIRS, *frame.pair].index, "head": [*NAMES].index}
    order = ["pair", "use", "way", "head", "seed"]
    return frame.sort_values(order, key=lambda column: column.map(ranks.get(column.name, lambda value: value)))


def article_frame():
    """The article's numbers as rows of such a frame."""
    frame = pd.DataFrame(ARTICLE_AUROC).melt(var_name=["pair", "head"]).assign(way="the article")
    by_scorer = frame.assign(scorer=frame["head"].map(ARTICLE_SCORERS)).pivot(columns="scorer", values="value")
    return frame.join(by_scorer).reindex(columns=COLUMNS)


def fine_tuned(frame):
    """The rows of fine-tuned networks: of one network, that of most trials, if there are several."""
    return frame[frame.network.isin(frame.network[frame.use == "fine-tuned"].mode()[:1])]


def records_of(frame):
    """The records behind these rows."""
    return list({record["name"]: record for record in frame.record.dropna()}.values())


def auroc(frame, head, scorer):
    """AUROC of one head with one scorer, a series by draw."""
    return frame[frame["head"] == head].set_index("seed")[scorer]


def auroc_table(frame, measures):
    """Mean ± sd over the draws: a row a network and head, a column a pair and measure.

    Beside the article's numbers, the scorer that it used for a head is bold.
    """
    n = int(frame.groupby(["pair", "way", "head"]).seed.nunique().max())
    columns = [(pair, measure) for pair in frame.pair.unique() for measure in measures]
    rows, last, has_article = [], None, "the article" in set(frame.way)
    for (way, head), group in frame.groupby(["way", "head"], sort=False):
        row = ["" if way == last else way, NAMES[head]]
        for pair, measure in columns:
            text = shared.cell(group[group.pair == pair][measure].dropna(), n, 3)
            row.append(f"**{text}**" if has_article and text and ARTICLE_SCORERS.get(head) == measure else text)
        rows.append(row)
        last = way
    header = ["AUROC", "", *(f"{pair}, {MEASURES[measure]}" for pair, measure in columns)]
    return shared.markdown(header, rows, shared.caption(records_of(frame), n, "draw", cifar10=True))


def contrasts(frame, planned):
    """The Markdown of planned contrasts, as far as their heads ran."""
    found, rows = [], frame[frame.pair.isin(PAIRS)].assign(name=frame["head"] + ("_" + frame.faults).replace("_", ""))
    terms = rows.pivot_table([*SCORERS], ["pair", "seed"], "name", sort=False)
    terms.columns = [f"{name}_{scorer}".removesuffix("_cosine") for scorer, name in terms.columns]
    for title, factors in planned.items():
        differences = (terms.reindex(columns=[*factors]) @ pd.Series(factors)).dropna()
        found += [(title, pair, values.to_numpy()) for pair, values in differences.groupby("pair", sort=False)]
    return shared.contrasts_table(found, "pair", "AUROC", "draw", records_of(frame), True, LEAST_DRAWS)


def grid_differences(frame):
    """ArcFace's AUROC minus AdaCos's on the same draws of sneakers, (4 scales, 4 margins); None if one was not run."""
    rows = frame[(frame.way == "from scratch") & (frame.pair == "sneaker")]
    arcface = rows[rows["head"].isin(["arcface", "grid"])].pivot_table("cosine", "seed", ["scale", "margin"]).dropna()
    differences = arcface.sub(auroc(rows, "adacos", "cosine"), axis=0).dropna()
    return differences if differences.shape[1] == len(GRID) and len(differences) else None


def compared(frame):
    """What claims are compared with, {words: rows}: fine-tuned networks, without and with the faults; small ones."""
    usual = frame[frame["head"] != "grid"]
    tuned = fine_tuned(usual)
    found = {"": tuned[tuned.faults == ""], ", with the faults": tuned[tuned.faults != ""]}
    return found | {", from scratch": usual[usual.way == "from scratch"]}


def numbers_claim(pair, words, rows, n):
    """The article's AUROC of each head by its own scorer beside ours, as a row of `claims`; "-" for one not run."""
    ours = {head: auroc(rows, head, scorer).to_numpy() for head, scorer in ARTICLE_SCORERS.items()}
    theirs = {head: np.mean(ARTICLE_AUROC[pair, head]) for head in ours}
    tests = [shared.number_holds(values, theirs[head], 2, 1) for head, values in ours.items() if len(values)]
    article = " / ".join(f"{theirs[head]:.3f}" if len(values) else "-" for head, values in ours.items())
    cells = " / ".join(shared.cell(values, n, 3) or "-" for values in ours.values())
    return [f"Heads find {FOUND[pair]}{words}", "AUROC", article, cells, shared.verdict(tests)]


def comparison_claim(pair, words, rows, n):
    """Whether AdaCos is as good as ArcFace by the largest cosine, as a row of `claims`; None of too few draws."""
    arcface, adacos = (auroc(rows, head, "cosine") for head in ["arcface", "adacos"])
    difference = (adacos - arcface).dropna()
    if len(difference) < LEAST_DRAWS:
        return None
    lower, upper = difference.mean() + np.array([-1, 1]) * shared.half_width(difference)
    theirs = " → ".join(f"{np.median(ARTICLE_AUROC[pair, head]):.3f}" for head in ["arcface", "adacos"])
    ours = " → ".join(f"{values[difference.index].median():.3f}" for values in [arcface, adacos])
    ours += f", {difference.mean():+.3f} [{lower:+.3f} to {upper:+.3f}]{shared.note(difference, n)}"
    verdict = shared.verdict([lower > -ABOUT, upper > 0 or lower > -ABOUT])
    return ["AdaCos is as good as ArcFace", f"{pair}{words}", theirs, ours, verdict]


def claims(frame):
    """The article's claims that were run: rows [claim, how it is measured, the article's number, ours, verdict]."""
    found, differences = compared(frame), grid_differences(frame)
    n = pd.concat(found.values()).seed.nunique()
    parts = [(pair, words, rows[rows.pair == pair], n) for words, rows in found.items() for pair in PAIRS]
    rows = [numbers_claim(*part) for part in parts if "fine-tuned" in set(part[2].use)]
    rows += filter(None, (comparison_claim(*part) for part in parts))
    if differences is not None:
        means, settings = differences.mean(), f"ArcFace ({len(GRID)} settings) minus AdaCos"
        ours = f"above in {(means > 0).sum()} of {len(GRID)}: {means.min():+.3f} to {means.max():+.3f}"
        verdict = shared.verdict([(means > 0).sum() <= len(GRID) / 2])
        measure = f"AUROC, {settings}, sneaker, from scratch, {len(differences)} draws"
        rows.append(["AdaCos needs no tuning", measure, "in words", ours, verdict])
    if rows:
        scales = [math.sqrt(2) * math.log(n - 1) for n in [2, 3]]
        measure = "its scale, √2 ln(C - 1), for C = 2 and C = 3 classes"
        ours, verdict = " and ".join(f"{scale:.2f}" for scale in scales), shared.verdict([scales[0] == 0])
        rows.append(["AdaCos needs at least three classes", measure, "in words", ours, verdict])
    return rows


def tables(records):
    """Every table that the records of article 2 allow, {marker: Markdown}."""
    frame = frame_of(records)
    usual, rows = frame[frame["head"] != "grid"], claims(frame)
    scratch, tuned = usual[usual.network == "from scratch"], fine_tuned(usual)
    kinds = {"contrasts_scratch": (scratch, "from scratch"), "contrasts_fine_tuned": (tuned, "fine-tuned")}
    made = {marker: contrasts(part, PLANNED[kind]) for marker, (part, kind) in kinds.items()}
    if rows:
        used = pd.concat(compared(frame).values())
        caption = shared.caption(records_of(used), used.seed.nunique(), "draw", cifar10=True)
        made["article2_claims"] = shared.markdown(["claim", "measured as", "article", "ours", "verdict"], rows, caption)
    with_faults = scratch[scratch.faults != ""]
    same_draws = scratch[scratch.seed.isin(with_faults.seed) & scratch["head"].isin(with_faults["head"])]
    shown = ["no head", *ARTICLE_SCORERS, "block_13_expand_relu"]
    parts = {
        "heads_scratch": (scratch[scratch.faults == ""], MEASURES),
        "heads_fine_tuned": (pd.concat([article_frame(), tuned]) if len(tuned) else tuned, SCORERS),
        "faults": (same_draws, ["cosine", "lof20"]),
        "ways": (usual[(usual.faults == "") & usual["head"].isin(shown)], ["cosine", "lof20"]),
    }
    made |= {marker: auroc_table(part, measures) for marker, (part, measures) in parts.items() if len(part)}
    return {marker: table for marker, table in made.items() if table}


def summary_rows(records):
    """The article's claims beside ours, as rows of a table; a part of its caption; the records behind them."""
    frame = frame_of(records)
    shown = [row for row in claims(frame) if not re.search("at least|faults", row[0] + row[1])]  # its page has all
    rows = [[f"{claim}: {measure}", *rest] for claim, measure, *rest in shown]
    used = pd.concat(compared(frame).values())
    words = f"article 2: n = {used.seed.nunique()} draws" if rows else ""
    return rows, words, records_of(used)


def boxes_figure(frame):
    """Boxes and points of AUROC by the article's scorer of each head, a panel a pair: the article's and ours."""
    heads_shown, pairs, ways = ([*frame[column].unique()] for column in ["head", "pair", "way"])
    figure, axes = plt.subplots(1, len(pairs), figsize=(6.6 * len(pairs), 4.5), squeeze=False, layout="constrained")
    for (number, way), (ax, pair) in itertools.product(enumerate(ways), zip(axes.flat, pairs, strict=True)):
        rows = frame[(frame.pair == pair) & (frame.way == way)]
        values = [auroc(rows, head, ARTICLE_SCORERS.get(head, "cosine")).dropna() for head in heads_shown]
        places = np.arange(len(heads_shown)) + 0.8 * ((number + 0.5) / len(ways) - 0.5)
        color = "0.5" if way == "the article" else plots.DIGIT_COLORS[number]
        boxes = ax.boxplot(values, positions=places, widths=0.6 / len(ways), showfliers=False)
        plt.setp([line for lines in boxes.values() for line in lines], color=color)
        ax.scatter(np.repeat(places, [*map(len, values)]), np.concatenate(values), s=9, color=color, label=way)
        names = [f"{NAMES[head]}\n{SCORERS[ARTICLE_SCORERS.get(head, 'cosine')]}" for head in heads_shown]
        ax.set_xticks(range(len(heads_shown)), names, fontsize=9)
        ax.set(title=FOUND.get(pair, pair), ylabel="AUROC")
        ax.grid(axis="y", alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(ways))
    return figure


def grid_figure(differences):
    """ArcFace's AUROC minus AdaCos's by scale and margin, mean of the draws."""
    means = differences.mean().unstack()
    figure, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    largest = np.abs(means.to_numpy()).max()
    image = ax.imshow(means, cmap="PuOr", vmin=-largest, vmax=largest)
    for (row, column), value in np.ndenumerate(means.to_numpy()):
        dark = abs(value) > 0.6 * largest
        ax.text(column, row, f"{value:+.3f}", ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(len(means.columns)), means.columns)
    ax.set_yticks(range(len(means.index)), [f"{scale:g}" for scale in means.index])
    ax.set(xlabel="ArcFace's margin", ylabel="ArcFace's scale")
    ax.set(title=f"sneaker, from scratch, largest cosine, mean of {len(differences)} draws")
    figure.colorbar(image, label="AUROC of ArcFace minus AdaCos's")
    return figure


def figures(records):
    """The figures that the records allow, {file name: figure}."""
    frame, made = frame_of(records), {}
    tuned = fine_tuned(frame[frame["head"] != "grid"])
    if len(tuned):
        ours = tuned.assign(way=np.where(tuned.faults == "", "ours", "ours, faults: " + tuned.faults))
        made["article2.png"] = boxes_figure(pd.concat([article_frame(), ours]))
    differences = grid_differences(frame)
    return made | ({"article2_grid.png": grid_figure(differences)} if differences is not None else {})


def csvs(records):
    """The recipes of fine-tuning that were compared by validation accuracy, {file: CSV}."""
    tried = [record for record in records if record["settings"]["seed"] >= FIRST_FOR_CHOICES]
    rows = [
        {"classes": classes_of(record["settings"]), "network": way_of(record["settings"]), "head": head}
        | {name: record["settings"]["recipe"][name] for name in ["optimizer", "rate", "epochs"]}
        | {"draw": record["settings"]["seed"], "validation accuracy": metrics.get("val_accuracy")}
        for record in tried
        for head, metrics in metrics_by_head(record).items()
    ]
    return {"article2_choice.csv": pd.DataFrame(rows).round(4).to_csv(index=False)} if rows else {}


def add_backbone_flags(parser, backbones=("cnn", "mobilenetv2", "pixels"), uses=tuple(EPOCHS)):
    """The flags that choose a network and how it is trained."""
    parser.add_argument("--backbone", choices=backbones, default="cnn", help="%(default)s")
    parser.add_argument("--use", choices=uses, help="of mobilenetv2, fine-tuned")
    parser.add_argument("--recipe", choices=["one-cycle", "article"], help="of --use fine-tuned, one-cycle")
    parser.add_argument("--width", type=float, choices=[0.35, 0.5, 1.0], help="of mobilenetv2, 0.5")
    parser.add_argument("--size", type=int, choices=[96, 128, 160, 192, 224], help="of its images, 96 pixels")
    parser.add_argument("--weights", help="of mobilenetv2: imagenet (default), none or a file")
    parser.add_argument("--epochs", type=cli.positive_int, help="passes over the training images, the recipe's")


def main():
    parser = sweep.parser(__doc__)
    parser.add_argument("--dataset", choices=list(datasets.CLASS_NAMES), help="default: the article's two pairs")
    for role, words in [("normal", "the normal class"), ("anomaly", "the class that is never seen in training")]:
        parser.add_argument(f"--{role}", metavar="CLASS", help=f"{words}, its name or number; default: the article's")
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), help="default: all")
    parser.add_argument("--draws", type=cli.positive_int, metavar="N", help="of images, a head; 10, with --smoke 1")
    words = "seed of the first draw, %(default)s; those from 100 on serve choices alone"
    parser.add_argument("--first", type=cli.seed_number, default=0, metavar="SEED", help=words)
    parser.add_argument("--grid", action="store_true", help="ArcFace with 16 scales and margins as well")
    add_backbone_flags(parser)
    parser.add_argument("--references", choices=["eight", "none"], default="eight", help="classes, %(default)s")
    parser.add_argument("--split", choices=["train", "test"], default="train", help="of the new images, %(default)s")
    parser.add_argument("--faults", choices=["norms", "labels", "both"], help="a control: those of the published code")
    args = parser.parse()
    for record in sweep.run("experiments.article2", plan(args), args):
        for head, metrics in metrics_by_head(record).items():
            values = ", ".join(f"{scorer} {value:.3f}" for scorer, value in metrics["auroc"].items())
            print(f"{record['name']}, {head}: AUROC {values}")


if __name__ == "__main__":
    main()

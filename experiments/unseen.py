"""Classes that the network has never seen: found again among themselves, or learned from a few examples.

    python -m experiments.unseen                  # MNIST and Fashion-MNIST, six heads, ten seeds
    python -m experiments.unseen --images FOLDER  # your own, a folder a class: the first half of the classes trains
    python -m experiments.unseen --choose         # compare recipes: two of the classes 0 to 4 play the new ones
    python -m experiments.unseen --scales         # MNIST alone: cosine softmax with six scales, five seeds
    python -m experiments.unseen --smoke          # a try on small slices, a minute

A network learns the classes 0 to 4; the test images of 5 to 9 are embedded. *Retrieval*: is the nearest other image of
the same class? *Enrolment*: the mean direction of 1, 5 or 20 examples of each new class names the others. *Rejection*:
are new classes farther from the training images, by the largest cosine, than new images of the known ones?

Reads   data/mnist, data/fashion-mnist
Writes  runs/results/unseen.jsonl     a line a trial, as it ends
"""

import functools
import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from experiments import building, made_up_outliers, sweep
from experiments.tables import caption, cell, contrasts_table, markdown, require_alike
from hypersphere import datasets, features, outliers, scores
from hypersphere.enrolment import few_shot, retrieval

HEADS = {"pixels": (None, {}, "pixels, centred"), "pca64": (None, {}, "PCA, 64 components")}  # without a network
HEADS |= building.HEADS
DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
EXAMPLES, CHOICES = [1, 5, 20], 100  # of each new class, chosen at random so often
MEASURES = {"recall_at_1": "Recall@1", "map_at_r": "MAP@R", "enrolment.5.new": "5 examples"}  # of the table
CANDIDATES = {  # recipes, and in how many quarter turns each class is a class of its own
    "article": (building.ARTICLE, 1),
    "augmented": (building.RECIPE | {"epochs": 12}, 1),
    "turns": (building.RECIPE | {"epochs": 4}, 4),  # the one in use; each epoch sees each image in four turns
    "turns, twice as long": (building.RECIPE | {"epochs": 8}, 4),
}
PAIRS, CHOICE_SEED = [(0, 1), (2, 4), (1, 3)], 100  # known classes that play the new ones; the seed of no other trial
SCALES = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
PLANNED = [("l2softmax", "softmax"), ("arcface", "l2softmax"), ("adacos", "arcface")]  # MAP@R, first minus second
PLANNED += [("subcluster", "adacos")]


def plan(args):
    """The trials, {name: settings}: every head learns from the same images."""
    spaces = {head: {"head": head, "head_arguments": HEADS[head][1]} for head in args.heads}
    seeds = range(args.seeds or (1 if args.smoke else 5 if args.scales else 10))
    chosen = [args.dataset] if args.dataset else list(DATASETS)
    parts = {dataset: {"dataset": dataset} for dataset in chosen}
    if args.scales:  # without a margin, CosFace is AdaCos with another scale
        spaces = {f"scale{s:g}": {"head": "cosface", "head_arguments": {"scale": s, "margin": 0.0}} for s in SCALES}
        parts = {"scales/mnist": {"dataset": "mnist"}}
    elif args.images:
        folder = Path(args.images).resolve()  # so that "." has a name, too
        parts = {f"images/{folder.name}": {"dataset": str(folder)}}
    elif args.choose:
        seeds, parts = [CHOICE_SEED], {}
        for dataset, recipe, pair in itertools.product(chosen, CANDIDATES, PAIRS):
            name = f"choice/{dataset}/{recipe.replace(', ', '_').replace(' ', '_')}-new_{pair[0]}_{pair[1]}"
            parts[name] = {"dataset": dataset, "recipe_name": recipe, "pair": pair}
    trials, common = {}, {"recipe_name": "turns", "smoke": args.smoke}
    for (name, part), seed, space in itertools.product(parts.items(), seeds, spaces):
        settings = common | part | spaces[space] | {"seed": seed}
        recipe, turns = CANDIDATES[settings["recipe_name"]]
        recipe = recipe | ({"epochs": 1} if args.smoke else {})
        trials[f"{name}/{space}-seed{seed}"] = settings | {"recipe": recipe, "turns": turns}
    return trials


def load(settings, data):
    """Known classes' images to train with, new images of them, and images of new classes, {split: (x, y)}.

    The new classes' labels go on after those of the known ones, which count from 0. Raises InputError if a folder of
    one's own has too few classes or images.
    """
    n_known = 5
    if settings["dataset"] in DATASETS:
        x, y = datasets.load_labelled(settings["dataset"], "train", data)
        x_test, y_test = datasets.load_labelled(settings["dataset"], "test", data)
    else:
        x, y = outliers.load_class_folders(settings["dataset"], 4, 3 * (max(EXAMPLES) + 1))
        is_test = np.concatenate([np.arange(count) % 3 == 0 for count in np.bincount(y)])
        x, y, x_test, y_test, n_known = x[~is_test], y[~is_test], x[is_test], y[is_test], (y.max() + 1) // 2
    if "pair" in settings:  # training images of the known classes alone
        order = [number for number in range(5) if number not in settings["pair"]] + list(settings["pair"])
        x, y = x[y < 5], np.argsort(order)[y[y < 5]]
        is_test = np.arange(len(y)) % 6 == 0
        x, y, x_test, y_test, n_known = x[~is_test], y[~is_test], x[is_test], y[is_test], 3
    rows = [np.flatnonzero(y < n_known), np.arange(len(y_test))]  # of --smoke 600 or so, from all folders
    known, test = (row[:: max(1, len(row) // 600) if settings["smoke"] else 1] for row in rows)
    known = known[np.arange(len(known)) % 6 != 5]  # the others validate
    test_rows = {"known": test[y_test[test] < n_known], "new": test[y_test[test] >= n_known]}
    return {"train": (x[known], y[known])} | {name: (x_test[rows], y_test[rows]) for name, rows in test_rows.items()}


def run_trial(name, settings, data, models):
    """Train one head on the known classes, and judge its embedding, or pixels or their PCA, on the new ones."""
    images, loss, metrics = load(settings, data), [], {}
    layer, seed = HEADS[settings["head"]][0], settings["seed"]
    if layer is None:
        pixels = {part: x.reshape(len(x), -1) for part, (x, _) in images.items()}
        points = {part: x - pixels["train"].mean(axis=0) for part, x in pixels.items()}
        if settings["head"] == "pca64":
            components = PCA(64, svd_solver="covariance_eigh").fit(points["train"]).components_.T
            points = {part: x @ components for part, x in points.items()}
    else:
        head = functools.partial(layer, name="head", **settings["head_arguments"])
        x, y = made_up_outliers.turned_classes(*images["train"], settings["turns"])
        network, loss = building.train(settings["recipe"], x, y, seed, head)
        outputs = {part: features.extract(network, x) for part, (x, _) in images.items()}
        points = {part: found["embedding"] for part, found in outputs.items()}
        upright = outputs["known"]["logits"][:, : images["train"][1].max() + 1]  # where turns are classes, too
        metrics["known_accuracy"] = float(np.mean(upright.argmax(axis=1) == images["known"][1]))
    parts = {part: (points[part], y) for part, (_, y) in images.items()}
    metrics |= retrieval(*parts["new"])
    directions = {part: scores.directions(x) for part, x in points.items()}
    novelty = [scores.cosine_score(directions["train"], directions[part]) for part in ["known", "new"]]
    metrics["rejection_auroc"] = scores.auroc(*novelty)
    metrics["enrolment"] = few_shot(**parts, n_examples=EXAMPLES, choices=CHOICES, seed=seed)
    return {"metrics": metrics, "loss": loss}


def frame_of(records):
    """A data frame of records, with settings and measures such as "head" and "enrolment.5.new" as columns."""
    return pd.json_normalize(records).rename(columns=lambda name: name.split(".", 1)[-1]).assign(record=records)


def tables(records):
    """Retrieval and enrolment, a row a head and three columns a data set; planned contrasts: {marker: Markdown}."""
    frame = frame_of(records)
    frame = frame[~frame.name.str.match("choice/|scales/")]
    if frame.empty:
        return {}
    n, columns, sentences, compared = int(frame.groupby(["dataset", "head"]).size().max()), {}, [], []
    for dataset, chosen in frame.groupby("dataset", sort=False):
        require_alike([*chosen.record], free=["head", "head_arguments"])
        title, by_head = DATASETS.get(dataset, Path(dataset).name), chosen.groupby("head")
        for measure, words in MEASURES.items():
            columns[f"{title}: {words}"] = by_head[measure].agg(cell, n, 3)
        aurocs = by_head.rejection_auroc.mean().rename(index=lambda head: HEADS[head][2]).sort_values()
        words = [f"{aurocs.iloc[place]:.3f} ({aurocs.index[place]})" for place in [0, -1]]
        sentences.append(f"{title} {' to '.join(words)}")
        by_seed = chosen.pivot(index="seed", columns="head", values="map_at_r").reindex(columns=[*HEADS])
        for first, second in PLANNED:
            contrast, difference = f"{HEADS[first][2]} minus {HEADS[second][2]}", by_seed[first] - by_seed[second]
            compared.append((contrast, title, difference.dropna().to_numpy()))
    cells = pd.DataFrame(columns).reindex([head for head in HEADS if head in set(frame["head"])]).fillna("")
    rows = [[HEADS[head][2], *row] for head, row in zip(cells.index, cells.to_numpy(), strict=True)]
    sentence = f"AUROC of rejection, mean of the seeds, from the lowest to the highest: {'; '.join(sentences)}."
    made = {"unseen": markdown(["", *cells], rows, sentence, caption([*frame.record], n))}
    contrasts = contrasts_table(compared, "data set", "MAP@R", "seed", [*frame.record])
    return made | ({"unseen_contrasts": contrasts} if contrasts else {})


def csvs(records):
    """Means and standard deviations over pairs of new classes by recipe, and over seeds by scale: {file: text}."""
    made, measures, frame = {}, ["recall_at_1", "map_at_r", "enrolment.5.new", "known_accuracy"], frame_of(records)
    for part, keys in {"choice": ["dataset", "head", "recipe_name"], "scales": ["head_arguments.scale"]}.items():
        chosen = frame[frame.name.str.startswith(f"{part}/")]
        if len(chosen):
            table = chosen.groupby(keys)[measures].agg(["mean", "std", "count"])
            table.columns = [" ".join(column) for column in table.columns]
            made[f"unseen_{part}.csv"] = table.to_csv(float_format="%.4f")
    return made


def figures(records):
    """MAP@R against the scale of a cosine softmax, beside that of other heads, {file name: figure}."""
    frame = frame_of(records)
    chosen, mnist = (frame[frame.name.str.startswith(part)] for part in ["scales/", "mnist/"])
    if chosen.empty:
        return {}
    require_alike([*chosen.record], free=["head_arguments"])
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    found = chosen.groupby("head_arguments.scale").map_at_r.agg(["mean", "std"])
    ax.errorbar(found.index, found["mean"], found["std"], marker="o", capsize=3, label="cosine softmax, by its scale")
    means, styles = mnist.groupby("head").map_at_r.mean(), {"softmax": ":", "adacos": "--", "subcluster": "-."}
    for number, (head, style) in enumerate(styles.items(), 1):
        if head in means:
            ax.axhline(means[head], color=f"C{number}", linestyle=style, label=HEADS[head][2])
    ax.set_xscale("log", base=2)
    ax.set_xticks(found.index, [f"{scale:g}" for scale in found.index])
    ax.set(xlabel="scale s of the cosines", ylabel="MAP@R, mean ± standard deviation", title="MNIST, unseen classes")
    ax.grid(alpha=0.3)
    ax.legend(title=f"points: {chosen.seed.nunique()} seeds, lines: {mnist.seed.nunique()}")
    return {"unseen_scales.png": figure}


def main():
    parser = sweep.parser(__doc__, "compare recipes on known classes alone", "trainings a head, 10; with --smoke 1")
    parser.add_argument("--dataset", choices=list(DATASETS), help="default: both")
    parser.add_argument("--images", metavar="FOLDER", help="your own images instead, a folder a class")
    usual = [head for head in HEADS if head != "adacos-dynamic"]
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=usual, help="all but adacos-dynamic")
    parser.add_argument("--scales", action="store_true", help="compare scales of a cosine softmax on MNIST")
    args = parser.parse()
    if bool(args.images) + args.choose + args.scales > 1:
        parser.error("--images, --choose, --scales: give one of them")
    for record in sweep.run("experiments.unseen", plan(args), args):
        print(f"{record['name']}: MAP@R {record['metrics']['map_at_r']:.3f}")


if __name__ == "__main__":
    main()

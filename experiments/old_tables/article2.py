"""Tables of article 2: six heads, four scorers, two pairs of classes, several ways to use a network."""

import numpy as np
import pandas as pd

from experiments.old_tables.common import below, caption, cell, markdown, note, pivot, require_alike, spread

HEADS = {
    "softmax": "softmax",
    "l2softmax": "L2-softmax",
    "cosface": "CosFace",
    "arcface": "ArcFace",
    "adacos": "AdaCos, fixed",
    "adacos-dynamic": "AdaCos, dynamic",
    "together": "all heads together",
    # No head: a frozen network's features as they are.
    "block_6_expand_relu": "features of block 6",
    "block_13_expand_relu": "features of block 13",
    "out_relu": "features of the last layer",
}
SCORERS = {
    "cosine": "largest cosine",
    "lof5": "LOF, k = 5",
    "lof20": "LOF, k = 20",
    "probability": "class probability",  # by a network's head alone; records before it do not have it
}
# Parts of a variant's name, where their own words would not do.
WORDS = {
    "features": "features alone",
    "upper_blocks": "upper blocks trained",
    "fine_tuned": "fine-tuned",
    "self_supervised": "no reference classes",
    "4_views": "4 turns of each class",
    "8_views": "8 views",
    "test": "new images of the test split",
    "legacy": "faults of the published code",
}
DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
# The article's two pairs and our network: the folders of their records' names, and short names for the tables.
PAIRS = {"fashion_mnist-sneaker-ankle_boot/cnn": "sneaker", "cifar10-deer-horse/cnn": "deer"}
NAMES = PAIRS | {f"{folder}-test": f"{name}_test" for folder, name in PAIRS.items()}

# The ten AUCs behind each of the article's boxes, and the scorer that it used for that head.
# Source: the author's notebook of https://qiita.com/shinmura0/items/d2a3a46c3fb287a1ea0e
ARTICLE_SCORERS = {"l2softmax": "lof5", "arcface": "cosine", "adacos": "cosine"}
ARTICLE_AUROC = {
    ("fashion-mnist", 7, 9): {
        "l2softmax": [0.92, 0.94, 0.91, 0.96, 0.91, 0.91, 0.92, 0.93, 0.91, 0.88],
        "arcface": [0.93, 0.94, 0.94, 0.92, 0.94, 0.95, 0.94, 0.91, 0.95, 0.92],
        "adacos": [0.95, 0.93, 0.95, 0.90, 0.89, 0.90, 0.92, 0.95, 0.95, 0.95],
    },
    ("cifar10", 4, 7): {
        "l2softmax": [0.83, 0.84, 0.86, 0.81, 0.84, 0.82, 0.84, 0.87, 0.79, 0.83],
        "arcface": [0.77, 0.80, 0.83, 0.83, 0.80, 0.82, 0.83, 0.81, 0.76, 0.80],
        "adacos": [0.83, 0.80, 0.81, 0.80, 0.80, 0.79, 0.82, 0.83, 0.78, 0.79],
    },
}


def expanded(records):
    """The records with one head each: a trial with frozen features has those of all heads on one draw."""
    for record in records:
        if "heads" not in record["metrics"]:
            yield record
        for head, metrics in record["metrics"].get("heads", {}).items():
            yield record | {"settings": record["settings"] | {"head": head}, "metrics": metrics}


class Pair:
    """The records of one pair and variant, all heads and seeds, as a tidy data frame: a row a head, draw and scorer.

    Columns: head, seed, scorer, auroc, val_accuracy, scale (of AdaCos).
    """

    def __init__(self, folder, records):
        self.trials, self.folder = records, folder
        self.records = list(expanded(records))
        require_alike(self.records, free=["head", "head_arguments"], repeats=False)
        self.heads = [head for head in HEADS if any(r["settings"]["head"] == head for r in self.records)]
        for head in self.heads:
            require_alike([record for record in self.records if record["settings"]["head"] == head])
        rows = []
        for record in sorted(
            self.records, key=lambda r: (self.heads.index(r["settings"]["head"]), r["settings"]["seed"])
        ):
            metrics = record["metrics"]
            of_trial = {"head": record["settings"]["head"], "seed": record["settings"]["seed"]}
            of_trial |= {"val_accuracy": metrics.get("val_accuracy"), "scale": metrics.get("scale")}
            auroc = metrics["auroc"]
            rows += [of_trial | {"scorer": name, "auroc": auroc[name]} for name in SCORERS if name in auroc]
        self.frame = pd.DataFrame(rows)
        self.n = int(self.frame.groupby("head").seed.nunique().max())

    @property
    def name(self):
        """What the markers and files of its tables end with."""
        return NAMES.get(self.folder, self.folder.replace("/", "_"))

    @property
    def classes(self):
        """The two classes, in words."""
        dataset, normal, anomaly = self.folder.split("/")[0].split("-")
        normal, anomaly = (name.replace("_", " ") for name in [normal, anomaly])
        return f"{DATASETS.get(dataset, dataset)}: {normal} (normal) against {anomaly} (anomaly)"

    @property
    def short(self):
        """The two classes, in a word where the article has them."""
        return PAIRS.get(self.folder.split("/")[0] + "/cnn", self.classes)

    @property
    def variant(self):
        """The network and what is special about its trials, in words."""
        backbone, *parts = self.folder.split("/")[1].split("-")
        network = "from scratch"
        if backbone == "mobilenetv2":
            width, size, *parts = parts
            network = f"MobileNetV2, width {width}, {size} pixels"
        return ", ".join([network, *(WORDS.get(part, part.replace("_", " ")) for part in parts)])

    @property
    def title(self):
        """What it is, in words."""
        return f"{self.classes}, {self.variant}"

    @property
    def article(self):
        """The article's AUROCs of the same pair, {head: [ten values]}; empty if it has none."""
        settings = self.records[0]["settings"]
        return ARTICLE_AUROC.get((settings["dataset"], settings["normal"], settings["anomaly"]), {})

    def by_seed(self, scorer):
        """AUROC with one scorer: a row a seed, a column a head, NaN where a head lacks a seed."""
        return self.frame[self.frame.scorer == scorer].pivot(index="seed", columns="head", values="auroc")

    def auroc(self, head, scorer):
        """AUROC of one head with one scorer, a value a seed."""
        return self.frame.auroc[(self.frame["head"] == head) & (self.frame.scorer == scorer)].to_numpy()

    def caption(self, n=None, unit="seed"):
        """The caption of a table of this pair."""
        return caption(self.trials, n or self.n, unit, cifar10=self.folder.startswith("cifar10"))


def pairs(records):
    """The records by pair and backbone, {folder of their names: Pair}, the article's pairs first."""
    folders = sorted({record["name"].rpartition("/")[0] for record in records})
    folders = [*(folder for folder in NAMES if folder in folders), *(f for f in folders if f not in NAMES)]
    return {
        folder: Pair(folder, [record for record in records if record["name"].rpartition("/")[0] == folder])
        for folder in folders
    }


def from_scratch(records):
    """The pairs of our network, trained as it should be, as a list: those that are compared head by head."""
    return [pair for folder, pair in pairs(records).items() if folder.endswith("/cnn")]


def tables(records):
    """Every table that the records of article 2 allow, {marker: Markdown}."""
    by_folder, made = pairs(records), {}
    for folder, pair in by_folder.items():
        right = by_folder.get(folder.removesuffix("-legacy"))
        if folder.endswith("-legacy") and right:
            made[f"legacy_{right.name}"] = legacy(right, pair)
        else:
            made[f"heads_{pair.name}"] = heads(pair)
    right = [pair for folder, pair in by_folder.items() if not folder.endswith("-legacy")]
    if right:
        made |= {"best": best(right), "heads_cost": cost(by_folder.values())}
    others = [pair for pair in right if pair.folder not in NAMES]
    if others:
        made["ways"] = ways(others)
    return made


def heads(pair):
    """Median and mean ± sd of AUROC, every head with every scorer, and the article's where it has that head.

    Beside them the classifier's accuracy on validation images, and AdaCos's scale after the training.
    """
    frame, n = pair.frame.assign(scorer=pair.frame.scorer.map(SCORERS)), pair.n
    aurocs = pivot(frame, "head", "scorer", lambda group: median_and_spread(group.auroc) + note(group.auroc, n))
    rows = []
    for head in pair.heads:
        theirs, trials = pair.article.get(head, []), frame[frame["head"] == head].drop_duplicates("seed")
        article = f"{median_and_spread(theirs)}, {SCORERS[ARTICLE_SCORERS[head]]}{note(theirs, n)}" if theirs else ""
        scale = cell(trials.scale.dropna().astype(float), n, 2)
        rows.append(
            [
                HEADS[head],
                *aurocs.loc[head],
                article,
                cell(trials.val_accuracy.dropna().astype(float), n, 1, 100),
                scale,
            ]
        )
    header = ["AUROC: median (mean ± sd)", *aurocs.columns]
    header += ["article, ImageNet weights", "validation accuracy, %", "scale"]
    return below(markdown(header, rows), pair.caption())


def median_and_spread(values):
    """ "median (mean ± sd)"."""
    return f"{np.median(values):.3f} ({spread(values, 3)})"


def legacy(right, faulty):
    """What the published code's faults cost: AUROC of the same draws with and without them."""
    require_alike([right.records[0], faulty.records[0]], ["legacy", "head", "head_arguments"], repeats=False)
    differences, rows = {}, []
    for head, scorer in ARTICLE_SCORERS.items():
        if head in right.heads and head in faulty.heads:
            both = pd.concat([of.by_seed(scorer)[head] for of in (right, faulty)], axis=1, join="inner").dropna()
            differences[head] = [both.iloc[:, 0], both.iloc[:, 1], both.iloc[:, 1] - both.iloc[:, 0]]
    n = max((len(values[0]) for values in differences.values()), default=0)
    for head, columns in differences.items():
        rows.append([HEADS[head], SCORERS[ARTICLE_SCORERS[head]], *(cell(values, n, 3) for values in columns)])
    header = ["head", "scorer", "correct", "with the faults", "difference, paired"]
    return below(markdown(header, rows), faulty.caption(n))


def ways(of_pairs):
    """AUROC in every other way to use a network than from scratch, a row a head, three columns a pair of classes.

    CosFace and the dynamic AdaCos, which come close to ArcFace and the fixed one, are left to the records.
    """
    n, shown = max(pair.n for pair in of_pairs), ["cosine", "lof20", "probability"]
    rows = {}
    names = [name for name in PAIRS.values() if any(name == pair.short for pair in of_pairs)]
    names += dict.fromkeys(pair.short for pair in of_pairs if pair.short not in names)
    for pair in of_pairs:
        place = len(shown) * names.index(pair.short)
        for head in [head for head in pair.heads if head not in ("cosface", "adacos-dynamic")]:
            cells = rows.setdefault((pair.variant, head), [""] * len(shown) * len(names))
            cells[place : place + len(shown)] = [cell(pair.auroc(head, scorer), n, 3) for scorer in shown]
    table, last = [], None
    for variant in dict.fromkeys(variant for variant, _ in rows):
        for head in [head for head in HEADS if (variant, head) in rows]:
            table.append([variant if variant != last else "", HEADS[head], *rows[variant, head]])
            last = variant
    header = ["AUROC", "", *(f"{name}, {SCORERS[scorer]}" for name in names for scorer in shown)]
    trials = [record for pair in of_pairs for record in pair.trials]
    return below(markdown(header, table), caption(trials, n, "draw", cifar10=True))


def best(of_pairs):
    """The combination of network, head and scorer with the highest mean AUROC, the article's and ours, of how many."""
    rows = []
    for classes in dict.fromkeys(pair.classes for pair in of_pairs):
        variants = [pair for pair in of_pairs if pair.classes == classes]
        means = {
            (pair, *key): mean
            for pair in variants
            for key, mean in pair.frame.groupby(["head", "scorer"]).auroc.mean().items()
        }
        pair, head, scorer = max(means, key=means.get)
        theirs, article = max(pair.article, key=lambda head: np.mean(pair.article[head]), default=None), ""
        if theirs:
            article = combination(pair.article[theirs], theirs, ARTICLE_SCORERS[theirs], len(pair.article))
        ours = combination(pair.auroc(head, scorer), head, scorer, len(means))
        rows.append([classes, article, f"{ours}, {pair.variant}"])
    trials = [record for pair in of_pairs for record in pair.trials]
    header = ["mean AUROC of the best combination", "article", "ours"]
    return below(markdown(header, rows), caption(trials, max(pair.n for pair in of_pairs), "draw", cifar10=True))


def combination(values, head, scorer, count):
    """A cell that names a head and a scorer, and of how many combinations it is the best."""
    return f"{spread(values, 3)} ({HEADS[head]}, {SCORERS[scorer]}; best of {count})"


def summary_rows(records):
    """ArcFace with the largest cosine, the article's beside ours with the same head and scorer, as rows of a table."""
    rows = []
    for folder, pair in pairs(records).items():
        if folder in PAIRS and "arcface" in pair.heads:
            title = f"{pair.title}, AUROC of ArcFace, largest cosine"
            rows.append([title, spread(pair.article["arcface"], 3), cell(pair.auroc("arcface", "cosine"), pair.n, 3)])
    return rows


def cost(of_pairs):
    """How long the trials of each way took, a row each, on one core."""
    by_variant = {}
    for pair in of_pairs:
        by_variant.setdefault(pair.variant, []).extend(pair.trials)
    rows = [
        [
            variant,
            str(len(trials)),
            f"{np.mean([trial['seconds'] for trial in trials]) / 60:.1f}",
            f"{sum(trial['seconds'] for trial in trials) / 7200:.1f}",
            str(max(trial["peak_memory_mb"] for trial in trials)),
            caption(trials).strip("*"),
        ]
        for variant, trials in by_variant.items()
    ]
    header = ["", "trials", "minutes a trial", "hours in all, two at a time", "memory a trial, MB", "machine"]
    return markdown(header, rows)

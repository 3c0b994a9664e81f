"""Tables and a figure of the scoreboard: detectors in rows, out-of-distribution sets in columns."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from common import plots
from experiments.old_tables.common import (
    below,
    caption,
    cell,
    counted,
    framed,
    markdown,
    note,
    pivot,
    require_alike,
    spread,
)

# Names in the records.
OURS = "layered LOF (ours)"
ARTICLE = "LOF, embedding (article)"
ENSEMBLE = "ensemble (ours)"
NEAR = "digits 5-9"
EASY = ["photographs", "uniform noise", "Gaussian noise"]  # two numbers of an image are enough to tell them
LEARNED = ["joined halves", "joined sides", "laid over", "strokes"]  # outliers that a network learned as "none"
TITLES = {"CIFAR-10": "CIFAR-10, grey"}


class Recipe:
    """The records of one recipe, networks of ten digits and of five, as a tidy data frame: a row a detector and set.

    Columns: classes, seed, kind ("detectors" or "parts"), detector, set, auroc, fpr95, accepted.
    """

    def __init__(self, name, records, unit="network"):
        self.name, self.unit = name, unit
        self.records = sorted(records, key=lambda r: (-r["settings"]["classes"], r["settings"]["seed"]))
        self.ten = self.of_classes(10)
        for classes in {record["settings"]["classes"] for record in records}:
            require_alike(self.of_classes(classes))
        require_alike(self.records, free=["classes", "cifar10_sha256"], repeats=False)
        rows = []
        for record in self.records:
            for kind in ["detectors", "parts"]:
                for detector, measured in record["metrics"].get(kind, {}).items():
                    row = {key: record["settings"][key] for key in ["classes", "seed"]}
                    row |= {"kind": kind, "detector": detector}
                    for name_of_set in measured["auroc"]:
                        values = {key: measured[key][name_of_set] for key in ["auroc", "fpr95", "accepted"]}
                        rows.append(row | values | {"set": name_of_set})
        self.frame = pd.DataFrame(rows)
        self.n = int(self.frame.groupby("classes").seed.nunique().max())

    def of_classes(self, classes):
        """The records of the networks that learned so many digits."""
        return [record for record in self.records if record["settings"]["classes"] == classes]

    def rows(self, kind="detectors", easy=False):
        """The rows of the detectors, ours last, or of its parts, on the easy sets or on the others."""
        frame = self.frame[(self.frame.kind == kind) & (self.frame.set.isin(EASY) == easy)]
        return frame.sort_values("detector", key=lambda names: names.isin([OURS, ENSEMBLE]), kind="stable")

    def separation(self, detector, name_of_set):
        """The cell of one detector and set, "AUROC / FPR95" in per cent; "" if the records lack it."""
        frame = self.rows()
        group = frame[(frame.detector == detector) & (frame.set == name_of_set)]
        return separation_text(group, self.n) if len(group) else ""

    def caption(self, cifar10=False):
        """The caption of a table of this recipe."""
        return caption(self.records, self.n, cifar10=cifar10)


def separation_text(group, n):
    """ "AUROC / FPR95" in per cent."""
    return f"{spread(group.auroc, 2, 100)} / {spread(group.fpr95, 2, 100)}{note(group, n)}"


def recipes(records):
    """The records by recipe, {name: Recipe}."""
    names = dict.fromkeys(record["settings"]["recipe_name"] for record in records)
    return {name: Recipe(name, [r for r in records if r["settings"]["recipe_name"] == name]) for name in names}


def tables(records):
    """Every table that the records of the scoreboard allow, {marker: Markdown}."""
    by_name = recipes(records)
    made = {"recipes": recipe_table(by_name.values())} if by_name else {}
    if "best" not in by_name:
        return made
    best = by_name["best"]
    made["board"] = separation_table(best, best.rows())
    if len(best.rows(easy=True)):
        made["board_easy"] = separation_table(best, best.rows(easy=True))
    made["accepted"] = accepted(best)
    if len(best.rows("parts")):
        whole = best.rows()[best.rows().detector == OURS].assign(detector="all of it")
        made["parts"] = separation_table(best, pd.concat([best.rows("parts"), whole]))
    if best.ten:
        made |= {"calibration": calibration(best), "detector_seconds": detector_seconds(best)}
    return made


def ensemble_tables(records):
    """The tables of the detector that looks at an ensemble, beside those of one network, {marker: Markdown}."""
    if not records:
        return {}
    networks = Recipe("ensemble", records, unit="trio of networks")
    whole = networks.rows()[networks.rows().detector == ENSEMBLE].assign(detector="all of it")
    made = {
        "near": separation_table(networks, networks.rows()),
        "near_accepted": accepted(networks),
        "near_parts": separation_table(networks, pd.concat([networks.rows("parts"), whole])),
    }
    if networks.ten:
        made |= {"near_calibration": calibration(networks), "near_seconds": detector_seconds(networks)}
    return made


def evidence(records):
    """What a detector can look at, judged on made-up outliers, the best first, {"evidence": Markdown}.

    The outliers' columns are of the first way in the records, which is the one that is used. The means are over the
    kinds that no network has learned as a class "none".
    """
    if not records:
        return {}
    rows = [
        {"way": way, "combination": combination, "set": of_set, "share": share, "fpr95": measured["fpr95"][of_set]}
        for record in records
        for way, of_way in record["metrics"]["combinations"].items()
        for combination, measured in of_way.items()
        for of_set, share in measured["accepted"].items()
    ]
    frame = pd.DataFrame(rows)
    new = frame[~frame.set.isin(LEARNED)]
    means = new.groupby(["way", "combination"])[["share", "fpr95"]].mean()
    used, *others = frame.way.unique()
    best = means.loc[used].sort_values("share")
    by_set = frame[frame.way == used].pivot_table("share", "combination", "set")
    shares = by_set.loc[best.index, [*new.set.unique(), *LEARNED]].map("{:.2f}".format)
    shares = shares.rename(columns={of_set: f"{of_set} *" for of_set in LEARNED})
    shares.insert(0, "mean", best.share.map("{:.3f}".format))
    for way in others:
        shares[f"mean, {way}"] = means.loc[way].share.loc[best.index].map("{:.3f}".format)
    shares["mean FPR95, %"] = (100 * best.fpr95).map("{:.1f}".format)
    words = f"{counted(len(records), 'trial')}; *: what the class none is made of, not in the means"
    return {"evidence": below(framed("share accepted, 1 % of digits rejected", shares), caption(records, words))}


def separation_table(recipe, frame):
    """Detectors in rows, sets in columns: AUROC / FPR95."""
    cells = pivot(frame, "detector", "set", lambda group: separation_text(group, recipe.n))
    table = framed("AUROC / FPR95, %", cells.rename(columns=TITLES))
    return below(table, recipe.caption(cifar10="CIFAR-10" in cells))


def accepted(recipe):
    """The share of each set that is accepted where 1 % of the MNIST test images are rejected."""
    frame = recipe.rows()
    frame = frame[frame.detector.isin([ARTICLE, OURS, ENSEMBLE])]
    cells = pivot(frame, "detector", "set", lambda group: cell(group.accepted, recipe.n, 4))
    table = framed("share accepted, 1 % of MNIST test rejected", cells.rename(columns=TITLES))
    return below(table, recipe.caption(cifar10="CIFAR-10" in cells))


def calibration(recipe):
    """What becomes of a nominal level of 1 % on the test images."""
    rows = []
    for record in recipe.ten:
        of_seed = record["metrics"]["calibration"]
        halves = spread(of_seed["halves"], 2, 100) + " %"
        rows.append([str(record["settings"]["seed"]), f"{of_seed['rejected_at_1_percent']:.2%}", halves])
    header = ["seed", "rejected, calibrated on validation images", "rejected, calibrated on half of the test images"]
    halvings = len(recipe.ten[0]["metrics"]["calibration"]["halves"])
    words = f"nominal level 1 %; one {recipe.unit} a row, the last column over {halvings} random halves"
    return below(markdown(header, rows), caption(recipe.ten, words))


def recipe_table(by_name):
    """The recipes, the most accurate first: accuracy, and what our detector and the article's make of the network."""
    sets = {"ours": ["Fashion-MNIST", "printed letters", NEAR], "article's LOF": ["Fashion-MNIST", NEAR]}
    rows = []
    for recipe in sorted(by_name, key=lambda recipe: -test_accuracy(recipe)):
        accuracies = [
            cell([record["metrics"]["accuracy"][split] for record in recipe.ten], recipe.n, 2, 100)
            for split in ["test", "val"]
        ]
        epochs = recipe.records[0]["settings"]["recipe"]["epochs"]
        cells = [
            recipe.separation(detector, name)
            for detector, names in zip([OURS, ARTICLE], sets.values(), strict=True)
            for name in names
        ]
        rows.append([recipe.name, str(epochs), str(recipe.n), *accuracies, *cells])
    header = ["recipe", "epochs", "seeds", "test accuracy, %", "validation accuracy, %"]
    header += [f"{words}: {name}" for words, names in sets.items() for name in names]
    counts = sorted({recipe.n for recipe in by_name}, reverse=True)
    words = counted(counts[0]) if len(counts) == 1 else f"n = {' or '.join(map(str, counts))} seeds, as in the column"
    records = [record for recipe in by_name for record in recipe.records]
    return below(markdown(header, rows), caption(records, f"{words}; two numbers: AUROC / FPR95, %"))


def test_accuracy(recipe):
    """The mean test accuracy of the networks of ten digits; 0 if there is none yet."""
    return np.mean([record["metrics"]["accuracy"]["test"] for record in recipe.ten] or [0])


def detector_seconds(recipe):
    """Seconds of each detector's fit and of scoring the MNIST test images, and a sentence on the whole."""
    rows = [
        {"detector": name, "step": step, "seconds": measured[key]}
        for record in recipe.ten
        for name, measured in record["metrics"]["detectors"].items()
        for key, step in {"fit_seconds": "fit to 50,000 images, s", "score_seconds": "score 10,000 images, s"}.items()
    ]
    frame = pd.DataFrame(rows).sort_values("detector", key=lambda names: names.isin([OURS, ENSEMBLE]), kind="stable")
    n = len(recipe.ten)
    table = framed("detector", pivot(frame, "detector", "step", lambda group: cell(group.seconds, n, 1)))
    minutes = np.mean([record["seconds"] for record in recipe.ten]) / 60
    memory = max(record["peak_memory_mb"] for record in recipe.ten)
    sentence = (
        f"Training and judging a {recipe.unit} of ten digits took {minutes:.0f} minutes of one core on average, "
        f"and at most {memory} MB."
    )
    return below(table, sentence, caption(recipe.ten, n, versions=True))


def figures(records):
    """The figure that the records allow, {file name: figure}: the measured rejection rate against the nominal level."""
    ten = recipes([r for r in records if r["settings"]["recipe_name"] == "best" and r["settings"]["classes"] == 10])
    if not ten:
        return {}
    shares = {
        f"seed {record['settings']['seed']}": record["metrics"]["calibration"]["rejected"]
        for record in ten["best"].records
    }
    figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    levels = ten["best"].records[0]["metrics"]["calibration"]["levels"]
    plots.reliability(ax, levels, shares, "Nominal and measured rejection rate")
    return {"scoreboard_reliability.png": figure}

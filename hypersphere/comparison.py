"""The comparison of heads: records of single runs to medians, paired differences and tables."""

import itertools

from hypersphere.data import CLASS_NAMES
from hypersphere.errors import InputError
from hypersphere.runs import read_record
from hypersphere.tables import half_width, machine_line, markdown, spread

import numpy as np
from scipy import stats

HEADS = {
    "softmax": "softmax",
    "l2softmax": "L2-softmax",
    "cosface": "CosFace",
    "arcface": "ArcFace",
    "adacos": "AdaCos, fixed",
    "adacos-dynamic": "AdaCos, dynamic",
}
DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
SCORERS = {"cosine": "largest cosine", "lof5": "LOF, k = 5", "lof20": "LOF, k = 20"}

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


def load_records(folder):
    """The records of a folder, all seeds of all heads; raises InputError if one is no JSON or there is none."""
    remedy = "delete it and run benchmark_anomaly.py again"
    records = [read_record(path, remedy) for path in sorted(folder.glob("*-seed*.json"))]
    if not records:
        raise InputError(f"{folder}: no records; run benchmark_anomaly.py first")
    return records


def common_seeds(*groups):
    """The seeds that every head of every group of records has, in order."""
    seeds = [
        {record["flags"]["seed"] for record in records if record["flags"]["head"] == head}
        for records in groups
        for head in {record["flags"]["head"] for record in records}
    ]
    return sorted(set.intersection(*seeds))


def by_head(records, seeds):
    """Metrics, {head: [one a seed]}: lists compare seed by seed."""
    metrics = {(record["flags"]["head"], record["flags"]["seed"]): record["metrics"] for record in records}
    heads = [head for head in HEADS if any(head == of_run for of_run, _ in metrics)]
    return {head: [metrics[head, seed] for seed in seeds] for head in heads}


def aurocs(records, seeds=None):
    """AUROCs, {head: {scorer: [one a seed]}}, of the given seeds or of those that every head has."""
    metrics = by_head(records, common_seeds(records) if seeds is None else seeds)
    return {
        head: {scorer: [of_seed["auroc"][scorer] for of_seed in of_head] for scorer in SCORERS}
        for head, of_head in metrics.items()
    }


def article(records):
    """The article's AUROCs of the same pair, {head: [ten values]}; empty if it has none."""
    flags = records[0]["flags"]
    return ARTICLE_AUROC.get((flags["dataset"], flags["normal"], flags["anomaly"]), {})


def boxes(records):
    """What the figure shows, {head's title: {scorer's title or "article": [values]}}."""
    values = {
        HEADS[head]: {SCORERS[scorer]: of_seeds for scorer, of_seeds in by_scorer.items()}
        for head, by_scorer in aurocs(records).items()
    }
    for head, theirs in article(records).items():
        values.setdefault(HEADS[head], {})["article"] = theirs
    return values


def title(records):
    """What the records are of, in words."""
    flags = records[0]["flags"]
    normal, anomaly = (CLASS_NAMES[flags["dataset"]][flags[role]] for role in ["normal", "anomaly"])
    words = f"{DATASETS[flags['dataset']]}: {normal} (normal) against {anomaly} (anomaly), {flags['backbone']}"
    return words + (", faults of the published code" if flags["legacy"] else "")


def holm(p_values):
    """Holm's correction of p-values for their number: sorted, times m, m - 1, ..., never falling."""
    order = np.argsort(p_values)
    corrected = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return corrected


def paired_differences(values):
    """Every pair of heads, compared seed by seed; values : {head: [AUROC a seed]}.

    Returns one dict a pair: heads, mean difference, half the width of its 95 % interval (Student's t),
    Wilcoxon's signed-rank p, also corrected by Holm, and in how many seeds the first head is higher.
    """
    rows = []
    for first, second in itertools.combinations(values, 2):
        difference = np.subtract(values[first], values[second])
        test = stats.wilcoxon(difference) if np.any(difference) else None
        rows.append(
            {
                "heads": (first, second),
                "mean": difference.mean(),
                "half_width": half_width(difference),
                "p": test.pvalue if test else 1.0,
                "higher": int(np.sum(difference > 0)),
                "seeds": len(difference),
            }
        )
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_corrected"] = p
    return rows


def auroc_table(records):
    """Median and mean +- sd of AUROC, every head with every scorer, and the article's where it has that head.

    Beside them the classifier's accuracy on validation images, and AdaCos's scale after the training.
    """
    of_article, rows = article(records), []
    metrics = by_head(records, common_seeds(records))
    for head, by_scorer in aurocs(records).items():
        cells = [f"{np.median(values):.3f} ({spread(values, 3)})" for values in by_scorer.values()]
        theirs = of_article.get(head)
        cells.append(
            f"{np.median(theirs):.3f} ({spread(theirs, 3)}), {SCORERS[ARTICLE_SCORERS[head]]}" if theirs else ""
        )
        cells.append(spread([of_seed["val_accuracy"] for of_seed in metrics[head]], 1, 100))
        scales = [of_seed["scale"] for of_seed in metrics[head] if "scale" in of_seed]
        cells.append(spread(scales, 2) if scales else "")
        rows.append([HEADS[head], *cells])
    header = ["AUROC: median (mean ± sd)", *SCORERS.values(), "article, ImageNet weights", "accuracy, %", "scale"]
    return markdown(header, rows)


def difference_table(records, scorer):
    """The paired differences of AUROC between heads with one scorer."""
    values = {head: by_scorer[scorer] for head, by_scorer in aurocs(records).items()}
    rows = [
        [
            f"{HEADS[row['heads'][0]]} - {HEADS[row['heads'][1]]}",
            f"{row['mean']:+.3f} ± {row['half_width']:.3f}",
            f"{row['higher']} of {row['seeds']}",
            f"{row['p']:.3f}",
            f"{row['p_corrected']:.3f}",
        ]
        for row in paired_differences(values)
    ]
    return markdown(["heads", "difference ± 95 %", "first one higher", "Wilcoxon p", "p, corrected"], rows)


def best(records):
    """The head and the scorer with the highest mean AUROC, and its values."""
    everything = [
        (head, scorer, values) for head, by_scorer in aurocs(records).items() for scorer, values in by_scorer.items()
    ]
    return max(everything, key=lambda entry: np.mean(entry[2]))


def summary(all_records):
    """The best head and scorer of each pair, the article's beside ours; all_records : a list of records a pair."""
    rows = []
    for records in all_records:
        head, scorer, values = best(records)
        theirs = article(records)
        their_head = max(theirs, key=lambda name: np.mean(theirs[name]))
        rows.append(
            [
                title(records),
                f"{spread(theirs[their_head], 3)} ({HEADS[their_head]}, {SCORERS[ARTICLE_SCORERS[their_head]]})",
                f"{spread(values, 3)} ({HEADS[head]}, {SCORERS[scorer]})",
            ]
        )
    return markdown(["mean AUROC of the best head and scorer", "article, ImageNet weights", "ours, from scratch"], rows)


def legacy_table(records, legacy):
    """What the published code's faults cost: AUROC of the same draws with and without them."""
    seeds = common_seeds(records, legacy)
    right, faulty, rows = aurocs(records, seeds), aurocs(legacy, seeds), []
    for head, scorer in ARTICLE_SCORERS.items():
        correct, wrong = right[head][scorer], faulty[head][scorer]
        difference = np.subtract(wrong, correct)
        rows.append([HEADS[head], SCORERS[scorer], *(spread(values, 3) for values in [correct, wrong, difference])])
    return markdown(["head", "scorer", "done right", "with the faults", "difference, paired"], rows)


def cost(all_records):
    """Sentences on how long the trials took and how much memory a worker had, and the machine."""
    records = [record for records in all_records for record in records]
    seconds = [record["seconds"] for record in records]
    memory = max(record["peak_memory_mb"] for record in records)
    return (
        f"{len(records)} trials, {sum(seconds) / 3600:.1f} hours of one core, so "
        f"{sum(seconds) / 7200:.1f} hours two at a time; at most {memory} MB each; "
        f"computed in {records[0]['flags']['precision']}. {machine_line(records[0])}"
    )

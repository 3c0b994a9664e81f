"""Tables of the experiment with unseen classes: retrieval, enrolment, rejection, and the planned contrasts."""

from experiments.tables.article2 import HEADS
from experiments.tables.common import below, caption, cell, markdown, note, require_alike
from experiments.tables.differences import contrasts_table, one_difference

import numpy as np

SPACES = {"pixels": "pixels, centred", "pca64": "PCA, 64 components"} | HEADS
DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
# Planned before the runs: MAP@R of one head minus that of another.
PLANNED = [("l2softmax", "softmax"), ("arcface", "l2softmax"), ("adacos", "arcface")]


def by_head(records):
    """The records by data set and head, {data set: {head: [records]}}, in the order of the tables."""
    found = {}
    for dataset in dict.fromkeys(record["name"].split("/")[0] for record in records):
        of_set = [record for record in records if record["name"].split("/")[0] == dataset]
        require_alike(of_set, free=["head", "head_arguments"], repeats=False)
        found[dataset] = {
            head: of_head
            for head in SPACES
            if (of_head := [record for record in of_set if record["settings"]["head"] == head])
        }
        for of_head in found[dataset].values():
            require_alike(of_head)
    return found


def values(records, *keys):
    """A number of each record's metrics, found by its keys; an array, empty if they do not have it."""
    found = []
    for record in sorted(records, key=lambda record: record["settings"]["seed"]):
        number = record["metrics"]
        for key in keys:
            number = number.get(key, {})
        found += [] if number == {} else [number]
    return np.array(found)


def tables(records):
    """Every table that the records allow, {marker: Markdown}."""
    made = {}
    for dataset, of_heads in by_head(records).items():
        name = dataset.replace("-", "_")
        made[f"unseen_{name}"] = found_again(of_heads)
        made[f"unseen_rejection_{name}"] = rejected(of_heads)
    return {marker: table for marker, table in made.items() if table} | contrasts(records)


def found_again(of_heads):
    """Retrieval among the new classes, and their names by 1, 5 and 20 examples, a row a head."""
    n = max(len(of_head) for of_head in of_heads.values())
    rows = []
    for head, of_head in of_heads.items():
        retrieval = [cell(values(of_head, key), n, 3) for key in ["recall_at_1", "map_at_r"]]
        among = [
            " / ".join(f"{values(of_head, 'enrolment', count, of).mean():.2f}" for count in ["1", "5", "20"])
            for of in ["new", "all"]
        ]
        known = cell(values(of_head, "known_accuracy"), n, 1, 100)
        rows.append([SPACES[head] + note(of_head, n), *retrieval, *among, known])
    header = ["", "Recall@1", "MAP@R", "1 / 5 / 20 examples, among the new", "among all ten", "known classes, %"]
    return below(markdown(header, rows), caption([r for of_head in of_heads.values() for r in of_head], n))


def rejected(of_heads):
    """What becomes of known, enrolled and other images where the detector rejects, a row a head."""
    n, rows = max(len(of_head) for of_head in of_heads.values()), []
    keys = ["known named", "enrolled named", "others rejected"]
    for head, of_head in of_heads.items():
        cells = [cell(values(of_head, "rejection", key), n, 3) for key in keys]
        if any(cells):
            rows.append([SPACES[head], *cells])
    if not rows:
        return ""
    header = ["share of the images", "known, named right", "enrolled by five examples, named right", "others, rejected"]
    return below(markdown(header, rows), caption([r for of_head in of_heads.values() for r in of_head], n))


def contrasts(records):
    """The planned contrasts, paired by seed, {"unseen_contrasts": Markdown}."""
    found, trials, n = [], [], 0
    for dataset, of_heads in by_head(records).items():
        for pair in PLANNED:
            of_seed = [
                {record["settings"]["seed"]: record["metrics"]["map_at_r"] for record in of_heads.get(head, [])}
                for head in pair
            ]
            seeds = sorted(set(of_seed[0]) & set(of_seed[1]))
            if len(seeds) > 1:
                difference = np.array([of_seed[0][seed] - of_seed[1][seed] for seed in seeds])
                title = " minus ".join(HEADS[head] for head in pair)
                found.append((title, DATASETS.get(dataset, dataset), one_difference(difference)))
                trials, n = trials + [r for head in pair for r in of_heads[head]], max(n, len(seeds))
    if not found:
        return {}
    return {"unseen_contrasts": below(contrasts_table(found, "data set", "MAP@R", "seeds"), caption(trials, n))}

"""Tables and the figure of the experiment with unseen classes: retrieval, enrolment, rejection, planned contrasts."""

import matplotlib.pyplot as plt
import numpy as np

from experiments.old_tables.article2 import HEADS
from experiments.old_tables.common import below, caption, cell, markdown, note, require_alike
from experiments.old_tables.differences import contrasts_table, one_difference

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


def choice(records):
    """The recipes compared on known classes, a row each: MAP@R and five examples, means over the pairs held out."""
    of_recipes = {}
    for record in records:
        column = DATASETS.get(record["settings"]["dataset"], record["settings"]["dataset"]), record["settings"]["head"]
        of_recipes.setdefault(record["settings"]["recipe_name"], {}).setdefault(column, []).append(record)
    if not of_recipes:
        return {}
    columns = list(dict.fromkeys(column for of_recipe in of_recipes.values() for column in of_recipe))
    rows = [
        [recipe, *(chosen_by(of_recipe.get(column, [])) for column in columns)]
        for recipe, of_recipe in of_recipes.items()
    ]
    n = max(len(of_column) for of_recipe in of_recipes.values() for of_column in of_recipe.values())
    header = ["MAP@R; accuracy by five examples", *(f"{of_set}, {SPACES[head]}" for of_set, head in columns)]
    return {"unseen_choice": below(markdown(header, rows), caption(records, n, "pair"))}


def chosen_by(records):
    """A cell: mean MAP@R, and mean accuracy among the new classes by five examples."""
    if not records:
        return ""
    found = values(records, "map_at_r"), values(records, "enrolment", "5", "new")
    return "; ".join(f"{of.mean():.3f}" for of in found)


def by_scale(records):
    """The records of a cosine softmax, {scale: [records]}, in ascending order."""
    require_alike(records, free=["head_arguments"], repeats=False)
    scales = sorted({record["settings"]["head_arguments"]["scale"] for record in records})
    return {
        scale: [record for record in records if record["settings"]["head_arguments"]["scale"] == scale]
        for scale in scales
    }


def scales(records):
    """Retrieval and enrolment by the scale of a cosine softmax, a row a scale, {"unseen_scales": Markdown}."""
    if not records:
        return {}
    of_scales = by_scale(records)
    n, rows = max(len(of_scale) for of_scale in of_scales.values()), []
    for scale, of_scale in of_scales.items():
        found = [values(of_scale, key) for key in ["recall_at_1", "map_at_r"]]
        found.append(values(of_scale, "enrolment", "5", "new"))
        known = cell(values(of_scale, "known_accuracy"), n, 1, 100)
        rows.append([f"{scale:g}", *(cell(of, n, 3) for of in found), known])
    header = ["scale", "Recall@1", "MAP@R", "five examples, among the new", "known classes, %"]
    return {"unseen_scales": below(markdown(header, rows), caption(records, n))}


def figures(records, of_scales):
    """MAP@R against the scale of a cosine softmax, beside the heads' of the same data set, {file name: figure}."""
    if not of_scales:
        return {}
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    found = {scale: values(of_scale, "map_at_r") for scale, of_scale in by_scale(of_scales).items()}
    mean, sd = [[f(of) for of in found.values()] for f in (np.mean, lambda of: np.std(of, ddof=1))]
    ax.errorbar(list(found), mean, yerr=sd, marker="o", capsize=3, label="cosine softmax, by its scale")
    heads = by_head(records).get(of_scales[0]["settings"]["dataset"], {})
    for head, style in zip(
        [h for h in ["softmax", "adacos", "arcface"] if h in heads], [":", "--", "-."], strict=False
    ):
        ax.axhline(values(heads[head], "map_at_r").mean(), color="0.4", linestyle=style, label=SPACES[head])
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(found), [f"{scale:g}" for scale in found])
    title = f"{DATASETS[of_scales[0]['settings']['dataset']]}: retrieval among classes never seen"
    ax.set(xlabel="scale s of the cosines", ylabel="MAP@R, mean ± standard deviation", title=title)
    ax.grid(alpha=0.3)
    ax.legend()
    return {"unseen_scales.png": figure}

"""Tables of the scoreboard, rendered from its records."""

from hypersphere.runs import read_record
from hypersphere.tables import machine_line, markdown, spread

import numpy as np

# Names in the records.
OURS = "layered LOF (ours)"
ARTICLE = "LOF, embedding (article)"
INPUT_SPACE = "LOF, input space"
NEAR = "digits 5-9"
LEVELS = np.concatenate([np.arange(1, 100) / 1000, np.arange(10, 101) / 100]).round(3)  # of the reliability figure

EASY = ["photographs", "uniform noise", "Gaussian noise"]  # two numbers of an image are enough to tell them

TITLES = {"CIFAR-10": "CIFAR-10, grey"}


def load_records(folder):
    """The records of a folder, all networks of all recipes, in order of name."""
    remedy = "delete it and run benchmark_ood.py again"
    return [read_record(path, remedy) for path in sorted(folder.rglob("*-seed*.json"))]


def of_recipe(records, name, classes=None):
    """The records of one recipe, of networks of so many classes or of all."""
    of_name = [record for record in records if record["flags"]["recipe_name"] == name]
    return [record for record in of_name if classes in (None, record["flags"]["classes"])]


def outlier_sets(records, easy=False):
    """The outlier sets of the records, those of `EASY` or the others; the sets that meet all digits first."""
    ordered = sorted(records, key=lambda record: -record["flags"]["classes"])
    names = dict.fromkeys(name for r in ordered for name in r["metrics"]["detectors"][OURS]["auroc"])
    return [name for name in names if (name in EASY) == easy]


def detectors(records):
    """The detectors of the records, ours last."""
    names = dict.fromkeys(name for record in records for name in record["metrics"]["detectors"])
    return [*(name for name in names if name != OURS), OURS]


def verdicts_on(records, detector):
    """What the records say of a detector; not every record has each."""
    return [r["metrics"]["detectors"][detector] for r in records if detector in r["metrics"]["detectors"]]


def separation_cells(verdicts, sets):
    """ "AUROC / FPR95" in per cent for each set; verdicts : a list of dictionaries by set, not every set in each."""
    cells = []
    for name in sets:
        auroc, fpr95 = ([v[key][name] for v in verdicts if name in v[key]] for key in ["auroc", "fpr95"])
        cells.append(f"{spread(auroc, 2, 100)} / {spread(fpr95, 2, 100)}" if auroc else "")
    return cells


def board(records, easy=False):
    """The scoreboard: detectors in rows, outlier sets in columns, those of `EASY` or the others."""
    sets, rows = outlier_sets(records, easy), []
    for name in detectors(records):
        verdicts = verdicts_on(records, name)
        rows.append([name, *separation_cells(verdicts, sets)])
    return markdown(["AUROC / FPR95, %", *(TITLES.get(name, name) for name in sets)], rows)


def judged_normal(records):
    """The share of each outlier set that passes where 1 % of the MNIST test images are turned away."""
    sets, rows = outlier_sets(records), []
    for name in [ARTICLE, OURS]:
        verdicts = [verdict["judged_normal"] for verdict in verdicts_on(records, name)]
        rows.append([name, *(spread([v[of_set] for v in verdicts if of_set in v], 4) for of_set in sets)])
    return markdown(["share judged normal", *(TITLES.get(name, name) for name in sets)], rows)


def seconds(records):
    """Seconds of each detector's fit and of scoring the MNIST test images."""
    records, rows = [r for r in records if r["flags"]["classes"] == 10], []
    for name in detectors(records):
        verdicts = verdicts_on(records, name)
        rows.append([name, *(spread([v[key] for v in verdicts], 1) for key in ["fit_seconds", "score_seconds"])])
    header = ["detector", "fit to 50,000 images, s", "score 10,000 images, s"]
    return markdown(header, rows) + "\n\n" + cost(records)


def parts(records):
    """What each part of our detector does: AUROC / FPR95."""
    sets = outlier_sets(records)
    rows = [
        [title, *separation_cells([r["metrics"]["parts"][title] for r in records], sets)]
        for title in records[0]["metrics"]["parts"]
    ]
    ours = verdicts_on(records, OURS)
    rows.append(["all of it", *separation_cells(ours, sets)])
    return markdown(["AUROC / FPR95, %", *(TITLES.get(name, name) for name in sets)], rows)


def recipe_table(records):
    """The recipes, the most accurate first: accuracy, and what our detector and the article's make of the network."""

    def test_accuracy(name):
        return np.mean([r["metrics"]["accuracy"]["test"] for r in of_recipe(records, name, 10)])

    rows = []
    for name in sorted({record["flags"]["recipe_name"] for record in records}, key=test_accuracy, reverse=True):
        whole, near = of_recipe(records, name, 10), of_recipe(records, name, 5)
        ours = verdicts_on([*whole, *near], OURS)
        article = verdicts_on([*whole, *near], ARTICLE)
        rows.append(
            [
                name,
                str(whole[0]["flags"]["epochs"]),
                str(len(whole)),
                spread([r["metrics"]["accuracy"]["test"] for r in whole], 2, 100),
                spread([r["metrics"]["accuracy"]["val"] for r in whole], 2, 100),
                *separation_cells(ours, ["Fashion-MNIST", "printed letters", NEAR]),
                *separation_cells(article, ["Fashion-MNIST", NEAR]),
            ]
        )
    header = ["recipe", "epochs", "seeds", "test accuracy, %", "validation accuracy, %"]
    header += [f"ours: {name}" for name in ["Fashion-MNIST", "printed letters", NEAR]]
    return markdown([*header, *(f"article's LOF: {name}" for name in ["Fashion-MNIST", NEAR])], rows)


def calibration(records):
    """What becomes of "turn away 1 % of the digits" on the test images."""
    rows = []
    for record in of_recipe(records, "best", 10):
        of_seed = record["metrics"]["calibration"]
        halves = of_seed["halves"]
        rows.append([str(record["flags"]["seed"]), f"{of_seed['at_1_percent']:.2%}", spread(halves, 2, 100) + " %"])
    return markdown(["seed", "validation images calibrate", "half of the test images calibrates"], rows)


def in_words(metrics):
    """What a progress line says of a trial."""
    ours = metrics["detectors"][OURS]["auroc"]
    aurocs = ", ".join(f"{name} {100 * auroc:.2f}" for name, auroc in ours.items())
    return f"test accuracy {metrics['accuracy']['test']:.2%}, AUROC {aurocs}"


def cost(records):
    """A sentence: how long the trials took."""
    hours = sum(record["seconds"] for record in records) / 3600
    memory = max(record["peak_memory_mb"] for record in records)
    return (
        f"{len(records)} networks, {hours:.1f} hours on one core each; at most {memory} MB a process; "
        f"trained in {records[0]['flags']['precision']}. {machine_line(records[0])}"
    )


def all_tables(records):
    """The README's tables, {marker name: Markdown}."""
    best = of_recipe(records, "best")
    return {
        "board": board(best),
        "board_easy": board(best, easy=True),
        "judged_normal": judged_normal(best),
        "calibration": calibration(best),
        "parts": parts(best),
        "recipes": recipe_table(records),
        "detector_seconds": seconds(best),
    }

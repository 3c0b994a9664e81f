"""Article 1: what an L2-constrained softmax does to accuracy, t-SNE maps and novelty detection, claim by claim.

    python -m experiments.article1                  # ten seeds, an hour on two cores
    python -m experiments.article1 --choose         # the candidates for the recipe instead, 40 minutes
    python -m experiments.article1 --smoke          # a try on small slices, a minute

Each seed runs the four scripts on one core; then LOF is fitted to more and fewer training images. Candidates are judged
by LOF on *validation* digits and *training* images of Fashion-MNIST and grey CIFAR-10, which no other table has.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/article1.jsonl    a line a trial, as it ends; a second call runs those that are missing
"""

import itertools
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib.externals.loky.process_executor import TerminatedWorkerError
from sklearn.neighbors import LocalOutlierFactor

from common import cli, plots, published, records
from common.plots import SPACES
from experiments import building, sweep
from experiments import tables as shared
from experiments.building import ARTICLE
from experiments.tables import cell, difference_holds, number_holds, verdict
from hypersphere import datasets, features, networks, outliers, scores
from hypersphere.errors import InputError

SCRIPTS = {"cnn": "train_cnn_baseline.py", "l2softmax": "train_l2softmax.py"}
SCRIPTS |= {"tsne": "visualize_tsne.py", "lof": "anomaly_lof.py"}
NETWORKS = ["cnn", "l2softmax"]
FIRST_SEED = 1000  # of those that are reported; the candidates' begin at 100
CANDIDATES = {
    "32-64-128 filters, 10 epochs (the former recipe)": ARTICLE | {"width": 32},
    "10 epochs": ARTICLE,
    "10 epochs, penalty 0.0015": ARTICLE | {"weight_decay": 1.5e-3},
    "10 epochs, penalty 0.002": ARTICLE | {"weight_decay": 2e-3},
    "8 epochs": ARTICLE | {"epochs": 8},
    "8 epochs, rate 0.1": ARTICLE | {"epochs": 8, "learning_rate": 0.1},
    "8 epochs, batches of 64": ARTICLE | {"epochs": 8, "batch_size": 64},
}
LOF_IMAGES = [1000, 2000, 5000, 10_000, 20_000, 50_000]  # training images that LOF compares with
SETS = ["MNIST test", "Fashion-MNIST", "CIFAR-10"]  # whose shares accepted the article reports
AT_CONTAMINATION, AT_REJECTION, AT_LEVEL = "accepted_at_contamination", "accepted_at_rejection", "accepted_at_level"
# The claims on both networks: in words, how each is measured, the article's numbers, where a record has ours, digits,
# factor, and whether the L2 constraint should raise the number (1) or lower it (-1).
ACCURACIES = " → ".join(f"{100 * share:.2f}" for share in published.ACCURACY.values())
COMPARISONS = [
    ("L2 raises accuracy", "test accuracy, %", ACCURACIES, ("accuracy", "test"), 2, 100, 1),
    ("L2 smooths the curves", "falls of validation accuracy", "a figure", ("falls",), 1, 1, -1),
    ("L2 smooths the curves", "best minus last epoch, %", "a figure", ("best_minus_last",), 2, 100, -1),
    ("L2 makes clusters clearer", "stray points in the t-SNE map", "a figure", ("stray",), 1, 1, -1),
    ("L2 separates cosines of same and different digits", "gap", "in words", ("cosine_gap",), 2, 1, 1),
]
# Measures that are in the page's table only.
DETAILS = ["best minus last epoch, %", "misclassified", "contamination 0.01, as stated", "contamination 0.001"]
# The claims on LOF: space, our contamination, and the article's; last those with which its numbers come out.
STATED = [(space, level, level) for space, level in published.ACCEPTED]
RATES = [("input", "0.01", "0.001"), ("l2softmax", "0.01", "0.001"), ("l2softmax", "0.04", "0.01")]
PERCENT = {"0.001": "0.1%", "0.01": "1%", "0.04": "4%"}
QUALITY = {"knn_accuracy_space": ("10-NN accuracy in the space, %", 2, 100)}  # of a map: title, digits, factor
QUALITY |= {"knn_accuracy_map": ("in the map, %", 2, 100), "stray": ("stray points", 1, 1)}
QUALITY |= {"trustworthiness": ("trustworthiness", 3, 1), "kl_divergence": ("KL divergence", 3, 1)}


def plan(args, cifar10):
    """The trials, {name: settings}: the scripts with several seeds, or the candidates.

    LOF on the pixels, which know no seed, is fitted to more and fewer images with the first seed alone.
    """
    common, trials = {"smoke": args.smoke, "cifar10_train_sha256": cifar10}, {}
    n = args.seeds or (1 if args.smoke else 3 if args.choose else 10)
    if args.choose:
        for seed, (name, recipe) in itertools.product(range(100, 100 + n), CANDIDATES.items()):
            recipe = recipe | ({"epochs": 1} if args.smoke else {})
            trials[f"choice/{name}/seed{seed}"] = {"recipe": recipe, "seed": seed} | common
        return trials
    seeds = range(FIRST_SEED, FIRST_SEED + n)
    return {f"seed{seed}": {"seed": seed, "input_space": seed == FIRST_SEED} | common for seed in seeds}


def run_trial(name, settings, data, models):
    """The record of a seed, for which the four scripts run, or of a candidate for the recipe."""
    if "recipe" in settings:
        return run_candidate(settings, data)
    with tempfile.TemporaryDirectory() as folder:
        for script, file in SCRIPTS.items():
            flags = ["--out", folder, *(["--data", data] if data else []), *(["--smoke"] if settings["smoke"] else [])]
            flags += {"tsne": [], "lof": ["--layered"]}.get(script, ["--seed", str(settings["seed"])])
            done = subprocess.run([sys.executable, cli.PROJECT / file, *flags], capture_output=True, text=True)
            if done.returncode:
                if done.returncode < 0:  # for lack of memory, mostly: the sweep tries again
                    raise TerminatedWorkerError(f"{name}: {file}: was killed")
                last = done.stderr.strip().rpartition("\n")[2] or f"ended with exit code {done.returncode}"
                raise InputError(f"{name}: {file}: {last}; run again to continue")
        record = load_scripts(Path(folder) / "results")[0] | {"name": name, "settings": settings, "missing": None}
        record["metrics"]["images"] = accepted_by_images(Path(folder) / "models", settings, data)
        return record


def accepted_by_images(models, settings, data):
    """The shares that LOF accepts, where 1% and 4% of MNIST test are rejected, by how many training images it saw.

    Returns {space: {number: {share rejected: {set: share accepted}}}}.
    """
    (x_train, _), _, (x_test, _) = datasets.load_mnist(data, settings["smoke"])
    ood, _ = outliers.load_far(data, smoke=settings["smoke"])
    images = {"train": x_train, "MNIST test": x_test} | {name: ood[name] for name in SETS if name in ood}
    points = {"input": {name: x.reshape(len(x), -1) for name, x in images.items()}} if settings["input_space"] else {}
    for space in NETWORKS:
        network = networks.load_network(models / f"{space}.keras", "run again")
        points[space] = {name: features.embed(network, x)[0] for name, x in images.items()}
    shares = {}
    for space, sets in points.items():
        train, shares[space] = sets.pop("train"), {}
        for n in [n for n in LOF_IMAGES if n <= len(train)]:
            lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True).fit(train[:n])
            novelty = {name: scores.novelty_score(lof, x) for name, x in sets.items()}
            thresholds = {share: np.quantile(novelty["MNIST test"], 1 - share) for share in [0.01, 0.04]}
            shares[space][str(n)] = scores.accepted_shares(novelty, thresholds)
    return shares


def run_candidate(settings, data):
    """Train one network, fit LOF on its training embeddings; judge both on validation digits and training outliers."""
    n_outliers = datasets.SMOKE["test"] if settings["smoke"] else 5000
    (x_train, y_train), (x_val, y_val), _ = datasets.load_mnist(data, settings["smoke"])
    network, loss = building.train(settings["recipe"], x_train, y_train, settings["seed"])
    embedding, logits = features.embed(network, x_val)
    lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True).fit(features.embed(network, x_train)[0])
    digit_scores = scores.novelty_score(lof, embedding)
    thresholds = {share: np.quantile(digit_scores, 1 - share) for share in [0.01, 0.04]}
    clothes, _ = datasets.load_labelled("fashion-mnist", "train", data)
    photographs, _ = datasets.read_cifar10(datasets.find_cifar10(data) / datasets.CIFAR10_FILES[0])
    ood = {"Fashion-MNIST": clothes[:n_outliers], "CIFAR-10": outliers.to_grey_digit_sizes(photographs[:n_outliers])}
    ood_scores = {title: scores.novelty_score(lof, features.embed(network, x)[0]) for title, x in ood.items()}
    metrics = {"validation_accuracy": float(np.mean(logits.argmax(axis=1) == y_val))}
    metrics[AT_REJECTION] = scores.accepted_shares(ood_scores, thresholds)
    return {"metrics": metrics, "loss": loss}


def load_scripts(folder):
    """The records that the four scripts left in a folder, together as one seed: [a record], or [] if there is none.

    Raises InputError if they are not of the same seed and the same networks.
    """
    paths = {script: folder / f"{script}.json" for script in SCRIPTS}
    made = {s: records.read_record(path, f"run {SCRIPTS[s]} again") for s, path in paths.items() if path.is_file()}
    if not made:
        return []
    flags = {script: record["settings"] for script, record in made.items()}
    seeds = {script: flags[script]["seed"] for script in made if script != "tsne"}  # tsne's is that of its maps
    if len(set(seeds.values())) > 1:
        words = ", ".join(f"{script}.json: seed {seed}" for script, seed in seeds.items())
        raise InputError(f"{folder}: records of different seeds ({words}); run the scripts again with one --seed")
    for script, record in made.items():
        for network, key in record.get("networks", {}).items():
            if network in made and made[network].get("network") != key:
                words = f"made from another network than {network}.json; run {SCRIPTS[script]} again"
                raise InputError(f"{paths[script]}: {words}")
    keys, trained = ["smoke", *records.CIFAR10_SETTINGS.values()], [name for name in NETWORKS if name in made]
    settings = {key: value for of_script in flags.values() for key, value in of_script.items() if key in keys}
    settings["seed"] = next(iter(seeds.values()), None)
    settings["precision"] = " and ".join(dict.fromkeys(flags[network]["precision"] for network in trained))
    record = {key: {script: r[key] for script, r in made.items()} for key in ["metrics", "seconds", "peak_memory_mb"]}
    for network in trained:
        accuracy = [row["val_accuracy"] for row in made[network]["history"]]
        falls, best_minus_last = int(np.sum(np.diff(accuracy) < 0)), max(accuracy) - accuracy[-1]
        record["metrics"][network] |= {"falls": falls, "best_minus_last": best_minus_last}
    record["layers"] = {network: made[network]["layers"] for network in trained}
    return [list(made.values())[-1] | {"name": "this run", "settings": settings, "flags": flags} | record]


def measured(records):
    """The records of seeds, in their order, and what they measured, {(space, measure, ...): [a value a seed]}."""
    seeds, values = [record for record in records if not record["name"].startswith("choice/")], defaultdict(list)
    shared.require_alike(seeds)
    for record in sorted(seeds, key=lambda record: record["settings"]["seed"]):
        for (script, *path), value in shared.leaves(record["metrics"]):
            values[(script, *path) if script in NETWORKS else tuple(path)].append(value)
    return seeds, values


def spread(values, digits, factor=1):
    """Mean ± standard deviation, or the value that all have in common: of counts a whole number."""
    if np.ptp(values):
        return shared.spread(values, digits, factor)
    return f"{factor * values[0]:.{0 if np.asarray(values).dtype.kind == 'i' else digits}f}"


def interval(values, digits, factor=1):
    """The 95% interval of the mean, in brackets; "" of a single value."""
    if len(values) < 2:
        return ""
    mean, half = factor * np.mean(values), factor * shared.half_width(values)
    return f" [{mean - half:.{digits}f} to {mean + half:.{digits}f}]"


def claims(values):
    """The article's claims: rows [claim, how it is measured, the article's numbers, ours, verdict].

    values : as `measured` gives them; what was not measured is left out. The verdict is "" for a single seed, and for
    what needs CIFAR-10 where that is missing.
    """
    rows = []
    for claim, measure, article, path, digits, factor, sign in COMPARISONS:
        plain, constrained = (np.array(values[(space, *path)]) for space in NETWORKS)
        if len(plain) and len(constrained):
            ours = f"{spread(plain, digits, factor)} → {spread(constrained, digits, factor)}"
            ours += interval(constrained - plain, digits, factor)
            rows.append([claim, measure, article, ours, verdict([difference_holds(sign * (constrained - plain))])])
    if wrong := values["l2softmax", "wrong"]:
        claim, word = "L2 leaves 69 of 10,000 test images wrong", verdict([number_holds(wrong, published.WRONG, 0, -1)])
        rows.append([claim, "misclassified", f"{published.WRONG}", spread(wrong, 1), word])
    if norm := values["cnn", "norm_auroc"]:
        claim, measure = "Hard images get a small norm without L2", "AUROC, misclassified images"
        word = verdict([difference_holds(np.array(norm) - 0.5)])
        rows.append([claim, measure, "in words", spread(norm, 2) + interval(norm, 2), word])
    return rows + (lof_claims(values) if values["l2softmax", "auroc", "Fashion-MNIST"] else [])


def lof_claims(values):
    """The claims on novelty detection, as rows of `claims`."""
    names = [name for name in SETS if values["input", AT_CONTAMINATION, "0.01", name]]
    rows, no_test = [], [] if names == SETS else [None]  # without CIFAR-10 a row of several sets has no verdict

    def joined(shares):
        return " / ".join(spread(numbers, 3) for numbers in shares) + (" (CIFAR-10 is missing)" if no_test else "")

    def stated(space, level, sets):
        return " / ".join(f"{published.ACCEPTED[space, level][name]:.2f}" for name in sets)

    for space, level, article in STATED + RATES:
        claim = f"LOF on {'the pixels' if space == 'input' else 'the L2 features'}"
        how = ", as stated" if level == article else f", chosen to fit {article}"
        shares, tests = [values[space, AT_CONTAMINATION, level, name] for name in names], []
        for name, numbers in zip(names, shares, strict=True):
            better = 0 if name == "MNIST test" else -1
            tests.append(number_holds(numbers, published.ACCEPTED[space, article][name], 2, better))
        measure, theirs = f"{' / '.join(SETS)}, contamination {level}{how}", stated(space, article, SETS)
        rows.append([claim, measure, theirs, joined(shares), verdict(tests + no_test)])
    theirs = f"{stated('input', '0.001', SETS[1:])} → {stated('l2softmax', '0.001', SETS[1:])}"
    at = {"contamination 0.001": (AT_CONTAMINATION, "0.001"), "1% of digits rejected": (AT_REJECTION, "0.01")}
    for words, (key, level) in at.items():
        pixels, sphere = ([values[space, key, level, name] for name in names[1:]] for space in ["input", "l2softmax"])
        tests = [difference_holds(np.subtract(a, b)) for a, b in zip(pixels, sphere, strict=True)]
        claim, measure = "LOF accepts less on the L2 features than on the pixels", f"{' / '.join(SETS[1:])}, {words}"
        rows.append([claim, measure, theirs, f"{joined(pixels)} → {joined(sphere)}", verdict(tests + no_test)])
    levels = ["0.001", "0.01"]
    rejected = [1 - np.array(values["l2softmax", AT_CONTAMINATION, level, "MNIST test"]) for level in levels]
    articles = [1 - published.ACCEPTED["l2softmax", level]["MNIST test"] for level in levels]
    tests = [number_holds(shares, article, 2) for shares, article in zip(rejected, articles, strict=True)]
    claim, measure = "LOF rejects 1% and 4% of new digits", "contamination 0.001 and 0.01"
    theirs, ours = " / ".join(f"{article:.2f}" for article in articles), " / ".join(spread(x, 4) for x in rejected)
    return [*rows, [claim, measure, theirs, ours, verdict(tests)]]


def tables(records):
    """Every table that the records of article 1 allow, {marker: Markdown}."""
    seeds, values = measured(records)
    if not seeds:
        return {}
    n = len(seeds)
    header = ["claim", "measured as", "article", "ours", "verdict"]
    parts = {"claims": (header, claims(values)), "tsne": tsne(values, n)}
    if values["l2softmax", "auroc", "Fashion-MNIST"]:
        sets = [path[3] for path in values if path[:3] == ("l2softmax", AT_CONTAMINATION, "0.001")]
        parts |= {"lof": lof(values, n, sets), "separation": separation(values, n, sets)}
    made = {}
    for name, (header, rows) in parts.items():
        if rows:
            made[name] = shared.markdown(header, rows, shared.caption(seeds, n, cifar10=name != "tsne"))
    if layers := seeds[-1].get("layers", {}).get("l2softmax"):
        made["network"] = shared.markdown(["layer", "kind", "output shape", "parameters"], layers)
    return made


def run_beside_seeds(run, seeds):
    """The article's claims, with its numbers, those of one run and of several seeds. run, seeds : lists of records."""
    seeds, values = measured(seeds)
    theirs = {tuple(row[:2]): row[3] for row in claims(values)}
    flags, usual = (dict(shared.leaves(record["flags"])) for record in [run[0], (seeds or run)[0]])
    changed = [path for path in flags if path[-1] != "seed" and flags[path] != usual.get(path, flags[path])]
    words = ", ".join(sorted({f"{path[-1]} {flags[path]}" for path in changed}))
    what = f"This run differs from the seeds beside it: {words}" if words else "This run is one draw of what seeds give"
    lines = [f"{what}. Of the seeds: mean ± standard deviation."]
    for claim, measure, article, ours, _ in claims(measured(run)[1]):
        found = {"article": article, "this run": ours, f"{len(seeds)} seeds": theirs.get((claim, measure), "")}
        lines += [f"\n{claim}: {measure}", *(f"    {words:<10}{numbers}" for words, numbers in found.items())]
    return "\n".join(lines)


def tsne(values, n):
    """How well each space and its map separate the digits: a table's header and rows."""
    rows = [
        [title, *(cell(values[space, measure], n, *how) for measure, (_, *how) in QUALITY.items())]
        for space, title in SPACES.items()
    ]
    return ["t-SNE of", *(title for title, *_ in QUALITY.values())], [row for row in rows if any(row[1:])]


def lof(values, n, sets):
    """Shares accepted at LOF's contaminations, at rates of digits rejected, and at the layered detector's levels."""
    rates, rows = [RATES[0], ("cnn", "0.01", None), ("cnn_directions", "0.01", None), *RATES[1:]], []
    levels = [("layered", "0.001", None), ("layered", "0.01", None)]
    for measure, chosen in {AT_CONTAMINATION: rates + STATED, AT_REJECTION: rates, AT_LEVEL: levels}.items():
        for space, level, stated in chosen:
            at = {AT_CONTAMINATION: f"contamination {level}", AT_LEVEL: f"level {level}"}
            at = at.get(measure, f"{PERCENT[level]} of MNIST test rejected") + (" as stated" if level == stated else "")
            article = published.ACCEPTED.get((space, stated), {})
            ours = {name: cell(values[space, measure, level, name], n, 3) for name in sets}
            if any(ours.values()):
                cells = [text + (f" [{article[name]:.2f}]" if name in article else "") for name, text in ours.items()]
                title = "the layered detector" if space == "layered" else f"LOF on {SPACES[space]}"
                rows.append([f"{title}, {at}", *cells])
    return ["share accepted [article] by", *sets], rows


def separation(values, n, sets):
    """AUROC and FPR at 95% TPR of LOF in each space."""
    rows = []
    for space in [space for space in SPACES if values[space, "auroc", "Fashion-MNIST"]]:
        both = [(values[space, "auroc", name], values[space, "fpr95", name]) for name in sets[1:]]
        shown = [f"{shared.spread(auroc, 2, 100)} / {cell(fpr95, n, 2, 100)}" for auroc, fpr95 in both]
        rows.append([SPACES[space], *shown])
    return ["LOF on: AUROC / FPR95, %", *sets[1:]], rows


def summary_rows(records):
    """The article's claims beside ours, as rows of a table; a part of its caption; the records behind them."""
    seeds, values = measured(records)
    rows = []
    for claim, measure, *rest in claims(values):
        measure = measure.rpartition("CIFAR-10, ")[2]  # the page says once which sets the shares are of
        if measure not in DETAILS:
            rows.append([f"{claim}: {measure}", *rest])
    return rows, f"article 1: n = {len(seeds)} seed{'s' * (len(seeds) > 1)}", seeds


def images_figure(values, sets):
    """Shares accepted by how many images LOF saw, in three of the spaces, where 1% and 4% of digits are rejected."""
    options = {"squeeze": False, "sharex": True, "sharey": True, "layout": "constrained"}
    figure, axes = plt.subplots(2, len(sets), figsize=(5.5 * len(sets), 6.4), **options)
    article = {(level, space): published.ACCEPTED[space, stated] for space, level, stated in RATES}
    for (level, name), ax in zip(itertools.product(["0.01", "0.04"], sets), axes.flat, strict=True):
        for space in ["input", *NETWORKS]:
            title, (color, style) = SPACES[space], plots.LINES[space]
            shares = {n: values[space, str(n), level, name] for n in LOF_IMAGES if values[space, str(n), level, name]}
            low, mean, high = ([function(x) for x in shares.values()] for function in [min, np.mean, max])
            ax.plot(list(shares), mean, style, marker="o", color=color, label=title)
            ax.fill_between(list(shares), low, high, color=color, alpha=0.2, linewidth=0)
            if (level, space) in article:
                ax.axhline(article[level, space][name], color=color, linestyle=":", label=f"{title}, the article")
        ax.set(xscale="log", title=f"{name}, {PERCENT[level]} of MNIST test rejected", ylabel="share accepted")
        ax.set(xlabel="training images that LOF saw", ylim=(0, None))
        ax.set_xticks(LOF_IMAGES, [f"{n:,}" for n in LOF_IMAGES], minor=False)
        ax.minorticks_off()
        ax.grid(alpha=0.3)
        ax.label_outer()
    title = "LOF on (bands: range of the seeds)"
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, title=title)
    return figure


def figures(records):
    """LOF in three spaces, mean and range over the seeds, {file name: figure}: ROC curves, and shares by its images."""
    _, values = measured(records)
    sets = [name for name in SETS[1:] if values["input", "curve", name]]
    if not sets:
        return {}
    spaces = [space for space in SPACES if values[space, "curve", sets[0]]]
    accepted = {name: {space: values[space, "curve", name] for space in spaces} for name in sets}
    return {"article1_roc.png": plots.roc_curves(accepted), "article1_images.png": images_figure(values, sets)}


def csvs(records):
    """What the candidates for the recipe came to, {file: CSV}: a row a candidate, mean and sd over its n seeds."""
    candidates = [record for record in records if record["name"].startswith("choice/")]
    if not candidates:
        return {}
    names = [record["name"].split("/")[1] for record in candidates]
    frame = pd.json_normalize([record["metrics"] for record in candidates]).filter(regex="accuracy|accepted")
    groups = frame.groupby(names, sort=False)
    frame = groups.agg(["mean", "std"]).round(5)
    frame.columns = [" ".join(column) for column in frame.columns]
    frame.insert(0, "n", groups.size())
    return {"article1_choice.csv": frame.to_csv(index_label="candidate")}


def main():
    args = sweep.parser(__doc__, "compare the candidates for the recipe instead", "10; with --choose 3").parse()
    if args.choose:
        datasets.find_cifar10(args.data)
    for record in sweep.run("experiments.article1", plan(args, sweep.cifar10_setting(args.data)), args):
        print(f"{record['name']}: {record['metrics']}")


if __name__ == "__main__":
    main()

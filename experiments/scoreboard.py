"""The scoreboard: which detector rejects images that are not digits, far and near, without having seen one?

    python -m experiments.scoreboard                  # five seeds, 50 minutes on two cores
    python -m experiments.scoreboard --choose         # compare what the ensemble's detector looks at, half an hour
    python -m experiments.scoreboard --smoke          # a try on small slices, a minute

A trial trains a classifier and two rotation-prediction networks, which also tell apart the digits' four turns and a
class "none" of joined digits and random strokes; and article 1's network. If they learn all digits they meet clothes,
photographs, letters and turned digits; if they learn the digits 0-4 they meet 5-9. The ensemble's detector looks at the
first three networks, the others at the pixels, at article 1's network, or at the classifier. --choose leaves some
digits out of the training: the outliers are these, and what `made_up_outliers.py` makes of the others' validation
images; half of the latter calibrates, the other half is judged.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/scoreboard.jsonl              a line a trial, as it ends; with its line it is not run again
        runs/models/scoreboard/ensemble/*.keras    the networks: SEED-classifier, -rotation1, -rotation2
        runs/models/scoreboard/ensemble/*.png      OOD images that the ensemble's detector accepts, of the first seed
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from common import plots
from experiments import building, made_up_outliers, near_outliers, sweep
from experiments import tables as shared
from experiments.building import ARTICLE, RECIPE
from hypersphere import datasets, features, networks, rotation, scores
from hypersphere.detectors import fit_on_layers, side_by_side

RECIPES = {"classifier": RECIPE | {"epochs": 15}, "rotation": RECIPE | {"epochs": 4, "alpha": None}}
RECIPES |= {"article": ARTICLE}
N_ROTATION_NETWORKS = 2
SEEDS = range(52, 62, N_ROTATION_NETWORKS)  # no seed of a choice, nor of an earlier run
LOF_IMAGES = 10_000  # training images that LOF compares with, as in article 1
OURS, ENSEMBLE = "layered detector (ours)", "ensemble (ours)"
LEVELS = np.concatenate([np.arange(1, 100) / 1000, np.arange(10, 101) / 100]).round(3)  # of the reliability figure

CHOSEN = {layer: truncation for layer, (_, truncation) in rotation.LAYERS.items()}
# Parts of the ensemble's detector, {title: {layer: the p-value above which it has no say}}.
WITHOUT = {"rotation blocks": ["turn block1", "turn blocks"], "rotation embeddings": ["turn embeddings"]}
WITHOUT |= {"the classifier's embedding": ["embedding"], "disagreement": ["disagreement"]}
PARTS = {
    f"without {title}": {layer: CHOSEN[layer] for layer in CHOSEN if layer not in layers}
    for title, layers in WITHOUT.items()
}
# --choose: the digits left out in turn; combinations of layers; and variants of the detector, {title: (number of
# rotation-prediction networks, other options)}.
LEFT_OUT = {"2": [2], "5": [5], "odd": [1, 3, 5, 7, 9], "0-4": [0, 1, 2, 3, 4]}
CHOICE_SEED, N_MADE_UP = 100, 1000  # seeds 100 and 101; images a kind
COMBINATIONS = {"chosen": CHOSEN} | {f"chosen, {title}": part for title, part in PARTS.items()}
COMBINATIONS |= {f"chosen, {layer} below 0.05": CHOSEN | {layer: 0.05} for layer in ["embedding", "disagreement"]}
VARIANTS = {"chosen": (2, {}), "1 rotation-prediction network": (1, {})}
VARIANTS |= {"64 components": (2, {"n_components": 64}), "20 neighbours": (2, {"n_neighbors": 20})}


def plan(args, cifar10):
    """The trials, {name: settings}: all digits and 0-4 for each seed, or, with --choose, each way to leave some out."""
    recipes = {name: recipe | ({"epochs": 1} if args.smoke else {}) for name, recipe in RECIPES.items()}
    common = {"smoke": args.smoke, "recipes": recipes}
    if args.choose:
        common |= {"seed": CHOICE_SEED}
        titles = list(LEFT_OUT)[:1] if args.smoke else LEFT_OUT
        return {f"evidence/without_{title}": common | {"left_out": LEFT_OUT[title]} for title in titles}
    trials = {}
    for seed in SEEDS[: args.seeds or (1 if args.smoke else None)]:
        for classes, more in {10: {"cifar10_train_sha256": cifar10}, 5: {}}.items():
            trials[f"ensemble/{classes}-digits-seed{seed}"] = common | {"classes": classes, "seed": seed} | more
    return trials


# %% Detectors from the literature: functions of training features, {name: (n, d)}, and labels, (n,), that return a
# function of new features, to novelty scores, (m,)


def largest_logit(train, labels):
    """Minus the largest logit. Source: https://arxiv.org/abs/1911.11132"""
    return lambda new: -new["logits"].max(axis=1)


def mahalanobis(train, labels):
    """Squared Mahalanobis distance to the nearest class mean, one covariance. Source: https://arxiv.org/abs/1807.03888"""
    embedding = train["embedding"]
    means = np.stack([embedding[labels == label].mean(axis=0) for label in np.unique(labels)])
    covariance = EmpiricalCovariance(assume_centered=True).fit(embedding - means[labels])
    return lambda new: np.min([covariance.mahalanobis(new["embedding"] - mean) for mean in means], axis=0)


def nearest_neighbors(train, labels):
    """Distance of the embedding's direction to the 50th nearest training one. Source: https://arxiv.org/abs/2204.06507"""
    search = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(scores.directions(train["embedding"]))
    return lambda new: search.kneighbors(scores.directions(new["embedding"]))[0][:, -1]


def local_outlier_factor(train, labels):
    """The article's detector, LOF with 20 neighbours."""
    lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True).fit(train["embedding"][:LOF_IMAGES])
    return lambda new: scores.novelty_score(lof, new["embedding"])


DETECTORS = {  # {title: (what it looks at, function)}
    "LOF, pixels": ("pixels", local_outlier_factor),
    "LOF, article 1's network": ("article", local_outlier_factor),
    "largest logit": ("classifier", largest_logit),
    "Mahalanobis": ("classifier", mahalanobis),
    "nearest neighbours": ("classifier", nearest_neighbors),
    "LOF, embedding": ("classifier", local_outlier_factor),
}


def train_networks(settings, x, y):
    """The classifier and the rotation-prediction networks of images, (n, 28, 28, 1), and labels, (n,): {name: network}.

    The first two have the trial's seed, the last one the next; the seed also decides the images of "none".
    """
    recipes, seed = settings["recipes"], settings["seed"]
    trained = {"classifier": building.train(recipes["classifier"], x, y, seed)[0]}
    for number in range(N_ROTATION_NETWORKS):
        seen = made_up_outliers.turns_and_none(x, y, np.random.default_rng(seed + number))
        trained[f"rotation{number + 1}"] = building.train(recipes["rotation"], *seen, seed + number)[0]
    return trained


def ablation(log_p, parts):
    """`scores.separation` by parts of the ensemble's detector, {title: separation}.

    log_p : {set: (n, number of layers)}; parts : {title: {layer: its truncation}}.
    """
    found = {}
    for title, part in parts.items():
        columns, truncations = [list(CHOSEN).index(layer) for layer in part], np.log(list(part.values()))
        novelty = {name: -scores.log_truncated_product(rows[:, columns], truncations) for name, rows in log_p.items()}
        found[title] = scores.separation(novelty.pop("test"), novelty)
    return found


def run_trial(name, settings, data, models):
    """Train the networks, kept in `models/NAME-*.keras`, and judge every detector on every set.

    With --choose, judge every combination of layers instead. Of the first seed some accepted images are drawn, too.
    """
    if "left_out" in settings:
        return choose(settings, data)
    learned, ood, missing = near_outliers.load_split(settings["classes"], data, settings["smoke"])
    trained = train_networks(settings, *learned[0])
    (models / name).parent.mkdir(parents=True, exist_ok=True)
    for title, network in trained.items():
        networks.save_network(network, models / f"{name}-{title}.keras")
    article, _ = building.train(settings["recipes"]["article"], *learned[0], settings["seed"])
    classifier, *rotation_networks = trained.values()
    model = rotation.feature_model(classifier, rotation_networks)

    def look(x):
        """What detectors look at in images, {space: {name: (n, d)}}."""
        embeddings = {"pixels": x.reshape(len(x), -1), "article": features.embed(article, x)[0]}
        spaces = {space: {"embedding": embedding} for space, embedding in embeddings.items()}
        return spaces | {"classifier": features.outputs(model, x)}

    (x, y), (x_val, _), (x_test, y_test) = learned
    train, val = look(x), look(x_val)
    judges = {title: (space, fit(train[space], y)) for title, (space, fit) in DETECTORS.items()}
    ours = fit_on_layers(features.LAYERS, train["classifier"], val["classifier"])
    judges[OURS] = "classifier", lambda found: -ours.score_samples(side_by_side(found, features.LAYERS))
    ensemble = fit_on_layers(rotation.LAYERS, train["classifier"], val["classifier"], **rotation.OPTIONS)
    del train
    novelty, log_p, digits = {title: {} for title in [*judges, ENSEMBLE]}, {}, {}
    for key, images in {"test": x_test, **ood}.items():  # one set after the other, for the memory of their features
        found = look(images)
        for title, (space, score) in judges.items():
            novelty[title][key] = score(found[space])
        found = found["classifier"]
        log_p[key] = ensemble.layer_log_p_values(side_by_side(found, rotation.LAYERS))
        novelty[ENSEMBLE][key] = -ensemble.evidence(log_p[key])
        digits[key] = {name: found[name].argmax(axis=1) for name in ["log_probabilities", "logits"]}
    metrics = {"parameters": [network.count_params() for network in trained.values()]}
    for metric, output in [("accuracy", "log_probabilities"), ("classifier_accuracy", "logits")]:
        metrics[metric] = {"test": float(np.mean(digits["test"][output] == y_test))}
    metrics["detectors"] = {
        title: scores.separation(found["test"], {key: found[key] for key in ood}) for title, found in novelty.items()
    }
    metrics["parts"] = ablation(log_p, PARTS)
    p_values = scores.conformal_p_values(-ensemble.calibration_scores_, novelty[ENSEMBLE]["test"])
    metrics["calibration"] = {"levels": LEVELS.tolist(), "rejected": [float(np.mean(p_values <= p)) for p in LEVELS]}
    if settings["seed"] == SEEDS[0]:
        accepted = {key: novelty[ENSEMBLE][key] <= -ensemble.offset_ for key in ood}
        named = {key: digits[key]["log_probabilities"] for key in ood}
        title = f"Accepted at a nominal 1%, at which {np.mean(p_values <= 0.01):.2%} of the test digits are rejected"
        plots.save(accepted_gallery(ood, accepted, named, title), models / f"{name}-accepted.png")
    return {"metrics": metrics, "missing": missing}


def accepted_gallery(images, accepted, named, title):
    """Up to sixteen of the images accepted of each set, drawn at random; sets of which none is are left out.

    images : {set: (n, 28, 28, 1)}; accepted : {set: (n,) bool}; named : {set: (n,)}, the digits they are taken for.
    """
    rng, rows = np.random.default_rng(0), {}
    for key, is_accepted in accepted.items():
        chosen = rng.permutation(np.flatnonzero(is_accepted))[:16]
        if len(chosen):
            rows[f"{key}: {np.mean(is_accepted):.2%}"] = [(images[key][i], f"as {named[key][i]}") for i in chosen]
    return plots.rows_of_images(rows, title)


def choose(settings, data):
    """Judge every combination of layers on the outliers made."""
    (x_train, y_train), (x_val, y_val), _ = datasets.load_mnist(data, settings["smoke"])
    kept = np.setdiff1d(np.arange(10), settings["left_out"])
    is_learned, is_kept = np.isin(y_train, kept), np.isin(y_val, kept)
    x, y = x_train[is_learned], np.searchsorted(kept, y_train[is_learned])
    calibrating, judged = np.flatnonzero(is_kept)[::2], np.flatnonzero(is_kept)[1::2]
    images = {"train": x, "val": x_val[calibrating], "test": x_val[judged], "left out": x_val[~is_kept]}
    rng, source = np.random.default_rng(settings["seed"]), judged[:N_MADE_UP]
    for kind, make in (made_up_outliers.NEW | made_up_outliers.LEARNED).items():
        images[kind] = make(x_val[source], y_val[source], rng)
    classifier, *rotation_networks = train_networks(settings, x, y).values()
    combinations = {}
    for title, (count, options) in VARIANTS.items():
        model = rotation.feature_model(classifier, rotation_networks[:count])
        found = {key: features.outputs(model, x) for key, x in images.items()}
        parts = found.pop("train"), found.pop("val")
        detector = fit_on_layers(rotation.LAYERS, *parts, **rotation.OPTIONS | options)
        log_p = {key: detector.layer_log_p_values(side_by_side(rows, rotation.LAYERS)) for key, rows in found.items()}
        combinations[title] = ablation(log_p, COMBINATIONS)
    return {"metrics": {"combinations": combinations}}


# %% Tables and figures

PUBLISHED = {  # AUROC / FPR95 in per cent. Sources: https://arxiv.org/abs/2210.07242, https://github.com/deel-ai/oodeel
    "theirs: Gaussian mixtures, OpenOOD": {"Fashion-MNIST": "99.80 / 0.61", "CIFAR-10": "99.97 / 0.00"},
    "theirs: nearest neighbours, oodeel": {"digits 5-9": "97.46 / 9.2"},
}
SETS = ["Fashion-MNIST", "CIFAR-10", "photographs", "printed letters", "turned digits", "digits 5-9"]


def trials_of(records):
    """The records of trials that judge detectors, those with all digits first; InputError if they are not alike."""
    trials = [record for record in records if "classes" in record["settings"]]
    trials.sort(key=lambda record: (-record["settings"]["classes"], record["settings"]["seed"]))
    shared.require_alike(trials, free=["classes", "cifar10_train_sha256"])
    return trials


def frame_of(found):
    """A data frame of {detector: `scores.separation`}: a row a detector and set, a column a measure."""
    frames = {detector: pd.DataFrame(numbers) for detector, numbers in found.items()}
    return pd.concat(frames, names=["detector", "set"]).reset_index()


def detector_table(trials, detectors, measures, digits, factor=1, published=None):
    """Detectors or parts in rows, sets in columns: AUROC and FPR95, or shares accepted at 1% of digits rejected."""
    n = len({record["settings"]["seed"] for record in trials})
    frame = pd.concat(frame_of(r["metrics"]["detectors"] | r["metrics"]["parts"]) for r in trials)

    def text(group):
        return " / ".join(shared.spread(group[name], digits, factor) for name in measures) + shared.note(group, n)

    cells = frame.groupby(["detector", "set"]).apply(text, include_groups=False).unstack()
    cells = pd.concat([cells.reindex(detectors), pd.DataFrame(published).T]).dropna(how="all")
    cells = cells.reindex(columns=[name for name in SETS if name in cells]).fillna("").rename_axis("")
    caption = shared.caption(trials, n, cifar10="CIFAR-10" in cells)
    return shared.markdown(["", *cells], cells.reset_index().to_numpy(), caption)


def digits_table(trials):
    """What becomes of test digits: how many are named right, and how many are rejected at a nominal 1%."""
    rows, n, level = [], len({record["settings"]["seed"] for record in trials}), LEVELS.tolist().index(0.01)
    for classes, title in {10: "all ten digits", 5: "digits 0-4"}.items():
        metrics = [record["metrics"] for record in trials if record["settings"]["classes"] == classes]
        accuracies = [[found[name]["test"] for found in metrics] for name in ["accuracy", "classifier_accuracy"]]
        rejected = [found["calibration"]["rejected"][level] for found in metrics]
        rows.append([title, *(shared.cell(values, n, 2, 100) for values in [*accuracies, rejected])])
    header = ["networks that learned", "accuracy, % (ensemble)", "classifier alone", "rejected at a nominal 1%, %"]
    return shared.markdown(header, rows, shared.caption(trials, n))


def tables(records):
    """Every table that the records allow, {marker: Markdown}."""
    trials = trials_of(records)
    if not trials:
        return {}
    return {
        "scoreboard": detector_table(trials, [*DETECTORS, OURS, ENSEMBLE], ["auroc", "fpr95"], 2, 100, PUBLISHED),
        "scoreboard_digits": digits_table(trials),
        "scoreboard_accepted": detector_table(trials, [*DETECTORS, OURS, ENSEMBLE, *PARTS], ["accepted"], 3),
    }


def accepted_figure(trials):
    """Shares accepted where 1% of the test digits are rejected: a row a set, a marker a detector, lines the range."""
    frame = pd.concat(frame_of(record["metrics"]["detectors"]) for record in trials)
    figure, ax = plt.subplots(figsize=(10, 5.5), layout="constrained")
    detectors, smallest = [*DETECTORS, OURS, ENSEMBLE], 1e-4
    for number, (detector, marker) in enumerate(zip(detectors, itertools.cycle("osD^v<>P"), strict=False)):
        shares = frame[frame.detector == detector].groupby("set").accepted.agg(["min", "mean", "max"]).clip(smallest)
        y = [SETS.index(name) + 0.8 * (number + 0.5) / len(detectors) for name in shares.index]
        color = plots.DIGIT_COLORS[::-1][number % 10]
        ax.hlines(y, shares["min"], shares["max"], color=color)
        ax.plot(shares["mean"], y, marker, color=color, label=detector)
    ax.set(xscale="log", xlim=(0.9 * smallest, 1.1))
    ax.set(xlabel="share accepted where 1% of the test digits are rejected (left edge: 0.0001 or less)")
    ax.set_yticks(np.arange(len(SETS)) + 0.4, SETS)
    ax.set_yticks(np.arange(1, len(SETS)) - 0.1, minor=True)
    ax.tick_params(axis="y", which="both", length=0)
    ax.grid(axis="x", alpha=0.3)
    ax.grid(axis="y", which="minor")
    ax.set_ylim(len(SETS) - 0.1, -0.1)
    figure.legend(loc="outside lower center", ncols=4, title="markers: mean of the seeds; lines: their range")
    return figure


def reliability_figure(trials):
    """The measured rejection rate of test digits against the nominal level, a curve a seed."""
    figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    ax.plot(LEVELS, LEVELS, color="black", linewidth=1, label="nominal")
    rejected = np.transpose([record["metrics"]["calibration"]["rejected"] for record in trials])
    lines = ax.plot(LEVELS, rejected, color=plots.DIGIT_COLORS[0], alpha=0.7)
    lines[0].set_label("each of the seeds")
    ax.set(xscale="log", yscale="log", xlim=(1e-3, 0.1), ylim=(1e-3, 0.15))
    ax.set(xlabel="nominal level", ylabel="share of the MNIST test images rejected")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def figures(records):
    """The figures that the records allow, {file name: figure}."""
    trials = trials_of(records)
    ten = [record for record in trials if record["settings"]["classes"] == 10]
    made = {"scoreboard_reliability.png": reliability_figure(ten)} if ten else {}
    return made | ({"scoreboard.png": accepted_figure(trials)} if trials else {})


def csvs(records):
    """The mean shares accepted by combinations of layers, {file name: text}."""
    chosen = [record["metrics"]["combinations"] for record in records if "combinations" in record["metrics"]]
    if not chosen:
        return {}
    frames = [frame_of(found).assign(variant=variant) for one in chosen for variant, found in one.items()]
    shares = pd.concat(frames).pivot_table("accepted", ["variant", "detector"], "set", sort=False)
    shares.insert(0, "mean", shares.drop(columns=made_up_outliers.LEARNED).mean(axis=1))  # of what none has learned
    return {"scoreboard_evidence.csv": shares.sort_values("mean").round(4).to_csv()}


def main():
    args = sweep.parser(__doc__, "compare what the detector looks at", f"the first N of {len(SEEDS)}").parse()
    trials = plan(args, None if args.choose else sweep.cifar10_setting(args.data))
    found = sweep.run("experiments.scoreboard", trials, args)
    print(*(csvs(found) if args.choose else tables(found)).values(), sep="\n\n")


if __name__ == "__main__":
    main()

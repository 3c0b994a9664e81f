"""Outliers that resemble digits: a detector that looks at three networks, beside the one that looks at one.

    python -m experiments.ensemble             # five seeds, 45 minutes on two cores
    python -m experiments.ensemble --smoke     # a try on small slices, a minute

Beside the *classifier* stand two *rotation-prediction networks*, which also tell apart the digits' four turns, and a
class "none" of joined digits and random strokes. What the detector looks at was chosen on made-up outliers alone, as
`experiments.evidence` shows; here it meets the sets of the scoreboard. As there, each seed trains for all digits, and
for the digits 0-4 alone, which meet the digits 5-9.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/ensemble.jsonl                    a line a trial, as it ends
        runs/models/ensemble/*.keras, *.json           the networks: a trial whose line is gone reads its own
        runs/figures/ensemble_accepted.png             what passes now, and what passed before
Repeating the command continues with what is missing.
"""

import functools
import time
from dataclasses import asdict, replace

import keras
import numpy as np

from common import cli, plots, records
from experiments import pseudo, rotation, sweep
from experiments.baselines import ARTICLE, DETECTORS, Known
from experiments.scoreboard import (
    BEST,
    OURS,
    calibration,
    images_of,
    judge,
    judge_layers,
    kept_gallery,
    trained_network,
)
from hypersphere import features, files, scores
from hypersphere.detectors import LayeredDetector, layers_of

CLASSIFIER = replace(BEST, width=16, epochs=15)
TURNS = replace(BEST, width=16, epochs=4, alpha=None)  # each epoch sees each image in four turns
RECIPES = {"classifier": CLASSIFIER, "turns": TURNS}
N_ROTATION_NETWORKS = 2
ENSEMBLE = "ensemble (ours)"
SEEDS = range(42, 52, N_ROTATION_NETWORKS)  # the scoreboard's are others, and the choice's are 100 and 101
NEAR = ["printed letters", "turned digits", "digits 5-9"]
GALLERY = 14  # images a row


# %% The networks


def recipes_of(args):
    """The recipes of the networks, {name: {field: value}}."""
    return {name: asdict(replace(recipe, epochs=1) if args.smoke else recipe) for name, recipe in RECIPES.items()}


def train_ensemble(settings, x, y, path):
    """The classifier, the list of rotation-prediction networks, and the seconds of their training; kept beside `path`.

    The first of these has the trial's seed, the next one the next; the seed also decides the images of "none".
    """
    common = {"precision": settings["precision"], "smoke": settings["smoke"]}

    def train(name, recipe, seed, x, y):
        own = common | {"seed": seed, "recipe": settings["recipes"][recipe], "classes": int(y.max()) + 1}
        return trained_network(own, x, y, path.with_name(f"{path.name}-{name}.keras"))

    trained = [train("classifier", "classifier", settings["seed"], x, y)]
    for number in range(N_ROTATION_NETWORKS):
        seed = settings["seed"] + number
        seen = pseudo.turns_and_none(x, y, np.random.default_rng(seed))
        trained.append(train(f"turns{number + 1}", "turns", seed, *seen))
    (classifier, *rotation_networks), notes = zip(*trained, strict=True)
    return classifier, rotation_networks, sum(note["seconds"] for note in notes)


# %% A trial


def plan(args, cifar10_sha256):
    """The trials, {name: settings}: networks of all digits and of five, for each seed."""
    common = {"precision": args.precision, "smoke": args.smoke, "recipes": recipes_of(args)}
    trials = {}
    for seed in SEEDS[: args.seeds or (1 if args.smoke else len(SEEDS))]:
        for classes in [10, 5]:
            settings = common | {"classes": classes, "seed": seed}
            settings |= {"cifar10_sha256": cifar10_sha256} if classes == 10 else {}
            trials[f"{classes}-digits-seed{seed}"] = settings
    return trials


def run_trial(name, settings, data, models):
    """Train the networks, and judge the article's detector, the layered one of the classifier, and that of all.

    The accuracy is of all networks together, beside it the classifier's own. Of the first seed the images that pass are
    kept, in `models/NAME-accepted.npz`.
    """
    ((x_train, y_train), (x_val, y_val), (x_test, y_test)), ood, missing = images_of(settings, data)
    classifier, rotation_networks, seconds = train_ensemble(settings, x_train, y_train, models / name)
    trained = time.perf_counter()
    model = rotation.feature_model(classifier, rotation_networks)
    extract = functools.partial(model.predict, batch_size=250, verbose=0)
    known = Known(extract(x_train), y_train, extract(x_val))
    metrics = {"extract_seconds": time.perf_counter() - trained}
    test, of_sets = extract(x_test), {of_set: extract(x) for of_set, x in ood.items()}
    for metric, answer in [("accuracy", "log_probabilities"), ("classifier_accuracy", "logits")]:
        metrics[metric] = {
            split: float((of_split[answer].argmax(axis=1) == label).mean())
            for split, of_split, label in [("val", known.calibration, y_val), ("test", test, y_test)]
        }
    metrics["parameters"] = [network.count_params() for network in [classifier, *rotation_networks]]
    metrics["detectors"] = {ARTICLE: judge(DETECTORS[ARTICLE], known, test, of_sets)}
    p_values = {}
    for title, layers, detector in [
        (OURS, features.LAYERS, LayeredDetector(layers_of(known.train, features.LAYERS))),
        (ENSEMBLE, rotation.LAYERS, rotation.detector_for(known.train)),
    ]:
        judged, test_log_p, log_p = judge_layers(detector, known, test, of_sets, layers)
        metrics["detectors"][title] = judged
        if title == ENSEMBLE:
            metrics["parts"] = without_each(detector, test_log_p, log_p)
            metrics["calibration"] = calibration(-detector.calibration_scores_, -detector.evidence(test_log_p))
        novelty = {of_set: -detector.evidence(of) for of_set, of in log_p.items()}
        p_values[title] = {
            of_set: scores.conformal_p_values(-detector.calibration_scores_, of) for of_set, of in novelty.items()
        }
    if settings["seed"] == SEEDS[0]:
        path = models / f"{name}-accepted.npz"
        files.save_arrays(path, accepted(ood, p_values, of_sets, detector.level, settings["seed"]))
    keras.backend.clear_session()
    started = trained - seconds  # a training counts, whichever run it was in
    return records.new_record(name, settings, metrics, started, missing=missing)


def without_each(detector, test_log_p, log_p):
    """`scores.separation` of the detector of all networks without one of its layers, {title: separation}."""
    found = {}
    for number, layer in enumerate(rotation.LAYERS):

        def novelty(of_set, number=number):
            is_layer = np.arange(of_set.shape[1]) == number
            return -detector.evidence(np.where(is_layer, 0, of_set))  # a p-value of 1 says nothing

        ood = {of_set: novelty(of) for of_set, of in log_p.items()}
        found[f"without {layer}"] = scores.separation(novelty(test_log_p), ood)
    return found


# %% The figure of what passes


def accepted(ood, p_values, found, level, seed):
    """OOD images near digits that pass the detector of one network, of the ensemble, or both, drawn at random.

    Returns {"rows": names of the rows, "row": (n,) each image's, "caption": (n,) digits, "image": (n, 28, 28, 1)}.
    """
    rng, rows, numbers, captions, images = np.random.default_rng(seed), [], [], [], []
    for of_set in [of_set for of_set in NEAR if of_set in ood]:
        before, now = (p_values[title][of_set] > level for title in [OURS, ENSEMBLE])
        for words, passes in [("no longer", before & ~now), ("still", before & now), ("only now", ~before & now)]:
            chosen = rng.permutation(np.flatnonzero(passes))[:GALLERY]
            numbers += [len(rows)] * len(chosen)
            rows.append(f"{of_set}: {words} ({np.mean(passes):.1%})")
            captions += [f"as {digit}" for digit in found[of_set]["log_probabilities"][chosen].argmax(axis=1)]
            images += list(ood[of_set][chosen])
    return {
        "rows": np.array(rows),
        "row": np.array(numbers),
        "caption": np.array(captions),
        "image": np.array(images).reshape(-1, 28, 28, 1),
    }


def draw_accepted(trials, out):
    """Draw what passes in the first seed's trials, or say that its images were deleted."""
    rows = {}
    for name in trials:
        path = out / "models" / "ensemble" / f"{name}-accepted.npz"
        if trials[name]["seed"] == SEEDS[0]:
            kept = kept_gallery(path, name, "row")
            if kept is None:
                return
            rows |= kept
    title = f"What passes with three networks, and what passed with one, by random draw (seed {SEEDS[0]})"
    plots.save(plots.rows_of_images(rows, title), out / "figures" / "ensemble_accepted.png")


def main():
    parser = cli.Parser(__doc__, out=cli.PROJECT / "runs")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", help=f"the first N of {len(SEEDS)}")
    sweep.add_flags(parser)
    args = parser.parse()
    trials = plan(args, sweep.cifar10_setting(args.data))
    for record in sweep.run("experiments.ensemble", trials, args, "ensemble"):
        accuracy, ours = record["metrics"]["accuracy"]["test"], record["metrics"]["detectors"][ENSEMBLE]
        words = [
            f"{of_set} {100 * auroc:.2f} / {100 * ours['fpr95'][of_set]:.2f}" for of_set, auroc in ours["auroc"].items()
        ]
        print(f"{record['name']}: test accuracy {accuracy:.2%}; AUROC / FPR95 {', '.join(words)}")
    draw_accepted(trials, args.out)


if __name__ == "__main__":
    main()

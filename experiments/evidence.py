"""What should the detector look at? Second networks and combinations, compared on made-up outliers alone.

    python -m experiments.evidence                 # two digits left out in turn, half an hour on two cores
    python -m experiments.evidence --smoke

The networks learn nine digits: the *classifier*, and *second networks* that tell the digits' turns apart, too. The
digit left out, and the images that `experiments.pseudo` makes from the others' validation images are the outliers. Half
of the validation images calibrates, the others are judged.

Reads   data/mnist
Writes  runs/results/evidence.jsonl                a line a trial, as it ends
        runs/models/evidence/*.keras, *.json       the networks: a trial whose line is gone reads its own
Repeating the command continues with what is missing.
"""

import time
from dataclasses import asdict, replace

from experiments import pseudo, sweep
from experiments.draws import turned_classes, turns
from experiments.two_networks import CLASSIFIER, SECOND, train
from hypersphere import cli, datasets, detectors, features, records, scores
from hypersphere.files import PROJECT

import keras
import numpy as np
from scipy.special import log_softmax

LEFT_OUT = [2, 5]
SEED = 100  # of no reported trial
N_PSEUDO = 1000  # images a set
# Second networks, {title: (recipe, whether "none" is a class)}; the last is the one that is used.
SECONDS = {
    "on the sphere": (replace(SECOND, alpha=CLASSIFIER.alpha), False),
    "linear": (SECOND, False),
    "linear, none": (SECOND, True),
}
# What can be looked at, {name: (measure, the p-value above which it has no say)}.
PARTS = detectors.LAYERS | detectors.TWO_NETWORKS
PARTS |= {"second block3": ("lof", 1.0), "second embedding": ("distance", 1.0), "turns": ("score", 0.05)}


def together(*parts):
    """A combination of parts, {name: the p-value above which it has no say}."""
    return {part: PARTS[part][1] for part in parts}


CHOSEN = together(*detectors.TWO_NETWORKS)
BLOCK1, BLOCKS, EMBEDDINGS, EMBEDDING, DISAGREEMENT = CHOSEN
COMBINATIONS = {
    "chosen": CHOSEN,
    **{
        f"chosen, {BLOCK1} below {low}, {DISAGREEMENT} below {high}": CHOSEN | {BLOCK1: low, DISAGREEMENT: high}
        for low, high in [(0.005, 0.05), (0.01, 0.2), (0.01, 1.0), (0.05, 0.05), (0.05, 1.0)]
    },
    **{f"chosen, without {part}": together(*(other for other in CHOSEN if other != part)) for part in CHOSEN},
    "chosen, turns": CHOSEN | together("turns"),
    "chosen, turns instead of disagreement": together(BLOCK1, BLOCKS, EMBEDDINGS, EMBEDDING, "turns"),
    "chosen, the third block alone": together(BLOCK1, "second block3", EMBEDDINGS, EMBEDDING, DISAGREEMENT),
    "chosen, of the upright image alone": together(BLOCK1, BLOCKS, "second embedding", EMBEDDING, DISAGREEMENT),
    "second block1, block3, embedding; embedding": together(BLOCK1, "second block3", "second embedding", EMBEDDING),
    "classifier alone": together(*detectors.LAYERS),
}
COMPONENTS = {"64 components": detectors.N_COMPONENTS, "all features": None}


# %% What is looked at


def turn_surprise(of_turns, n_classes):
    """How little a network knows of an image's four turns, (n,), higher for what is more novel.

    The network has learned to name class and turn: class c turned v times is its class c + v * n_classes.
    of_turns : its logits, (n, 4 n_classes and more), of each of the four `turns`. It is minus the log-probability of
    the right turns, added up, of the class for which that is the highest.
    After Hendrycks et al. 2019, https://arxiv.org/abs/1906.12340, where turns are told apart without classes.
    """
    log_p = [log_softmax(logits, axis=1)[:, v * n_classes :][:, :n_classes] for v, logits in enumerate(of_turns)]
    return -sum(log_p).max(axis=1)


def looked_at(classifier, second, x):
    """What `features.extract` gives of both networks for images, and every other part of `PARTS`."""
    found = features.extract(classifier, x, second)
    of_turns = [features.extract(second, turned)["logits"] for turned in turns(x)]
    surprise = turn_surprise(of_turns, found["logits"].shape[1]).astype(np.float32)
    width, n_statistics = found["embedding"].shape[1], found["block3"].shape[1]
    return found | {
        "turns": surprise[:, np.newaxis],
        "second block3": found["second blocks"][:, -n_statistics:],
        "second embedding": found["second embeddings"][:, :width],
    }


# %% A trial


def plan(args):
    """The trials, {name: settings}: one a digit that is left out."""
    common = {"precision": args.precision, "smoke": args.smoke, "seed": SEED}
    recipes = {"classifier": CLASSIFIER} | {title: recipe for title, (recipe, _) in SECONDS.items()}
    common["recipes"] = {
        title: asdict(replace(recipe, epochs=1) if args.smoke else recipe) for title, recipe in recipes.items()
    }
    return {f"without_{digit}": common | {"left_out": digit} for digit in (LEFT_OUT[:1] if args.smoke else LEFT_OUT)}


def separation(log_p, combination):
    """`scores.separation` of the product of truncated p-values; log_p : {set: (n, len(PARTS))}."""
    columns, truncations = [list(PARTS).index(part) for part in combination], np.log(list(combination.values()))
    of_sets = {of_set: -scores.log_truncated_product(of[:, columns], truncations) for of_set, of in log_p.items()}
    return scores.separation(of_sets.pop("judged"), of_sets)


def compare(networks, known, calibration, sets):
    """`separation` of every combination, {number of components: {title: separation}}."""
    images = {"known": known, "calibration": calibration, **sets}
    rows = {of_set: looked_at(*networks, x) for of_set, x in images.items()}
    widths = [rows["known"][part].shape[1] for part in PARTS]
    rows = {of_set: detectors.side_by_side(of, PARTS) for of_set, of in rows.items()}
    known, calibration = rows.pop("known"), rows.pop("calibration")
    found = {}
    for title, n_components in COMPONENTS.items():
        detector = detectors.LayeredLOF(widths, *zip(*PARTS.values(), strict=True), n_components=n_components)
        detector.fit(known, X_calibration=calibration)
        log_p = {of_set: detector.layer_log_p_values(of) for of_set, of in rows.items()}
        found[title] = {name: separation(log_p, combination) for name, combination in COMBINATIONS.items()}
    return found


def run_trial(name, settings, data, models):
    """Train the networks without one digit, and judge every combination of evidence on the outliers made."""
    started = time.perf_counter()
    (x_train, y_train), (x_val, y_val), _ = datasets.load_mnist(data, settings["smoke"])
    kept = np.setdiff1d(np.arange(10), settings["left_out"])
    is_known = [np.isin(y, kept) for y in [y_train, y_val]]
    x, y = x_train[is_known[0]], np.searchsorted(kept, y_train[is_known[0]])
    x_known, y_known = x_val[is_known[1]], y_val[is_known[1]]
    calibrating = np.arange(len(x_known)) % 2 == 0
    x_judged, y_judged = x_known[~calibrating], y_known[~calibrating]
    rng = np.random.default_rng(settings["seed"])
    sets = {"judged": x_judged, "left out": x_val[y_val == settings["left_out"]]}
    for kind, make in (pseudo.NEW | pseudo.LEARNED).items():
        sets[kind] = make(x_judged[:N_PSEUDO], y_judged[:N_PSEUDO], rng)

    classifier = train(settings, settings["recipes"]["classifier"], x, y, models / f"{name}-classifier.keras")
    separations = {}
    for number, (title, (_, with_none)) in enumerate(SECONDS.items(), 1):
        seen = turned_classes(x, y, 4)
        if with_none:
            seen = pseudo.with_none(*seen, np.random.default_rng(settings["seed"]))
        second = train(settings, settings["recipes"][title], *seen, models / f"{name}-second{number}.keras")
        separations[title] = compare([classifier, second], x, x_known[calibrating], sets)
    _, predicted = features.embed(classifier, x_judged)
    accuracy = float(np.mean(kept[predicted] == y_judged))
    keras.backend.clear_session()
    return records.new_record(name, settings, {"val_accuracy": accuracy, "combinations": separations}, started)


def main():
    parser = cli.Parser(__doc__, out=PROJECT / "runs")
    sweep.add_flags(parser)
    args = parser.parse()
    found = sweep.run("experiments.evidence", plan(args), args, "evidence")
    for second in SECONDS:
        for title in COMBINATIONS:
            chosen = [record["metrics"]["combinations"][second]["64 components"][title]["accepted"] for record in found]
            share = np.mean([of_trial[kind] for of_trial in chosen for kind in ["left out", *pseudo.NEW]])
            print(f"{second}; {title}: {share:.1%} of the outliers accepted where 1 % of the digits are rejected")


if __name__ == "__main__":
    main()

"""What should the detector look at? Numbers of networks and combinations, compared on made-up outliers alone.

    python -m experiments.evidence                 # four trials, half an hour on two cores
    python -m experiments.evidence --smoke

Some digits are left out of the training of the *classifier*, and of the *rotation-prediction networks*, too. They, and
the images that `experiments.pseudo` makes from the others' validation images, are the outliers. Half of the validation
images calibrates, the others are judged.

Reads   data/mnist
Writes  runs/results/evidence.jsonl                a line a trial, as it ends
        runs/models/evidence/*.keras, *.json       the networks: a trial whose line is gone reads its own
Repeating the command continues with what is missing.
"""

import time

import keras
import numpy as np

from common import cli, records
from common.cli import PROJECT
from experiments import pseudo, rotation, sweep
from experiments.ensemble import N_ROTATION_NETWORKS, recipes_of, train_ensemble
from hypersphere import datasets, detectors, scores

LEFT_OUT = {"2": [2], "5": [5], "odd": [1, 3, 5, 7, 9], "0-4": [0, 1, 2, 3, 4]}  # in turn
SEED = 100  # and 101: of no reported trial
N_PSEUDO = 1000  # images a set
# What can be looked at, {name: (measure, the p-value above which it has no say)}.
PARTS = rotation.LAYERS | {
    "turn block3": ("lof", 1.0),
    "embeddings": ("distance", 1.0),
    "upright turn embeddings": ("distance", 1.0),
}


def together(*parts):
    """A combination of parts, {name: the p-value above which it has no say}."""
    return {part: PARTS[part][1] for part in parts}


CHOSEN = together(*rotation.LAYERS)
BLOCK1, BLOCKS, EMBEDDINGS, EMBEDDING, DISAGREEMENT = CHOSEN
COMBINATIONS = {
    "chosen": CHOSEN,
    **{
        f"chosen, {part} below {low}": CHOSEN | {part: low}
        for part, low in [(BLOCK1, 0.05), (EMBEDDING, 0.05), (DISAGREEMENT, 0.05), (DISAGREEMENT, 0.2)]
    },
    f"chosen, {EMBEDDING} and {DISAGREEMENT} below 0.05": CHOSEN | {EMBEDDING: 0.05, DISAGREEMENT: 0.05},
    **{f"chosen, without {part}": together(*(other for other in CHOSEN if other != part)) for part in CHOSEN},
    "chosen, all embeddings as one": together(BLOCK1, BLOCKS, "embeddings", DISAGREEMENT),
    "chosen, the third block alone": together(BLOCK1, "turn block3", EMBEDDINGS, EMBEDDING, DISAGREEMENT),
    "chosen, of the upright image alone": together(BLOCK1, BLOCKS, "upright turn embeddings", EMBEDDING, DISAGREEMENT),
}
# How it is looked at, {title: (number of rotation-prediction networks, other options)}; the first is the one in use.
WAYS = {
    "chosen": (N_ROTATION_NETWORKS, rotation.OPTIONS),
    "64 components": (N_ROTATION_NETWORKS, rotation.OPTIONS | {"n_components": 64}),
    "20 neighbours": (N_ROTATION_NETWORKS, rotation.OPTIONS | {"n_neighbors": 20}),
    "1 turn network": (1, rotation.OPTIONS),
}


def looked_at(model, x):
    """What a `rotation.feature_model` gives for images, and every other part of `PARTS`."""
    found = model.predict(x, 250, verbose=0)
    width, n_statistics = found["embedding"].shape[1], found["block3"].shape[1]
    of_turns = np.split(found["turn embeddings"], found["turn embeddings"].shape[1] // width, axis=1)
    of_networks = np.split(found["turn blocks"], len(of_turns) // 4, axis=1)
    return found | {
        "turn block3": np.hstack([blocks[:, -n_statistics:] for blocks in of_networks]),
        "embeddings": np.hstack([found["embedding"], *of_turns]),
        "upright turn embeddings": np.hstack(of_turns[::4]),
    }


# %% A trial


def plan(args):
    """The trials, {name: settings}: one for each that is left out."""
    common = {"precision": args.precision, "smoke": args.smoke, "seed": SEED, "recipes": recipes_of(args)}
    trials = {f"without_{title}": common | {"left_out": digits} for title, digits in LEFT_OUT.items()}
    return dict(list(trials.items())[:1]) if args.smoke else trials


def separation(log_p, combination):
    """`scores.separation` of the product of truncated p-values; log_p : {set: (n, len(PARTS))}."""
    columns, truncations = [list(PARTS).index(part) for part in combination], np.log(list(combination.values()))
    of_sets = {of_set: -scores.log_truncated_product(of[:, columns], truncations) for of_set, of in log_p.items()}
    return scores.separation(of_sets.pop("judged"), of_sets)


def compare(rows):
    """`separation` of every combination, each way, {way: {combination: separation}}.

    rows : {number of rotation-prediction networks: {set: what `looked_at` gives}}; the detector is fitted to the set
    "known" and calibrated on "calibration".
    """
    found = {}
    for title, (count, options) in WAYS.items():
        detector = detectors.LayeredDetector(detectors.layers_of(rows[count]["known"], PARTS), **options)
        of_sets = {of_set: detectors.side_by_side(of, PARTS) for of_set, of in rows[count].items()}
        detector.fit(of_sets.pop("known"), X_calibration=of_sets.pop("calibration"))
        log_p = {of_set: detector.layer_log_p_values(of) for of_set, of in of_sets.items()}
        found[title] = {name: separation(log_p, combination) for name, combination in COMBINATIONS.items()}
    return found


def run_trial(name, settings, data, models):
    """Train the networks without some digits, and judge every combination of evidence on the outliers made."""
    (x_train, y_train), (x_val, y_val), _ = datasets.load_mnist(data, settings["smoke"])
    kept = np.setdiff1d(np.arange(10), settings["left_out"])
    is_known = [np.isin(y, kept) for y in [y_train, y_val]]
    x, y = x_train[is_known[0]], np.searchsorted(kept, y_train[is_known[0]])
    x_known, y_known = x_val[is_known[1]], y_val[is_known[1]]
    calibrating = np.arange(len(x_known)) % 2 == 0
    x_judged, y_judged = x_known[~calibrating], y_known[~calibrating]
    rng = np.random.default_rng(settings["seed"])
    images = {"known": x, "calibration": x_known[calibrating], "judged": x_judged}
    images["left out"] = x_val[np.isin(y_val, settings["left_out"])]
    for kind, make in (pseudo.NEW | pseudo.LEARNED).items():
        images[kind] = make(x_judged[:N_PSEUDO], y_judged[:N_PSEUDO], rng)

    classifier, rotation_networks, seconds = train_ensemble(settings, x, y, models / name)
    trained = time.perf_counter()
    rows = {}
    for count in {count for count, _ in WAYS.values()}:
        model = rotation.feature_model(classifier, rotation_networks[:count])
        rows[count] = {of_set: looked_at(model, images_of_set) for of_set, images_of_set in images.items()}
    predicted = rows[N_ROTATION_NETWORKS]["judged"]["log_probabilities"].argmax(axis=1)
    metrics = {"val_accuracy": float(np.mean(kept[predicted] == y_judged)), "combinations": compare(rows)}
    keras.backend.clear_session()
    return records.new_record(name, settings, metrics, trained - seconds)


def main():
    parser = cli.Parser(__doc__, out=PROJECT / "runs")
    sweep.add_flags(parser)
    args = parser.parse()
    found = sweep.run("experiments.evidence", plan(args), args, "evidence")
    for way in WAYS:
        for title in COMBINATIONS:
            accepted = [record["metrics"]["combinations"][way][title]["accepted"] for record in found]
            share = np.mean([of_trial[kind] for of_trial in accepted for kind in ["left out", *pseudo.NEW]])
            print(f"{way}; {title}: {share:.1%} of the outliers accepted where 1 % of the digits are rejected")


if __name__ == "__main__":
    main()

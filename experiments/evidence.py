"""What should the detector look at? Combinations of evidence, compared on outliers made from digits alone.

    python -m experiments.evidence                 # three digits left out in turn, half an hour on two cores
    python -m experiments.evidence --smoke

Two networks learn nine digits: the *classifier*, and a *second network* that tells the digits' turns apart, too. The
digit left out, and images made from the others' validation images (mirrored, joined halves, laid over each other,
enlarged) or from random strokes are the outliers. Half of the validation images calibrates, the others are judged.

Reads   data/mnist
Writes  runs/results/evidence.jsonl                a line a trial, as it ends
        runs/models/evidence/*.keras, *.json       the networks: a trial whose line is gone reads its own
Repeating the command continues with what is missing.
"""

import time

from experiments import sweep
from experiments.draws import turns
from experiments.two_networks import recipes_of, train_both
from hypersphere import cli, datasets, detectors, features, records, scores
from hypersphere.files import PROJECT

import keras
import numpy as np
from PIL import Image, ImageDraw
from scipy.special import log_softmax

LEFT_OUT = [2, 5, 7]
SEED = 100  # of no reported trial
N_PSEUDO = 1000  # images a set
# What can be looked at, {name: (measure, the p-value above which it has no say)}.
PARTS = {
    "block1": ("lof", 0.05),
    "block3": ("lof", 1.0),
    "embedding": ("distance", 1.0),
    "second block1": ("lof", 0.05),
    "second block3": ("lof", 1.0),
    "second embedding": ("distance", 1.0),
    "turns": ("score", 1.0),
}
TODAY, EMBEDDINGS = ["block1", "block3", "embedding"], ["embedding", "second embedding"]
COMBINATIONS = {
    "classifier: block1, block3, embedding": TODAY,
    "classifier: block1, embedding": ["block1", "embedding"],
    "second: block1, block3, embedding": [f"second {part}" for part in TODAY],
    "second: the same, turns": [*(f"second {part}" for part in TODAY), "turns"],
    "second's block1 and block3, both embeddings": ["second block1", "second block3", *EMBEDDINGS],
    "block1, both embeddings": ["block1", *EMBEDDINGS],
    "block1, both embeddings, turns": ["block1", *EMBEDDINGS, "turns"],
    "block1, second's block3, both embeddings": ["block1", "second block3", *EMBEDDINGS],
    "block1, second's block3, both embeddings, turns": ["block1", "second block3", *EMBEDDINGS, "turns"],
    "block1, both block3 and embeddings, turns": ["block1", "block3", "second block3", *EMBEDDINGS, "turns"],
    "block1, second's embedding, turns": ["block1", "second embedding", "turns"],
    "block1, turns": ["block1", "turns"],
}
REFERENCES = {"all": 1, "a fifth of the": 5}  # training images that new ones are compared with: every so many


# %% Outliers made from digits


def mirrored(x, y, rng):
    """Digits that mirroring makes something else."""
    return x[np.isin(y, [2, 3, 4, 5, 6, 7, 9])][:, :, ::-1]


def partners(y, rng):
    """For each label, (n,), the row of one of another class."""
    return np.array([rng.choice(np.flatnonzero(y != label)) for label in y])


def joined(x, y, rng):
    """The upper half of one digit above the lower half of another."""
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[partners(y, rng)][:, half:]], axis=1)


def laid_over(x, y, rng):
    """Two digits over each other."""
    return np.maximum(x, x[partners(y, rng)])


def enlarged(x, y, rng):
    """The middle of the image, enlarged by two fifths."""
    return keras.ops.convert_to_numpy(keras.ops.image.resize(x[:, 4:24, 4:24], x.shape[1:3], antialias=True))


def strokes(x, y, rng):
    """One to three curved strokes, as thick as a pen's, in the middle of the image as digits are."""
    return np.stack([one_drawing(rng) for _ in x])


def one_drawing(rng, size=28, finer=8):
    """A drawing of strokes, (size, size, 1), drawn finer and made smaller."""
    image = Image.new("L", (size * finer, size * finer))
    pen, t = ImageDraw.Draw(image), np.linspace(0, 1, 40)[:, np.newaxis]
    width = int(finer * rng.uniform(2, 3.5))
    for _ in range(rng.integers(1, 4)):
        a, b, c, d = finer * rng.uniform(4, 24, (4, 2))  # of a cubic Bézier curve
        curve = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
        pen.line([tuple(point) for point in curve], fill=255, width=width, joint="curve")
    return np.asarray(image.resize((size, size), Image.Resampling.BOX), np.float32)[:, :, np.newaxis] / 255


PSEUDO = {
    "mirrored": mirrored,
    "joined halves": joined,
    "laid over": laid_over,
    "enlarged": enlarged,
    "strokes": strokes,
}


# %% What is looked at


def turn_surprise(of_turns):
    """How little a network knows of an image's four turns, (n,), higher for what is more novel.

    The network has learned to name class and turn: class c turned v times is its class c + v * the number of classes.
    of_turns : its logits, (n, 4 * the number of classes), of each of the four `turns`. It is minus the log-probability
    of the right turns, added up, of the class for which that is the highest.
    After Hendrycks et al. 2019, https://arxiv.org/abs/1906.12340, where turns are told apart without classes.
    """
    log_p = [np.split(log_softmax(logits, axis=1), 4, axis=1)[number] for number, logits in enumerate(of_turns)]
    return -sum(log_p).max(axis=1)


def looked_at(classifier, second, x):
    """What both networks give for images, and the second's `turn_surprise`, (n, 1), as "turns"."""
    found = features.extract(classifier, x, second)
    others = [features.extract(second, turned)["logits"] for turned in turns(x)[1:]]
    surprise = turn_surprise([found["second logits"], *others]).astype(np.float32)
    return found | {"turns": surprise[:, np.newaxis]}


# %% A trial


def plan(args):
    """The trials, {name: settings}: one a digit that is left out."""
    common = {"precision": args.precision, "smoke": args.smoke, "seed": SEED, "recipes": recipes_of(args)}
    return {f"without_{digit}": common | {"left_out": digit} for digit in (LEFT_OUT[:1] if args.smoke else LEFT_OUT)}


def separation(log_p, parts):
    """`scores.separation` of the product of some parts' p-values, truncated; log_p : {set: (n, len(PARTS))}."""
    columns = [list(PARTS).index(part) for part in parts]
    truncations = np.log([PARTS[part][1] for part in parts])
    of_sets = {of_set: -np.minimum(of[:, columns] - truncations, 0).sum(axis=1) for of_set, of in log_p.items()}
    return scores.separation(of_sets.pop("judged"), of_sets)


def run_trial(name, settings, data, models):
    """Train both networks without one digit, and judge every combination of evidence on the outliers made."""
    started = time.perf_counter()
    (x_train, y_train), (x_val, y_val), _ = datasets.load_mnist(data, settings["smoke"])
    kept = np.setdiff1d(np.arange(10), settings["left_out"])
    is_known = [np.isin(y, kept) for y in [y_train, y_val]]
    x, y = x_train[is_known[0]], np.searchsorted(kept, y_train[is_known[0]])
    x_known, y_known = x_val[is_known[1]], y_val[is_known[1]]
    networks = train_both(settings, x, y, models / name)

    known = detectors.side_by_side(looked_at(*networks, x), PARTS)
    calibrating = np.arange(len(x_known)) % 2 == 0
    calibration = detectors.side_by_side(looked_at(*networks, x_known[calibrating]), PARTS)
    x_judged, y_judged = x_known[~calibrating], y_known[~calibrating]
    rng, sets = np.random.default_rng(settings["seed"]), {"left out": x_val[y_val == settings["left_out"]]}
    sets |= {kind: make(x_judged[:N_PSEUDO], y_judged[:N_PSEUDO], rng) for kind, make in PSEUDO.items()}
    seen = {of_set: looked_at(*networks, images) for of_set, images in {"judged": x_judged, **sets}.items()}
    widths = [seen["judged"][part].shape[1] for part in PARTS]
    separations = {}
    for references, every in REFERENCES.items():
        detector = detectors.LayeredLOF(widths, *zip(*PARTS.values(), strict=True))
        detector.fit(known[::every], X_calibration=calibration)
        log_p = {of_set: detector.layer_log_p_values(detectors.side_by_side(of, PARTS)) for of_set, of in seen.items()}
        separations[references] = {
            title: separation(log_p, parts)
            for title, parts in (COMBINATIONS | {part: [part] for part in PARTS}).items()
        }
    accuracy = float(np.mean(kept[seen["judged"]["logits"].argmax(axis=1)] == y_judged))
    keras.backend.clear_session()
    return records.new_record(name, settings, {"val_accuracy": accuracy, "combinations": separations}, started)


def main():
    parser = cli.Parser(__doc__, out=PROJECT / "runs")
    sweep.add_flags(parser)
    args = parser.parse()
    found = sweep.run("experiments.evidence", plan(args), args, "evidence")
    of_trials = [record["metrics"]["combinations"]["all"] for record in found]
    for title in of_trials[0]:
        share = np.mean([list(of_trial[title]["accepted"].values()) for of_trial in of_trials])
        print(f"{title}: {share:.1%} of the outliers accepted where 1 % of the digits are rejected")


if __name__ == "__main__":
    main()

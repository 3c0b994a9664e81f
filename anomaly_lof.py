"""Reject out-of-distribution images: LOF on both embeddings, or on the pixels too, and a calibrated detector.

    python anomaly_lof.py                       # a minute on two cores
    python anomaly_lof.py --input-space         # with LOF on the pixels, a minute more
    python anomaly_lof.py --outliers my_images  # a folder of PNG, JPEG or WebP images as one more set
    python anomaly_lof.py --data FOLDER         # the folder that holds cifar-10-batches-bin/
    python anomaly_lof.py --smoke               # what the training scripts' --smoke left

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent),
        models/{cnn,l2softmax}.{keras,npz}
Writes  figures/lof_histograms.png   novelty scores with the thresholds
        figures/lof_roc.png          ROC curves
        figures/lof_gallery.png      the other images that are accepted first, the digits that are rejected first
        models/lof.skops             LOF on the L2-constrained embedding, for use on new images
        models/layered_detector.skops  the calibrated detector
        results/lof.json             shares accepted, AUROC, FPR at 95 % TPR
"""

# %% Settings
import time

from common import cli

cli.start()  # before Keras is imported

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from common import plots, records
from hypersphere import datasets, detectors, features, files, networks, outliers, scores

SCRIPTS = {"cnn": "train_cnn_baseline.py", "l2softmax": "train_l2softmax.py"}
SPACES = {"cnn": "the plain CNN", "l2softmax": "the L2-constrained CNN", "input": "the input space"}
TRAINED_BY = {
    "cnn": "run train_cnn_baseline.py with the same flags",
    "l2softmax": "run train_l2softmax.py with the same flags",
}

parser = cli.Parser(__doc__)
parser.add_argument("--n-neighbors", type=cli.positive_int, default=20, help="LOF's k, %(default)s")
parser.add_argument("--outliers", metavar="FOLDER", help="your own images as one more set")
parser.add_argument("--strict", action="store_true", help="stop if CIFAR-10 is missing, instead of leaving it out")
parser.add_argument("--input-space", action="store_true", help="LOF on the pixels too: slow, the same for all seeds")
args = parser.parse()

started = time.perf_counter()

# %% Networks and digits. The networks are not trained again.
models = args.out / "models"
wanted = [*features.BLOCKS, "embedding"]
networks_of = {
    name: networks.load_network(models / f"{name}.keras", remedy, wanted) for name, remedy in TRAINED_BY.items()
}
(x_train, _), (x_val, _), (x_test, y_test) = datasets.load_mnist(args.data, smoke=args.smoke)
arrays = {
    name: files.load_arrays(models / f"{name}.npz", remedy, equal={"label_test": y_test})
    for name, remedy in TRAINED_BY.items()
}

# %% Images that are no digits
ood, missing = outliers.load_far(args.data, args.outliers, args.strict, args.smoke)
images = {"MNIST test": x_test} | ood

# %% The three spaces
train_points = {
    "cnn": arrays["cnn"]["embedding_train"],  # (50000, 64)
    "l2softmax": arrays["l2softmax"]["embedding_train"],  # (50000, 64), norms alpha
}
if args.input_space:
    train_points["input"] = x_train.reshape(len(x_train), -1)  # (50000, 784)
else:
    missing = ". ".join(filter(None, [missing, "LOF on the pixels is left out: python anomaly_lof.py --input-space"]))
line = cli.progress(len(train_points) + 2, "step")
new_points, prediction, layers = {space: {} for space in SPACES}, {}, {}
for name, x in images.items():
    new_points["input"][name] = x.reshape(len(x), -1)
    new_points["cnn"][name], _ = features.embed(networks_of["cnn"], x)
    extracted = features.extract(networks_of["l2softmax"], x)
    new_points["l2softmax"][name] = extracted["embedding"]
    prediction[name] = extracted["logits"].argmax(axis=1)
    layers[name] = detectors.side_by_side(extracted, features.LAYERS)
line.update()

# %% LOF: fitted once for each space; a contamination only moves the threshold
# With novelty=True it must never score what it was fitted on: each image would be its own nearest neighbour.
lofs, novelty, metrics = {}, {}, {}
for space, x in train_points.items():
    fit_started = time.perf_counter()
    lofs[space] = LocalOutlierFactor(n_neighbors=args.n_neighbors, algorithm="brute", novelty=True).fit(x)
    novelty[space] = {name: scores.novelty_score(lofs[space], points) for name, points in new_points[space].items()}
    seconds = time.perf_counter() - fit_started
    line.update()
    digit_scores = novelty[space]["MNIST test"]
    ood_scores = {name: novelty[space][name] for name in ood}
    by_contamination = {c: float(scores.contamination_threshold(lofs[space], c)) for c in [0.001, 0.01]}
    by_rejection = {r: float(scores.rejection_threshold(digit_scores, r)) for r in [0.006, 0.01, 0.04]}
    metrics[space] = scores.separation(digit_scores, ood_scores) | {
        "threshold": {str(c): threshold for c, threshold in by_contamination.items()},
        "accepted_at_contamination": scores.accepted_shares(novelty[space], by_contamination),
        "accepted_at_rejection": scores.accepted_shares(novelty[space], by_rejection),
        "seconds": seconds,
    }

# %% The calibrated detector: three layers of the same network, and a threshold set by digits that trained nothing
fit_started = time.perf_counter()
train_layers, val_layers = (features.extract(networks_of["l2softmax"], x) for x in [x_train, x_val])
layered = detectors.LayeredDetector(detectors.layers_of(train_layers, features.LAYERS))
train_rows, val_rows = (detectors.side_by_side(of_split, features.LAYERS) for of_split in [train_layers, val_layers])
layered.fit(train_rows, X_calibration=val_rows)
p_values = {name: layered.p_values(x) for name, x in layers.items()}
metrics["layered"] = {
    "accepted_at_level": {
        str(level): {name: float(np.mean(p > level)) for name, p in p_values.items()} for level in [0.001, 0.01]
    },
    "seconds": time.perf_counter() - fit_started,
}
line.update()
line.close()

# %% Figures
figure, axes = plt.subplots(
    len(lofs), 1, figsize=(9, 3.2 * len(lofs)), layout="constrained", sharex=True, squeeze=False
)
for ax, space in zip(axes.flat, lofs, strict=True):
    lines = {f"threshold, contamination {c}": t for c, t in metrics[space]["threshold"].items()}
    plots.score_histograms(ax, novelty[space], lines, f"LOF on {SPACES[space]}")
plots.save(figure, args.out / "figures" / "lof_histograms.png")

figure, axes = plt.subplots(1, len(ood), figsize=(5 * len(ood), 4.6), layout="constrained", squeeze=False)
for ax, name in zip(axes.flat, ood, strict=True):
    of_spaces = {SPACES[space]: (novelty[space]["MNIST test"], novelty[space][name]) for space in lofs}
    plots.roc_curves(ax, {title: scores.roc_points(*both) for title, both in of_spaces.items()}, name)
axes[0, 0].legend(title="LOF on")
plots.save(figure, args.out / "figures" / "lof_roc.png")

threshold, rows = metrics["l2softmax"]["threshold"]["0.001"], {}
for name in ood:
    of_set = novelty["l2softmax"][name]
    lowest = [i for i in np.argsort(of_set)[:12] if of_set[i] <= threshold]
    rows[f"{name}: accepted as"] = [(images[name][i], str(prediction[name][i])) for i in lowest]
highest = np.argsort(novelty["l2softmax"]["MNIST test"])[::-1][:12]
highest = [i for i in highest if novelty["l2softmax"]["MNIST test"][i] > threshold]
rows["MNIST test: rejected"] = [(x_test[i], str(y_test[i])) for i in highest]
title = "LOF on the L2-constrained CNN, contamination 0.001: what it accepts first, which digits it rejects first"
plots.save(plots.rows_of_images(rows, title), args.out / "figures" / "lof_gallery.png")

# %% Save
detectors.save_detector(lofs["l2softmax"], models / "lof.skops")
detectors.save_detector(layered, models / "layered_detector.skops")
settings = cli.settings_of(args) | {"seed": int(arrays["l2softmax"]["seed"])}
settings["cifar10_sha256"] = datasets.cifar10_sha256(args.data) if "CIFAR-10" in ood else None
record = records.new_record("lof", settings, metrics, started, missing=missing)
records.write_record(args.out / "results" / "lof.json", record)
for space in lofs:
    shares = metrics[space]["accepted_at_rejection"]["0.01"]
    print(
        f"1 % of digits rejected, accepted by LOF on {SPACES[space]}: " + ", ".join(f"{n} {shares[n]:.3f}" for n in ood)
    )
if missing:
    print(missing)

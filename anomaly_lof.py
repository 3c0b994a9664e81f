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

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from common import plots, records, training
from hypersphere import datasets, detectors, features, files, networks, outliers, scores

SCRIPTS = {"cnn": "train_cnn_baseline.py", "l2softmax": "train_l2softmax.py"}
SPACES = {"cnn": "the plain CNN", "l2softmax": "the L2-constrained CNN", "input": "the input space"}

parser = cli.Parser(__doc__)
parser.add_argument("--n-neighbors", type=cli.positive_int, default=20, help="LOF's k, %(default)s")
parser.add_argument("--outliers", metavar="FOLDER", help="your own images as one more set")
parser.add_argument("--strict", action="store_true", help="stop if CIFAR-10 is missing, instead of leaving it out")
parser.add_argument("--input-space", action="store_true", help="LOF on the pixels too: slow, the same for all seeds")
args = parser.parse()

started = time.perf_counter()

# %% Networks, digits and their embeddings. The networks are not trained again.
models = args.out / "models"
(x_train, _), (x_val, _), (x_test, y_test) = datasets.load_mnist(args.data, smoke=args.smoke)
trained, keys, arrays = {}, {}, {}
for name, script in SCRIPTS.items():
    remedy = f"run {script} with the same flags"
    trained[name] = networks.load_network(models / f"{name}.keras", remedy, [*features.BLOCKS, "embedding"])
    keys[name] = training.network_key(trained[name])
    equal = {"label_test": y_test, "network": keys[name]}  # of the same images and training
    arrays[name] = files.load_arrays(models / f"{name}.npz", remedy, equal)

# %% Images that are no digits
ood, missing = outliers.load_far(args.data, args.outliers, args.strict, args.smoke)
images = {"MNIST test": x_test} | ood

# %% The spaces: the digits' embeddings are read, the other images' computed
train_points = {name: arrays[name]["embedding_train"] for name in SCRIPTS}  # (50000, 64); on the sphere, norms alpha
new_points = {name: {"MNIST test": arrays[name]["embedding_test"]} for name in SCRIPTS}
if args.input_space:
    train_points["input"] = x_train.reshape(len(x_train), -1)  # (50000, 784)
    new_points["input"] = {name: x.reshape(len(x), -1) for name, x in images.items()}
else:
    missing = ". ".join(filter(None, [missing, "LOF on the pixels is left out: python anomaly_lof.py --input-space"]))
line = cli.progress(len(train_points) + 2, "step")
feature_models = {name: features.feature_model(network) for name, network in trained.items()}
extracted, prediction = {}, {}
for name, x in ood.items():
    new_points["cnn"][name] = feature_models["cnn"].predict(x, batch_size=250, verbose=0)["embedding"]
    extracted[name] = feature_models["l2softmax"].predict(x, batch_size=250, verbose=0)
    new_points["l2softmax"][name] = extracted[name]["embedding"]
    prediction[name] = extracted[name]["logits"].argmax(axis=1)
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
statistics = {name: features.statistics(trained["l2softmax"], name) for name in features.BLOCKS}
blocks = keras.Model(trained["l2softmax"].input, statistics)
for name, x in {"train": x_train, "val": x_val, "test": x_test}.items():
    embedding = {"embedding": arrays["l2softmax"][f"embedding_{name}"]}
    extracted[name] = blocks.predict(x, batch_size=250, verbose=0) | embedding
layer_rows = {name: detectors.side_by_side(outputs, features.LAYERS) for name, outputs in extracted.items()}
layered = detectors.LayeredDetector(detectors.layers_of(extracted["train"], features.LAYERS))
layered.fit(layer_rows["train"], X_calibration=layer_rows["val"])
p_values = {"MNIST test": layered.p_values(layer_rows["test"])}
p_values |= {name: layered.p_values(layer_rows[name]) for name in ood}
metrics["layered"] = {
    "accepted_at_level": {
        str(level): {name: float(np.mean(p > level)) for name, p in p_values.items()} for level in [0.001, 0.01]
    },
    "seconds": time.perf_counter() - fit_started,
}
line.update()
line.close()

# %% Figures
options = {"layout": "constrained", "squeeze": False}
figure, axes = plt.subplots(len(lofs), 1, figsize=(9, 3.2 * len(lofs)), sharex=True, **options)
for ax, space in zip(axes.flat, lofs, strict=True):
    lines = {f"threshold, contamination {c}": t for c, t in metrics[space]["threshold"].items()}
    plots.score_histograms(ax, novelty[space], lines, f"LOF on {SPACES[space]}")
plots.save(figure, args.out / "figures" / "lof_histograms.png")

figure, axes = plt.subplots(1, len(ood), figsize=(5 * len(ood), 4.6), **options)
for ax, name in zip(axes.flat, ood, strict=True):
    curves = {SPACES[s]: scores.roc_points(novelty[s]["MNIST test"], novelty[s][name]) for s in lofs}
    plots.roc_curves(ax, curves, name)
axes[0, 0].legend(title="LOF on")
plots.save(figure, args.out / "figures" / "lof_roc.png")

threshold, rows = metrics["l2softmax"]["threshold"]["0.001"], {}
for name in ood:
    lowest = [i for i in np.argsort(novelty["l2softmax"][name])[:12] if novelty["l2softmax"][name][i] <= threshold]
    rows[f"{name}: accepted as"] = [(images[name][i], str(prediction[name][i])) for i in lowest]
digit_scores = novelty["l2softmax"]["MNIST test"]
highest = [i for i in np.argsort(digit_scores)[::-1][:12] if digit_scores[i] > threshold]
rows["MNIST test: rejected"] = [(x_test[i], str(y_test[i])) for i in highest]
title = "LOF on the L2-constrained CNN, contamination 0.001: what it accepts first, which digits it rejects first"
plots.save(plots.rows_of_images(rows, title), args.out / "figures" / "lof_gallery.png")

# %% Save
detectors.save_detector(lofs["l2softmax"], models / "lof.skops")
detectors.save_detector(layered, models / "layered_detector.skops")
settings = cli.settings_of(args) | {"seed": int(arrays["l2softmax"]["seed"])}
settings["cifar10_sha256"] = datasets.cifar10_sha256(args.data) if "CIFAR-10" in ood else None
record = records.new_record("lof", settings, metrics, started, missing=missing, networks=keys)
records.write_record(args.out / "results" / "lof.json", record)
for space in lofs:
    shares = metrics[space]["accepted_at_rejection"]["0.01"]
    words = ", ".join(f"{name} {shares[name]:.3f}" for name in ood)
    print(f"1 % of digits rejected, accepted by LOF on {SPACES[space]}: {words}")
if missing:
    print(missing)

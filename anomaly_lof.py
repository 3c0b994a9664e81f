"""Turn away what is no digit: LOF in the pixels' space, on the sphere and on the plain CNN, and a calibrated detector.

    python anomaly_lof.py                       # a minute or two on two cores
    python anomaly_lof.py --outliers my_images  # a folder of PNG or JPEG images as one more row
    python anomaly_lof.py --data FOLDER         # the folder that holds cifar-10-batches-bin/
    python anomaly_lof.py --smoke               # what the training scripts' --smoke left

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent),
        models/{cnn,l2softmax}.{keras,npz}
Writes  figures/lof_histograms.png   novelty scores with the thresholds
        figures/lof_roc.png          ROC curves
        figures/lof_accepted.png     the outliers that got through
        figures/lof_rejected.png     the digits that were turned away
        models/lof.skops             the detector on the sphere, for use on new images
        models/layered_lof.skops     the calibrated detector
        results/lof.json             shares judged normal, AUROC, FPR at 95 % TPR
"""

# %% Settings
import time

from hypersphere import data, detectors, neighbors, networks, novelty, outlier_sets, plots, runs, tables

import matplotlib.pyplot as plt
import numpy as np

parser = runs.Parser(__doc__)
parser.add_argument("--n-neighbors", type=runs.positive_int, default=20, help="LOF's k, %(default)s")
parser.add_argument("--outliers", metavar="FOLDER", help="your own images as one more row")
parser.add_argument("--strict", action="store_true", help="stop if CIFAR-10 is missing, instead of leaving it out")
parser.add_argument("--skip-input", action="store_true", help="leave out the input space: slow, the same for all seeds")
args = parser.parse()

started = time.perf_counter()

# %% Data: the digits that LOF learns from, new digits, and images that are no digits
(x_train, _), (x_val, _), (x_test, y_test) = data.load_mnist(args.data, smoke=args.smoke)
outliers, missing = outlier_sets.load_article(args.data, args.outliers, args.strict, args.smoke)
if missing:
    print(missing)
images = {"MNIST test": x_test} | outliers

# %% The three spaces. The networks are not trained again.
cnn = networks.load_network(args.out / "models" / "cnn.keras", "train_cnn_baseline.py")
l2softmax = networks.load_network(args.out / "models" / "l2softmax.keras", "train_l2softmax.py")
cnn_arrays = runs.load_embeddings(args.out / "models" / "cnn.npz", "train_cnn_baseline.py", y_test)
l2softmax_arrays = runs.load_embeddings(args.out / "models" / "l2softmax.npz", "train_l2softmax.py", y_test)
train_points = {
    "input": x_train.reshape(len(x_train), -1),  # (50000, 784)
    "cnn": cnn_arrays["embedding_train"],  # (50000, 64)
    "l2softmax": l2softmax_arrays["embedding_train"],  # (50000, 64), norms alpha
}
if args.skip_input:
    del train_points["input"]
new_points, prediction, layers = {space: {} for space in tables.SPACES}, {}, {}
for name, x in images.items():
    new_points["input"][name] = x.reshape(len(x), -1)
    new_points["cnn"][name], _ = networks.embed(cnn, x)
    features = networks.extract(l2softmax, x)
    new_points["l2softmax"][name], prediction[name] = features["embedding"], features["logits"].argmax(axis=1)
    layers[name] = detectors.side_by_side(features)

# %% LOF: fitted once for each space; a contamination only moves the threshold
lofs, scores, metrics = {}, {}, {}
for space, x in train_points.items():
    print(f"LOF on {tables.SPACES[space]}: fitting {len(x)} training images", end="", flush=True)
    fit_started = time.perf_counter()
    lofs[space] = neighbors.LOF(args.n_neighbors).fit(x)
    print(f", {time.perf_counter() - fit_started:.0f} s; scoring", end="", flush=True)
    scores[space] = {name: lofs[space].strangeness(points) for name, points in new_points[space].items()}
    seconds = time.perf_counter() - fit_started
    metrics[space] = novelty.evaluate(lofs[space], scores[space], normal="MNIST test") | {"seconds": seconds}
    print(f", {seconds:.0f} s")

# %% The calibrated detector: three layers of the same network, and a threshold that new digits, not trained on, set
print("layered LOF: fitting", end="", flush=True)
fit_started = time.perf_counter()
train_layers, val_layers = networks.extract(l2softmax, x_train), networks.extract(l2softmax, x_val)
layered = detectors.layered_lof(train_layers)
layered.fit(detectors.side_by_side(train_layers), X_calibration=detectors.side_by_side(val_layers))
print(f", {time.perf_counter() - fit_started:.0f} s; scoring", end="", flush=True)
p_values = {name: layered.p_values(x) for name, x in layers.items()}
metrics["layered"] = {
    "normal_at_level": {
        str(level): {name: float(np.mean(p > level)) for name, p in p_values.items()} for level in [0.001, 0.01]
    },
    "seconds": time.perf_counter() - fit_started,
}
print(f", {metrics['layered']['seconds']:.0f} s")

# %% Figures
figure, axes = plt.subplots(len(lofs), 1, figsize=(9, 4 * len(lofs)), layout="constrained", squeeze=False)
for ax, space in zip(axes.flat, lofs, strict=True):
    lines = {f"threshold, contamination {c}": t for c, t in metrics[space]["threshold"].items()}
    plots.score_histograms(ax, scores[space], lines, f"LOF on {tables.SPACES[space]}")
plots.save(figure, args.out / "figures" / "lof_histograms.png")

figure, axes = plt.subplots(1, len(outliers), figsize=(5 * len(outliers), 4.6), layout="constrained", squeeze=False)
for ax, name in zip(axes.flat, outliers, strict=True):
    curves = {
        tables.SPACES[space]: novelty.roc_points(scores[space]["MNIST test"], scores[space][name]) for space in lofs
    }
    plots.roc_curves(ax, curves, name)
plots.save(figure, args.out / "figures" / "lof_roc.png")

threshold = metrics["l2softmax"]["threshold"]["0.001"]
accepted, captions = [], []
for name in outliers:
    through = np.flatnonzero(scores["l2softmax"][name] <= threshold)
    closest = through[np.argsort(scores["l2softmax"][name][through])][:24]
    accepted += list(images[name][closest])
    captions += [f"as {digit}" for digit in prediction[name][closest]]
title = "Outliers judged normal (LOF on the sphere, contamination 0.001) and the digit they pass for"
plots.save(plots.image_grid(accepted, captions, title), args.out / "figures" / "lof_accepted.png")

away = np.argsort(scores["l2softmax"]["MNIST test"])[::-1][:48]
away = away[scores["l2softmax"]["MNIST test"][away] > threshold]
title = "MNIST test images turned away (LOF on the sphere, contamination 0.001) and their digit"
figure = plots.image_grid(x_test[away], [str(digit) for digit in y_test[away]], title)
plots.save(figure, args.out / "figures" / "lof_rejected.png")

# %% Save
novelty.save_detector(lofs["l2softmax"], args.out / "models" / "lof.skops")
novelty.save_detector(layered, args.out / "models" / "layered_lof.skops")
seeds = {"seed": int(l2softmax_arrays["seed"]), "cifar10_sha256": data.cifar10_sha256(args.data)}
runs.write_record(args, "lof", metrics, started, missing=missing, **seeds)
print(tables.lof([metrics]), tables.calibrated([metrics]), missing, sep="\n\n")

"""Look at three spaces, the pixels and both networks' features: t-SNE maps, norms, cosines, training curves.

    python visualize_tsne.py                    # a minute on two cores
    python visualize_tsne.py --all              # all 70,000 images instead, some minutes a map
    python visualize_tsne.py --smoke            # what the training scripts' --smoke left

Reads   data/mnist, models/{cnn,l2softmax}.npz, results/{cnn,l2softmax}.json
Writes  figures/tsne.png      the three maps side by side
        figures/features.png  norm of the features by the image's loss, cosines within and between digits
        figures/curves.png    accuracy and loss over the epochs, of both networks
        models/tsne.npz       the maps' points
        results/tsne.json     how well each space and its map separate the digits
        (--all: `tsne_all` instead of `tsne`)
"""

# %% [markdown]
# The article shows three maps of the test images, of their pixels and of what both networks make of them, and says that
# with the L2 constraint the clusters are clearer and hardly any point goes astray. Is that so, and why?

# %% Settings
import time

from common import cli

cli.start(keras=False)  # t-SNE reads arrays: Keras would cost seconds

import matplotlib.pyplot as plt
import numpy as np

from common import plots, published, records
from hypersphere import datasets, files, scores, tsne

parser = cli.Parser(__doc__)
parser.add_argument("--seed", type=cli.seed_number, default=0, help="of the maps, %(default)s")
parser.add_argument("--perplexity", type=cli.positive_float, default=30.0, help="neighbours, roughly, %(default)s")
parser.add_argument("--all", action="store_true", help="map the training and validation images too")
args = parser.parse()
NAME = "tsne_all" if args.all else "tsne"

started = time.perf_counter()

# %% Data: the test images, or all, in three spaces
mnist = dict(zip(["train", "val", "test"], datasets.load_mnist(args.data, smoke=args.smoke), strict=True))
y_test = mnist["test"][1]
trained, arrays = {}, {}
for name, script in {"cnn": "train_cnn_baseline.py", "l2softmax": "train_l2softmax.py"}.items():
    remedy = f"run {script} with the same flags"
    trained[name] = records.read_record(args.out / "results" / f"{name}.json", remedy)
    equal = {"label_test": y_test, "network": trained[name].get("network")}  # of the same images and training
    arrays[name] = files.load_arrays(args.out / "models" / f"{name}.npz", remedy, equal)
of_training = [str(saved["changed"]) for saved in arrays.values()]  # flags, for titles
splits = list(mnist) if args.all else ["test"]
x, y = (np.concatenate([mnist[split][part] for split in splits]) for part in [0, 1])
titles = {"input": "Pixels", "cnn": "Plain CNN", "l2softmax": "L2-constrained CNN"}
spaces = {"input": x.reshape(len(x), -1)}
spaces |= {name: np.concatenate([arrays[name][f"embedding_{split}"] for split in splits]) for name in arrays}

# %% [markdown]
# t-SNE places points in the plane so that those which are neighbours in the space stay neighbours. It never sees the
# labels: they only colour the points. Look for points of one colour inside a cluster of another: a *stray* point is one
# most of whose ten neighbours in the map are another digit.

# %% Maps
points, metrics = {}, {}
with cli.progress(len(spaces), "map") as line:
    for name, space in spaces.items():
        points[name], divergence = tsne.tsne_map(space, args.perplexity, args.seed, args.verbose)
        metrics[name] = tsne.map_quality(space, points[name], y) | {"kl_divergence": divergence}
        line.update()

figure, axes = plt.subplots(1, 3, figsize=(18, 5.8), layout="constrained")
for ax, (name, title) in zip(axes, titles.items(), strict=True):
    is_stray = tsne.stray_points(points[name], y)
    plots.digit_map(ax, points[name], y, is_stray, f"{title}: {is_stray.sum()} stray points (edged in black)")
plots.save(figure, args.out / "figures" / f"{NAME}.png", *of_training, args.changed)

# %% [markdown]
# Why should the constraint help? The article says that under a plain softmax easy images get features of a large norm,
# hard ones of a small norm, so that the hard ones are neglected. First panel: the mean norm of the plain CNN's features
# for ten groups of test images, from the smallest to the largest loss. In part that must be so, as a small norm itself
# makes the loss large; so its title says how well a small norm tells misclassified images from others. Other panels:
# the cosine of two features, which the constraint should make large within a digit and small between digits. The
# article expects a detector to gain by that, which `anomaly_lof.py` tries.

# %% Norm and direction of the features
figure, axes = plt.subplots(1, 3, figsize=(16, 4.4), layout="constrained")
axes[2].sharey(axes[1])
norm, loss = np.linalg.norm(arrays["cnn"]["embedding_test"], axis=1), arrays["cnn"]["loss_test"]
is_wrong = arrays["cnn"]["prediction_test"] != y_test
tenths = [float(part.mean()) for part in np.array_split(norm[np.argsort(loss)], 10)]
metrics["cnn"] |= {"norm_by_loss": tenths, "norm_auroc": scores.auroc(-norm[~is_wrong], -norm[is_wrong])}
axes[0].bar(range(1, 11), tenths)
axes[0].set(xlabel="tenth of the test images, from small to large loss", ylabel="mean norm of the features")
title = f"{titles['cnn']} (a small norm betrays errors: AUROC {metrics['cnn']['norm_auroc']:.2f})"
axes[0].set(title=title, xticks=range(1, 11))
for ax, name in zip(axes[1:], arrays, strict=True):
    directions, digit = scores.directions(arrays[name]["embedding_test"][::5]), y_test[::5]  # 2 million pairs
    pairs = np.triu_indices(len(digit), k=1)
    cosine, is_same = (directions @ directions.T)[pairs], (digit[:, np.newaxis] == digit)[pairs]
    within, between = float(np.quantile(cosine[is_same], 0.05)), float(np.quantile(cosine[~is_same], 0.95))
    metrics[name] |= {"cosine_within": within, "cosine_between": between, "cosine_gap": within - between}
    for label, values in {"same digit": cosine[is_same], "different digits": cosine[~is_same]}.items():
        ax.hist(values, np.linspace(-1, 1, 81), density=True, histtype="stepfilled", alpha=0.6, label=label)
    for value, words in [(within, "95% of the same digit above"), (between, "95% of different digits below")]:
        ax.axvline(value, color="black", linestyle="--" if value == within else ":", label=f"{words} {value:.2f}")
    ax.set(title=titles[name], xlabel="cosine of two images' features", ylabel="density")
    ax.legend(loc="upper left", fontsize=9)
plots.save(figure, args.out / "figures" / "features.png", *of_training)

# %% [markdown]
# The article's curves are smoother with the constraint. Count how often the thick line of validation accuracy falls.
# Two curves prove little: docs/article1.md counts the falls of ten seeds, and finds no difference.

# %% Learning curves
histories = {"plain CNN": trained["cnn"]["history"], "L2-constrained CNN": trained["l2softmax"]["history"]}
article = zip(histories, published.ACCURACY.values(), strict=True)
plots.save(plots.learning_curves(histories, article), args.out / "figures" / "curves.png", *of_training)

# %% Save
files.save_arrays(args.out / "models" / f"{NAME}.npz", points | {"label": y})
networks = {name: record["network"] for name, record in trained.items()}
record = records.new_record(NAME, cli.settings_of(args), metrics, started, networks=networks)
records.write_record(args.out / "results" / f"{NAME}.json", record)

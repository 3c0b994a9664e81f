"""Draw three t-SNE maps of the MNIST test images, of the pixels and of both networks, and the training curves.

    python visualize_tsne.py                    # a minute and a half on two cores
    python visualize_tsne.py --all              # all 70,000 images instead, some minutes a map
    python visualize_tsne.py --smoke            # what the training scripts' --smoke left

Reads   data/mnist, models/{cnn,l2softmax}.npz, results/{cnn,l2softmax}.json
Writes  figures/tsne.png     the three maps side by side
        figures/curves.png   accuracy and loss over the epochs, of both networks
        models/tsne.npz      their points
        results/tsne.json    how well each space and its map separate the digits
        (--all: `tsne_all` instead of `tsne`)
"""

# %% Settings
import time

from common import cli

cli.start(keras=False)  # t-SNE reads arrays: Keras would cost seconds

import matplotlib.pyplot as plt
import numpy as np

from common import plots, records
from hypersphere import datasets, files, tsne

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
splits = list(mnist) if args.all else ["test"]
x, y = (np.concatenate([mnist[split][part] for split in splits]) for part in [0, 1])
titles = {"input": "Input space (784)", "cnn": "Plain CNN (64)", "l2softmax": "L2-constrained CNN (64)"}
spaces = {"input": x.reshape(len(x), -1)}
spaces |= {name: np.concatenate([arrays[name][f"embedding_{split}"] for split in splits]) for name in arrays}

# %% Maps
# t-SNE never sees the labels: they only colour the points and measure the result.
points, metrics = {}, {}
with cli.progress(len(spaces), "map") as line:
    for name, space in spaces.items():
        points[name], divergence = tsne.tsne_map(space, args.perplexity, args.seed, args.verbose)
        metrics[name] = tsne.map_quality(space, points[name], y) | {"kl_divergence": divergence}
        line.update()

# %% Figures
figure, axes = plt.subplots(1, 3, figsize=(18, 6.4), layout="constrained")
for ax, (name, title) in zip(axes, titles.items(), strict=True):
    caption = (
        f"{title}\n10-NN accuracy {metrics[name]['knn_accuracy_space']:.1%} in the space, "
        f"{metrics[name]['knn_accuracy_map']:.1%} in the map\n"
        f"trustworthiness {metrics[name]['trustworthiness']:.3f}, KL divergence {metrics[name]['kl_divergence']:.2f}"
    )
    plots.digit_map(ax, points[name], y, caption)
plots.save(figure, args.out / "figures" / f"{NAME}.png")
histories = {"plain CNN": trained["cnn"]["history"], "L2-constrained CNN": trained["l2softmax"]["history"]}
plots.save(plots.learning_curves(histories), args.out / "figures" / "curves.png")

# %% Save
files.save_arrays(args.out / "models" / f"{NAME}.npz", points | {"label": y})
networks = {name: record["network"] for name, record in trained.items()}
record = records.new_record(NAME, cli.settings_of(args), metrics, started, networks=networks)
records.write_record(args.out / "results" / f"{NAME}.json", record)

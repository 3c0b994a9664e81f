"""Draw three t-SNE maps of the MNIST test images: of the pixels, of the plain CNN, of the sphere.

    python visualize_tsne.py                    # about 2 minutes on two cores
    python visualize_tsne.py --all              # all 70,000 images instead, some minutes a map
    python visualize_tsne.py --smoke            # what the training scripts' --smoke left

Reads   data/mnist, models/cnn.npz, models/l2softmax.npz
Writes  figures/tsne_input.png, figures/tsne_cnn.png, figures/tsne_l2softmax.png
        figures/tsne.png             the three side by side
        models/tsne.npz              the points of the three maps
        results/tsne.json            how well each space and its map separate the digits
        (--all: `tsne_all` instead of `tsne`)
"""

# %% Settings
import time

from hypersphere import data, maps, plots, runs

import matplotlib.pyplot as plt
import numpy as np

parser = runs.Parser(__doc__)
parser.add_argument("--seed", type=runs.seed_number, default=0, help="of the maps, %(default)s")
parser.add_argument("--perplexity", type=runs.positive_float, default=30.0, help="neighbours, roughly, %(default)s")
parser.add_argument("--all", action="store_true", help="map the training and validation images too")
args = parser.parse()
NAME = "tsne_all" if args.all else "tsne"

started = time.perf_counter()

# %% Data: the test images, or all, in three spaces
mnist = dict(zip(["train", "val", "test"], data.load_mnist(args.data, smoke=args.smoke), strict=True))
cnn = runs.load_embeddings(args.out / "models" / "cnn.npz", "train_cnn_baseline.py", mnist["test"][1])
l2softmax = runs.load_embeddings(args.out / "models" / "l2softmax.npz", "train_l2softmax.py", mnist["test"][1])
splits = list(mnist) if args.all else ["test"]
x, y = (np.concatenate([mnist[split][part] for split in splits]) for part in [0, 1])
spaces = {
    "input": ("Input space (784)", x.reshape(len(x), -1)),
    "cnn": ("Plain CNN (64)", np.concatenate([cnn[f"embedding_{split}"] for split in splits])),
    "l2softmax": (
        "L2-constrained CNN (64)",
        np.concatenate([l2softmax[f"embedding_{split}"] for split in splits]),
    ),
}

# %% Maps
# t-SNE never sees the labels: they only colour the points and measure the result.
points, metrics = {}, {}
for name, (title, space) in spaces.items():
    print(f"t-SNE of {title}, {len(space)} points")
    points[name], divergence = maps.tsne(space, perplexity=args.perplexity, seed=args.seed)
    metrics[name] = maps.separation(space, points[name], y) | {"kl_divergence": divergence}
    print("  " + ", ".join(f"{key} {value:.3f}" for key, value in metrics[name].items()))

# %% Figures
combined, axes = plt.subplots(1, 3, figsize=(18, 6.4), layout="constrained")
for ax, (name, (title, _)) in zip(axes, spaces.items(), strict=True):
    caption = maps.caption(title, metrics[name])
    single, single_ax = plt.subplots(figsize=(7, 7.2), layout="constrained")
    for target in [ax, single_ax]:
        plots.digit_map(target, points[name], y, caption)
    plots.save(single, args.out / "figures" / f"{NAME}_{name}.png")
plots.save(combined, args.out / "figures" / f"{NAME}.png")

# %% Save
runs.save_arrays(args.out / "models" / f"{NAME}.npz", points | {"label": y})
runs.write_record(args, NAME, metrics, started)

"""Make the demo's files, models/demo, from the scoreboard's first network of the best recipe.

    python -m demo.build --run runs/outliers     # the --out of benchmark_ood.py

Reads   models/outliers/best/10-digits-seed0.keras, results/outliers/best/10-digits-seed0.json of that run; data/mnist
Writes  models/demo/network.keras, network.json   copies of the two
        models/demo/map.npz                       t-SNE map of validation images on the sphere
"""

import argparse
import shutil
from pathlib import Path

from demo.predictor import FOLDER, N_MAPPED
from hypersphere import data, errors, maps, networks, runs

import numpy as np

NAME = "outliers/best/10-digits-seed0"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--run", type=Path, default=Path("runs/outliers"), help="%(default)s")
args = parser.parse_args()
errors.show_in_one_line()

network = networks.load_network(args.run / "models" / f"{NAME}.keras", "benchmark_ood.py")
_, (x_val, y_val), _ = data.load_mnist()
embedding, _ = networks.embed(network, x_val[:N_MAPPED])
places, _ = maps.tsne(embedding, perplexity=30, seed=0)
for source in [args.run / "models" / f"{NAME}.keras", args.run / "results" / f"{NAME}.json"]:
    shutil.copy(source, FOLDER / f"network{source.suffix}")
places = (places / np.abs(places).max()).astype(np.float32)
runs.save_arrays(FOLDER / "map.npz", {"place": places, "label": y_val[:N_MAPPED].astype(np.uint8)})

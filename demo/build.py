"""Make the demo's files, models/demo, from the scoreboard's first network of the best recipe.

    python -m demo.build --run runs     # the --out of experiments/scoreboard.py

Reads   models/scoreboard/best/10-digits-seed0.keras, results/scoreboard.jsonl of that run; data/mnist
Writes  models/demo/network.keras, network.json   copies of the network and of its record
        models/demo/map.npz                       t-SNE map of validation images on the sphere
"""

import shutil
from pathlib import Path

from demo.predictor import FOLDER, N_MAPPED
from hypersphere import cli, datasets, features, files, networks, records, tsne
from hypersphere.errors import InputError

import numpy as np

NAME = "best/10-digits-seed0"

parser = cli.Parser(__doc__)
parser.add_argument("--run", type=Path, default=files.PROJECT / "runs", help="%(default)s")
args = parser.parse_args()
cli.install_error_hook()

path = args.run / "models" / "scoreboard" / f"{NAME}.keras"
network = networks.load_network(path, "run python -m experiments.scoreboard")
made = {record["name"]: record for record in records.read_records(args.run / "results" / "scoreboard.jsonl")}
if NAME not in made:
    raise InputError(f"{args.run}: no record of {NAME}; run python -m experiments.scoreboard")
_, (x_val, y_val), _ = datasets.load_mnist()
embedding, _ = features.embed(network, x_val[:N_MAPPED])
points, _ = tsne.tsne_map(embedding, perplexity=30, seed=0)
shutil.copy(path, FOLDER / "network.keras")
records.write_record(FOLDER / "network.json", made[NAME])
points = (points / np.abs(points).max()).astype(np.float32)
files.save_arrays(FOLDER / "map.npz", {"place": points, "label": y_val[:N_MAPPED].astype(np.uint8)})

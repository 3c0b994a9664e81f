"""Make the demo's files, models/demo, from the networks of the first trial of `experiments.ensemble`.

    python -m demo.build --run runs     # the --out of experiments/ensemble.py

Reads   models/ensemble/10-digits-seed42-*.keras, results/ensemble.jsonl of that run; data/mnist
Writes  models/demo/network.keras, turns1.keras, turns2.keras     copies of the classifier and of the others
        models/demo/network.json                                  a copy of their record
        models/demo/map.npz                                       t-SNE map of validation images on the sphere
"""

import shutil
from pathlib import Path

import numpy as np

from common import cli, records
from demo.fit import FOLDER, network_paths
from demo.predictor import N_MAPPED
from hypersphere import datasets, features, files, networks, tsne
from hypersphere.errors import InputError

NAME = "10-digits-seed42"
REMEDY = "run python -m experiments.ensemble"

parser = cli.Parser(__doc__)
parser.add_argument("--run", type=Path, default=cli.PROJECT / "runs", help="%(default)s")
args = parser.parse_args()
cli.install_error_hook()

made = {record["name"]: record for record in records.read_records(args.run / "results" / "ensemble.jsonl")}
if NAME not in made:
    raise InputError(f"{args.run}: no record of {NAME}; {REMEDY}")
folder = args.run / "models" / "ensemble"
trained = [folder / f"{NAME}-{name}.keras" for name in ["classifier", "turns1", "turns2"]]
classifier, *_ = (networks.load_network(path, REMEDY) for path in trained)
_, (x_val, y_val), _ = datasets.load_mnist()
embedding, _ = features.embed(classifier, x_val[:N_MAPPED])
points, _ = tsne.tsne_map(embedding, perplexity=30, seed=0)
for path, copy in zip(trained, network_paths(), strict=True):
    shutil.copy(path, copy)
records.write_record(FOLDER / "network.json", made[NAME])
points = (points / np.abs(points).max()).astype(np.float32)
files.save_arrays(FOLDER / "map.npz", {"place": points, "label": y_val[:N_MAPPED].astype(np.uint8)})

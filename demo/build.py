"""Make the demo's files, models/demo, from the networks of the first seed of `experiments.scoreboard`.

    python -m demo.build --run runs     # the --out of experiments/scoreboard.py

Reads   models/scoreboard/TRIAL-*.keras, results/scoreboard.jsonl of that run; models/l2softmax.keras; data/mnist
Writes  network.keras, rotation1.keras, rotation2.keras     copies of the classifier and of the others
        article1.keras                                      a copy of article 1's network
        network.json                                        a copy of their record
        map.npz                                             t-SNE map of validation images on the sphere
"""

import shutil
from pathlib import Path

import numpy as np

from common import cli, records
from demo.predictor import ARTICLE, FOLDER, NETWORKS
from hypersphere import datasets, features, files, networks, tsne
from hypersphere.errors import InputError

N_MAPPED = 5000  # validation images on the map, the first ones
REMEDY = "run python -m experiments.scoreboard"


def main():
    parser = cli.Parser(__doc__)
    parser.add_argument("--run", type=Path, default=cli.PROJECT / "runs", metavar="DIR", help="%(default)s")
    words = "what train_l2softmax.py writes, %(default)s"
    default = cli.PROJECT / "models" / "l2softmax.keras"
    parser.add_argument("--article", type=Path, default=default, metavar="FILE", help=words)
    parser.add_argument("--models", type=Path, default=FOLDER, metavar="DIR", help="where to write, %(default)s")
    args = parser.parse_args()
    cli.install_error_hook()
    path = args.run / "results" / "scoreboard.jsonl"
    trials = [record for record in records.read_records(path) if record["settings"].get("classes") == 10]
    if not trials:
        raise InputError(f"{path}: no record of networks that learned all ten digits; {REMEDY}")
    record = min(trials, key=lambda record: record["settings"]["seed"])
    trial = args.run / "models" / "scoreboard" / record["name"]
    trained = [trial.with_name(f"{trial.name}-{name}.keras") for name in ["classifier", "rotation1", "rotation2"]]
    classifier, *_ = (networks.load_network(path, REMEDY) for path in trained)
    networks.load_network(args.article, "run python train_l2softmax.py, or give --article", ["embedding"])
    _, (x_val, y_val), _ = datasets.load_mnist()
    embedding, _ = features.embed(classifier, x_val[:N_MAPPED])
    points, _ = tsne.tsne_map(embedding, perplexity=30, seed=0)
    points = (points / np.abs(points).max()).astype(np.float32)
    files.make_writable(args.models)
    for path, name in zip([*trained, args.article], [*NETWORKS, ARTICLE], strict=True):
        shutil.copy(path, args.models / name)
    records.write_record(args.models / "network.json", record)
    files.save_arrays(args.models / "map.npz", {"place": points, "label": y_val[:N_MAPPED].astype(np.uint8)})


if __name__ == "__main__":
    main()

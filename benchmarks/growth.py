"""How LOF's time and memory grow with the points that it is fitted on, and what approximate neighbours cost.

    make bench                                  # all benchmarks
    python -m benchmarks.growth                 # this one, half an hour on two cores
    python -m benchmarks.growth --points 10000 100000

Reads   data/mnist, data/fashion-mnist, models/l2softmax.keras
Writes  results/growth.json     seconds, peak memory and AUROC for each number of points, versions, machine

The points are embeddings of the training images, turned, zoomed and shifted at random. Each measurement is one run
in a process of its own. FAISS, for the approximate neighbours, is in requirements-bench.txt.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hypersphere import data, neighbors, networks, novelty, recipes, runs, speed_tables
from hypersphere.errors import InputError

import numpy as np


class Approximate:
    """FAISS's inverted lists: only the points of the lists nearest to a row are compared with it.

    It has the part of scikit-learn's NearestNeighbors that `hypersphere.neighbors` asks of an engine.
    """

    N_PROBED = 16  # lists

    def fit(self, x):
        import faiss

        n_lists = int(np.sqrt(len(x)))
        self.x = x
        self.index = faiss.IndexIVFFlat(faiss.IndexFlatL2(x.shape[1]), x.shape[1], n_lists)
        self.index.train(x)
        self.index.add(x)
        self.index.nprobe = self.N_PROBED
        return self

    def kneighbors(self, x, k):
        if x is not None:
            squared, indices = self.index.search(x, k)
            return np.sqrt(squared), indices
        squared, indices = self.index.search(self.x, k + 1)
        itself = indices == np.arange(len(indices))[:, None]
        itself[~itself.any(axis=1), -1] = True  # among its duplicates a row may be missing
        return np.sqrt(squared[~itself]).reshape(-1, k), indices[~itself].reshape(-1, k)


def measure(engine, points, folder):
    """Fit LOF on the first `points` embeddings of a folder and score new ones, as a dictionary for JSON."""
    if engine == "approximate":
        neighbors.Engine = Approximate
    known = np.load(folder / "known.npy", mmap_mode="r")[:points].copy()
    digits, clothes = (np.load(folder / f"{name}.npy") for name in ["digits", "clothes"])
    started = time.perf_counter()
    lof = neighbors.LOF().fit(known)
    fitted = time.perf_counter()
    scores = lof.strangeness(digits)
    scored = time.perf_counter()
    return {
        "points": points,
        "fit_seconds": fitted - started,
        "score_seconds": scored - fitted,
        "auroc": novelty.auroc(scores, lof.strangeness(clothes)),
        "peak_memory_mb": runs.peak_memory_mb(),
    }


def embeddings(network, images, n_points):
    """Embeddings, (n_points, 64), of images as they are and then, again and again, warped anew."""
    warp = recipes.RandomWarp(seed=0)
    result = [networks.embed(network, images)[0]]
    while sum(map(len, result)) < n_points:
        warped = [warp(images[start : start + 1000], training=True).numpy() for start in range(0, len(images), 1000)]
        result.append(networks.embed(network, np.concatenate(warped))[0])
        print(f"{sum(map(len, result)):,} of {n_points:,} embeddings", flush=True)
    return np.concatenate(result)[:n_points]


def main():
    parser = runs.Parser(__doc__)
    parser.add_argument("--points", nargs="+", type=runs.positive_int, help="10,000, 100,000 and a million")
    args = parser.parse()
    all_points = sorted(args.points or ([500, 1000, 2000] if args.smoke else [10_000, 100_000, 1_000_000]))
    started = time.perf_counter()
    (x_train, _), _, (x_test, _) = data.load_mnist(args.data, smoke=args.smoke)
    clothes = data.load_labelled("fashion-mnist", "t10k", args.data)[0][: len(x_test)]
    network = networks.load_network(args.out / "models" / "l2softmax.keras", "train_l2softmax.py")
    engines = {"exact": []}
    try:
        import faiss  # noqa: F401

        engines["approximate"] = []
    except ImportError:
        print("faiss is not installed and left out: pip install -r requirements-bench.txt")
    with tempfile.TemporaryDirectory() as folder:
        known = embeddings(network, x_train, all_points[-1])
        np.save(Path(folder) / "known.npy", known[np.random.default_rng(0).permutation(len(known))])
        for name, x in [("digits", x_test), ("clothes", clothes)]:
            np.save(Path(folder) / f"{name}.npy", networks.embed(network, x)[0])
        for points in all_points:
            for engine, measured in engines.items():
                command = [sys.executable, "-m", "benchmarks.growth", "--measure", engine, str(points), folder]
                printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=runs.PROJECT)
                if printed.returncode:
                    raise InputError(f"--points {points}: LOF with {engine} neighbours failed, see above; give fewer")
                measured.append(json.loads(printed.stdout.splitlines()[-1]))
                print(f"{engine}, {points:,} points: fit {measured[-1]['fit_seconds']:.1f} s", flush=True)
    path = runs.write_record(args, "growth", {"engines": engines}, started)
    print(speed_tables.growth(runs.read_record(path, "run again")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))
    else:
        main()

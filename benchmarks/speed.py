"""Time each stage beside what one would take instead, in alternation, and beside the machine's own limit.

    make bench                                  # all benchmarks
    python -m benchmarks.speed                  # this one, about 35 minutes on two cores
    python -m benchmarks.speed --repeats 1      # quicker, without a spread

Reads   data/mnist, data/fashion-mnist, models/l2softmax.{keras,npz}
Writes  results/speed.json     seconds of every repeat, the machine's rates, versions, machine

PyTorch, PyOD and openTSNE are in requirements-bench.txt; what is not installed is left out.
"""

# %% Settings
import functools
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import limits
from hypersphere import data, maps, neighbors, networks, runs, speed_tables
from hypersphere.errors import InputError

import keras
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

BATCH_SIZE, EPOCHS = 128, 3
TRAINING = f"{EPOCHS} training epochs"


def optimizer():
    """The training scripts', at a constant rate."""
    return keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)


def plain_fit(network, train, val):
    """Keras's `fit` on arrays."""
    copy = keras.models.clone_model(network)
    copy.compile(optimizer(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    copy.fit(*train, batch_size=BATCH_SIZE, epochs=EPOCHS, validation_data=val, verbose=0)


def our_fit(network, train, val, precision):
    """As the training scripts do it, with the state kept for resuming."""
    keras.config.set_dtype_policy(networks.POLICIES[precision])
    with tempfile.TemporaryDirectory() as folder:
        copy = keras.models.clone_model(network, clone_function=lambda layer: in_policy(layer, precision))
        settings = {"optimizer": optimizer(), "epochs": EPOCHS, "batch_size": BATCH_SIZE, "seed": 0}
        networks.train(copy, train, val, **settings, resume_folder=Path(folder))
    keras.config.set_dtype_policy("float32")


def in_policy(layer, precision):
    """A copy of a layer that computes as in the training scripts: the three blocks in the precision given."""
    kinds = (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.ReLU)
    dtype = networks.POLICIES[precision] if isinstance(layer, kinds) else "float32"
    return type(layer).from_config(layer.get_config() | {"dtype": dtype})


def lof(estimator, known, new):
    """Fit on known rows and score new ones."""
    estimator.fit(known)
    return estimator.score_samples(new)


def sweep(jobs):
    """Four short trainings of the comparison of heads."""
    heads = ["softmax", "l2softmax", "cosface", "arcface"]
    flags = ["--dataset", "fashion-mnist", "--seeds", "1", "--epochs", "3", "--jobs", jobs, "--heads", *heads]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, runs.PROJECT / "benchmark_anomaly.py", *flags, "--out", folder]
        command += ["--smoke"] * args.smoke + (["--data", args.data] if args.data else [])
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            raise InputError("benchmark_anomaly.py failed, see above")


def timed(call):
    """Seconds that a call takes, and what it returns."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


# %% Data
parser = runs.Parser(__doc__)
parser.add_argument("--repeats", type=runs.positive_int, default=3)
args = parser.parse()
started = time.perf_counter()
train, val, (x_test, y_test) = data.load_mnist(args.data, smoke=args.smoke)
network = networks.load_network(args.out / "models" / "l2softmax.keras", "train_l2softmax.py")
arrays = runs.load_embeddings(args.out / "models" / "l2softmax.npz", "train_l2softmax.py", y_test)
sphere, new = arrays["embedding_train"], arrays["embedding_test"]
every = np.concatenate([sphere, arrays["embedding_val"], new])
pixels, new_pixels = train[0].reshape(len(train[0]), -1), x_test.reshape(len(x_test), -1)
fastest = runs.fastest_precision()
have = {name: bool(importlib.util.find_spec(name)) for name in ["torch", "pyod", "openTSNE"]}
for name in [name for name, found in have.items() if not found]:
    print(f"{name} is not installed and left out: pip install -r requirements-bench.txt")

# %% Stages: {name: {variant: call}}; the first variant is ours
stages = {
    TRAINING: {
        f"ours, {fastest}": lambda: our_fit(network, train, val, fastest),
        "ours, float32": lambda: our_fit(network, train, val, "float32"),
        "Keras, fit on arrays": lambda: plain_fit(network, train, val),
    },
    "embedding 10,000 images": {
        "ours": lambda: networks.embed(network, x_test),
        "Keras, predict": lambda: network.predict(x_test, verbose=0),
    },
    "LOF, 64 dimensions": {
        "ours": lambda: lof(neighbors.LOF(), sphere, new),
        "scikit-learn": lambda: lof(LocalOutlierFactor(novelty=True), sphere, new),
    },
    "LOF, 784 dimensions": {
        "ours": lambda: lof(neighbors.LOF(), pixels, new_pixels),
        "scikit-learn": lambda: lof(LocalOutlierFactor(novelty=True), pixels, new_pixels),
    },
    "sweep of four trainings": {"--jobs 2": lambda: sweep("2"), "--jobs 1": lambda: sweep("1")},
    "t-SNE of 10,000 images": {"ours, scikit-learn's": lambda: maps.tsne(new, perplexity=30, seed=0)},
    "t-SNE of 70,000 images": {"ours, scikit-learn's": lambda: maps.tsne(every, perplexity=30, seed=0)},
}
once = ["t-SNE of 70,000 images"]
if have["torch"]:
    from benchmarks import pytorch

    as_tensors = [pytorch.tensors(*split) for split in [train, val]]
    torch_network, torch_images = pytorch.Network(), pytorch.tensors(x_test, y_test)[0]
    for name, pool_first in [("PyTorch loop", False), ("PyTorch loop, ReLU after pooling", True)]:
        for precision in dict.fromkeys(["float32", fastest]):
            stages[TRAINING][f"{name}, {precision}"] = functools.partial(
                pytorch.train, *as_tensors, BATCH_SIZE, EPOCHS, precision == "bfloat16", pool_first
            )
    stages["embedding 10,000 images"]["PyTorch"] = lambda: pytorch.embed(torch_network, torch_images)
if have["pyod"]:
    from pyod.models.lof import LOF as PyodLOF

    for name, known, unseen in [("64", sphere, new), ("784", pixels, new_pixels)]:
        stages[f"LOF, {name} dimensions"]["PyOD"] = lambda known=known, unseen=unseen: (
            PyodLOF(novelty=True).fit(known).decision_function(unseen)
        )
if have["openTSNE"]:
    from openTSNE import TSNE

    stages["t-SNE of 10,000 images"]["openTSNE"] = lambda: TSNE(n_jobs=-1, random_state=0).fit(new)

# %% Measure: the variants take turns, so that a slower spell of the machine meets them all
seconds, results = {}, {}
for stage, variants in stages.items():
    seconds[stage] = {name: [] for name in variants}
    for repeat in range(1 if stage in once else args.repeats):
        for name, call in variants.items():
            elapsed, results[stage, name] = timed(call)
            seconds[stage][name].append(elapsed)
            print(f"{stage}, {name}, repeat {repeat + 1}: {seconds[stage][name][-1]:.1f} s", flush=True)

# %% How far are our scores from scikit-learn's at most?
difference = {
    stage: float(np.abs(results[stage, "ours"] - results[stage, "scikit-learn"]).max())
    for stage in stages
    if stage.startswith("LOF")
}

# %% The machine's rates, and the operations of each stage
layers = [layer for layer in network.layers if hasattr(layer, "kernel")]
rates = {
    "matrix product": {dtype: limits.product_rate(dtype) for dtype in ["float32", "bfloat16"]},
    "the network's convolutions": {
        dtype: limits.convolutions_rate(network, dtype, BATCH_SIZE) for dtype in ["float32", "bfloat16"]
    },
}
validation = len(val[0]) * sum(limits.forward_operations(layers))
operations = {
    TRAINING: EPOCHS * (len(train[0]) * limits.training_operations(layers) + validation),
    "embedding 10,000 images": len(x_test) * sum(limits.forward_operations(layers)),
    "LOF, 64 dimensions": 2 * len(sphere) * (len(sphere) + len(new)) * sphere.shape[1],
    "LOF, 784 dimensions": 2 * len(pixels) * (len(pixels) + len(new_pixels)) * pixels.shape[1],
}

# %% Results
metrics = {"seconds": seconds, "difference": difference, "rates": rates, "operations": operations}
path = runs.write_record(args, "speed", metrics, started)
record = runs.read_record(path, "run again")
print(speed_tables.stages(record), speed_tables.floors(record), sep="\n\n")

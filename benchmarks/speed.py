"""Time each stage beside its plain alternative, in alternation; prints medians, spread and ratios.

    make bench                                  # about 6 minutes on two cores
    python -m benchmarks.speed --repeats 1      # quicker, without a spread

Reads   data/mnist, models/cnn.keras, models/cnn.npz
Writes  results/speed.json           seconds of every repeat, versions, machine

The alternatives are what a user would write first: Keras's `fit` on arrays with its own batch
size or with ours, scikit-learn's TSNE() and LocalOutlierFactor(novelty=True) as they are.
"""

# %% Settings
import json
import tempfile
import time
from pathlib import Path

from hypersphere import data, maps, neighbors, networks, runs, tables

import keras
from sklearn.manifold import TSNE
from sklearn.neighbors import LocalOutlierFactor


def plain_fit(network, x, y, **arguments):
    """One epoch of Keras's `fit` on arrays, with nothing but a compiled network."""
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    network.fit(x, y, verbose=0, **arguments)


def our_fit(network, x, y, x_val, y_val, batch_size):
    """One epoch as the training scripts do it, with validation and the state kept for resuming."""
    with tempfile.TemporaryDirectory() as folder:
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
        settings = {"optimizer": optimizer, "epochs": 1, "batch_size": batch_size, "seed": 0}
        networks.train(network, (x, y), (x_val, y_val), **settings, resume_folder=Path(folder))


def seconds_of(call):
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


# %% Data
parser = runs.Parser(__doc__)
parser.add_argument("--repeats", type=runs.positive_int, default=3)
args = parser.parse()
started = time.perf_counter()
(x_train, y_train), (x_val, y_val), (x_test, y_test) = data.load_mnist(args.data, smoke=args.smoke)
trained = networks.load_network(args.out / "models" / "cnn.keras", "train_cnn_baseline.py")
arrays = runs.load_embeddings(args.out / "models" / "cnn.npz", "train_cnn_baseline.py", y_test)
embedding, new = arrays["embedding_train"], arrays["embedding_test"]

# %% Stages: {name: {variant: call}}; the last variant is the plain alternative
stages = {
    "training epoch": {
        "ours, batch 128": lambda: our_fit(keras.models.clone_model(trained), x_train, y_train, x_val, y_val, 128),
        "fit on arrays, batch 128": lambda: plain_fit(
            keras.models.clone_model(trained), x_train, y_train, batch_size=128, validation_data=(x_val, y_val)
        ),
        "fit on arrays, as it is": lambda: plain_fit(
            keras.models.clone_model(trained), x_train, y_train, validation_data=(x_val, y_val)
        ),
    },
    "t-SNE": {"ours": lambda: maps.tsne(new, perplexity=30, seed=0), "TSNE()": lambda: TSNE().fit_transform(new)},
    "LOF": {
        "ours": lambda: neighbors.LOF().fit(embedding).strangeness(new),
        "LocalOutlierFactor(novelty=True)": lambda: LocalOutlierFactor(novelty=True).fit(embedding).score_samples(new),
    },
}

# %% Measure: the variants take turns, so that a slower spell of the machine meets them all
metrics = {}
for stage, variants in stages.items():
    seconds = {name: [] for name in variants}
    for repeat in range(args.repeats):
        for name, call in variants.items():
            seconds[name].append(seconds_of(call))
            print(f"{stage}, {name}, repeat {repeat + 1}: {seconds[name][-1]:.1f} s", flush=True)
    metrics[stage] = seconds

# %% Results
path = runs.write_record(args, "speed", metrics, started)
print(tables.speed(json.loads(path.read_text())))

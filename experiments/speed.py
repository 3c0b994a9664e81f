"""How long does each stage of article 1 take beside what one would use instead?

    python -m experiments.speed [--smoke]    # after `make`; some 15 minutes on two cores

Reads   data/mnist, and what `make` left: models/l2softmax.{keras,npz}
Writes  runs/results/speed.jsonl     a line with the seconds of every repeat
"""

import importlib.util
import itertools
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from common import cli, records, training
from experiments.tables import caption, markdown
from hypersphere import datasets, features, files, networks, tsne

BATCH_SIZE, EPOCHS, REPEATS = 128, 3, 3
NEEDED = {"PyTorch loop, float32": "torch", "openTSNE": "openTSNE"}  # pip install ".[bench]"; else left out


def train(network, data, val, with_keras=False):
    """Train a copy of a network as the training scripts do, or by Keras's `fit` on arrays."""
    copy, optimizer = keras.models.clone_model(network), keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)
    if with_keras:
        copy.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        copy.fit(*data, batch_size=BATCH_SIZE, epochs=EPOCHS, validation_data=val, verbose=0)
    else:
        training.compile_for_logits(copy, optimizer)
        training.fit(copy, data, val, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=0)


def train_with_torch(data, val):
    """A plain PyTorch loop for the same network, in the usual order of layers."""
    torch = importlib.import_module("torch")
    nn, last = torch.nn, torch.nn.Linear(64, 10)
    blocks = [(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in [(1, 16), (16, 32), (32, 64)]]
    encoder = nn.Sequential(*sum(blocks, ()), nn.Flatten(), nn.Linear(576, 64)).to(memory_format=torch.channels_last)
    options = {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}
    optimizer = torch.optim.SGD([*encoder.parameters(), *last.parameters()], **options)
    x, x_val = (torch.from_numpy(x).permute(0, 3, 1, 2).to(memory_format=torch.channels_last) for x, _ in (data, val))
    y = torch.from_numpy(data[1])
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(y)).split(BATCH_SIZE):
            optimizer.zero_grad()
            nn.functional.cross_entropy(last(16 * nn.functional.normalize(encoder(x[rows]))), y[rows]).backward()
            optimizer.step()
        with torch.inference_mode():
            [last(16 * nn.functional.normalize(encoder(batch))).argmax(1) for batch in x_val.split(1000)]


def tables(records):
    """The last record's seconds of each stage, ours first, and our share of an alternative's: {marker: Markdown}."""
    rows, last = [], records[-1]
    for stage, variants in last["metrics"]["seconds"].items():
        ours = np.median(next(iter(variants.values())))
        for number, (variant, seconds) in enumerate(variants.items()):
            median, span = np.median(seconds), f"{min(seconds):.1f} to {max(seconds):.1f}"
            rows.append([stage, variant, f"{median:.1f}", span, f"{ours / median:.2f}" if number else ""])
    header = ["stage", "variant", "seconds (median)", "range", "ours / this"]
    return {"stages": markdown(header, rows, caption([last], last["settings"]["repeats"], "repeat", versions=True))}


def main():
    parser = cli.Parser(__doc__, out=cli.PROJECT / "runs")
    parser.add_argument("--models", type=Path, default=cli.PROJECT / "models", help="folder of l2softmax.*")
    args, began, seconds = parser.parse(), time.perf_counter(), {}
    train_set, val, (x, _) = datasets.load_mnist(args.data, args.smoke)
    network = networks.load_network(args.models / "l2softmax.keras", "run train_l2softmax.py")
    arrays = files.load_arrays(args.models / "l2softmax.npz", "run train_l2softmax.py")
    known, new = arrays["embedding_train"], arrays["embedding_test"]
    pixels = [images.reshape(len(images), -1) for images in (train_set[0], x)]
    lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True)
    calls = {  # the first variant of a stage is ours
        ("3 training epochs", "ours, float32"): lambda: train(network, train_set, val),
        ("3 training epochs", "Keras, fit on arrays"): lambda: train(network, train_set, val, with_keras=True),
        ("3 training epochs", "PyTorch loop, float32"): lambda: train_with_torch(train_set, val),
        ("embedding 10,000 images", "ours"): lambda: features.embed(network, x),
        ("embedding 10,000 images", "Keras, predict"): lambda: network.predict(x, verbose=0),
        ("LOF, 64 dimensions", "scikit-learn"): lambda: lof.fit(known).score_samples(new),
        ("LOF, 784 dimensions", "scikit-learn"): lambda: lof.fit(pixels[0]).score_samples(pixels[1]),
        ("t-SNE of 10,000 images", "ours, scikit-learn's"): lambda: tsne.tsne_map(new, perplexity=30, seed=0),
        ("t-SNE of 10,000 images", "openTSNE"): lambda: importlib.import_module("openTSNE").TSNE(n_jobs=-1).fit(new),
    }
    for _, (stage, variant) in itertools.product(range(REPEATS), calls):  # in turns: a slow spell meets them all
        if importlib.util.find_spec(NEEDED.get(variant, "keras")):
            started = time.perf_counter()
            calls[stage, variant]()
            seconds.setdefault(stage, {}).setdefault(variant, []).append(time.perf_counter() - started)
    record = records.new_record("stages", {"smoke": args.smoke, "repeats": REPEATS}, {"seconds": seconds}, began)
    records.append_record(args.out / "results" / "speed.jsonl", record)
    print(tables([record])["stages"])


if __name__ == "__main__":
    main()

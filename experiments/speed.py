"""Time `make` in a fresh clone, and each stage of article 1 beside what one would take instead, in turns.

    python -m experiments.speed                  # some 20 minutes on two cores
    python -m experiments.speed --only make      # `make` alone, or `--only stages`, `--only recipes`
    python -m experiments.speed --repeats 1      # without a spread
    python -m experiments.speed --smoke

Reads   data/mnist, and what `make` left: models/l2softmax.{keras,npz}
Writes  runs/results/speed.jsonl     a line for `make`, one for the stages with the seconds of every repeat, one for an
                                     epoch of each of article 1's recipes

PyTorch and openTSNE are alternatives: `pip install '.[bench]'`; what is not installed is left out.
"""

import functools
import importlib.util
import itertools
import subprocess
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from common import cli, records, training
from experiments import choice
from hypersphere import datasets, features, files, networks, tsne
from hypersphere.errors import InputError

BATCH_SIZE, EPOCHS = 128, 3


def optimizer():
    """The training scripts', at a constant rate."""
    return keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)


def our_training(network, train, val, precision):
    """As the training scripts do it."""
    keras.config.set_dtype_policy(training.POLICIES[precision])
    blocks = (keras.layers.Conv2D, keras.layers.MaxPooling2D, keras.layers.ReLU)

    def copy(layer):
        dtype = training.POLICIES[precision] if isinstance(layer, blocks) else "float32"
        return type(layer).from_config(layer.get_config() | {"dtype": dtype})

    clone = keras.models.clone_model(network, clone_function=copy)
    training.compile_for_logits(clone, optimizer())
    training.fit(clone, train, val, epochs=EPOCHS, batch_size=BATCH_SIZE, seed=0)
    keras.config.set_dtype_policy("float32")


def keras_training(network, train, val):
    """Keras's `fit` on arrays, with its own defaults."""
    clone = keras.models.clone_model(network)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    clone.compile(optimizer(), loss, metrics=["accuracy"])
    clone.fit(*train, batch_size=BATCH_SIZE, epochs=EPOCHS, validation_data=val, verbose=0)


def torch_training(filters, train, val):
    """A plain PyTorch loop for the same network, in the usual order of layers."""
    import torch
    from torch import nn

    class Sphere(nn.Module):
        def forward(self, x):
            return 16 * nn.functional.normalize(x.float())

    blocks, channels = [], [1, *filters]
    for before, after in itertools.pairwise(channels):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(9 * channels[-1], 64), Sphere(), nn.Linear(64, 10))
    network = network.to(memory_format=torch.channels_last)
    sgd = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    (x, y), (x_val, y_val) = (
        (torch.from_numpy(x).permute(0, 3, 1, 2).to(memory_format=torch.channels_last), torch.from_numpy(y))
        for x, y in [train, val]
    )
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH_SIZE):
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        with torch.inference_mode():
            answers = torch.cat([network(batch).argmax(1) for batch in x_val.split(1000)])
        (answers == y_val).float().mean().item()


def fit_and_score(known, new):
    """Fit scikit-learn's LOF on known rows and score new ones."""
    LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True).fit(known).score_samples(new)


def time_make(args):
    """Seconds of `make` in a fresh clone that uses this one's environment, and of each script with its peak memory."""
    flags = ["--smoke", "--out", "."] * args.smoke + (["--data", str(Path(args.data).resolve())] if args.data else [])
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", cli.PROJECT, clone], check=True)
        (clone / ".venv").symlink_to(cli.PROJECT / ".venv")
        (clone / ".venv" / "run").touch()  # nothing is to be installed
        started = time.perf_counter()
        if subprocess.run(["make", f"FLAGS={' '.join(flags)}"], cwd=clone).returncode:
            raise InputError("make failed, see above")
        seconds = time.perf_counter() - started
        made = {path.stem: records.read_record(path, "run again") for path in (clone / "results").glob("*.json")}
    scripts = {name: {key: of[key] for key in ["seconds", "peak_memory_mb"]} for name, of in made.items()}
    return {"seconds": seconds, "scripts": scripts}


def stages_of(args):
    """What is timed, {stage: {variant: call}}; the first variant is ours."""
    train, val, (x_test, y_test) = datasets.load_mnist(args.data, smoke=args.smoke)
    models = args.models or cli.PROJECT / "models"
    network = networks.load_network(models / "l2softmax.keras", "run train_l2softmax.py")
    arrays = files.load_arrays(models / "l2softmax.npz", "run train_l2softmax.py", y_test)
    known, new = arrays["embedding_train"], arrays["embedding_test"]
    pixels, new_pixels = train[0].reshape(len(train[0]), -1), x_test.reshape(len(x_test), -1)
    trainings = {
        f"ours, {precision}": functools.partial(our_training, network, train, val, precision)
        for precision in args.precisions
    }
    trainings["Keras, fit on arrays"] = lambda: keras_training(network, train, val)
    maps = {"ours, scikit-learn's": lambda: tsne.tsne_map(new, perplexity=30, seed=0)}
    if importlib.util.find_spec("torch"):
        filters = [layer.filters for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
        trainings["PyTorch loop, float32"] = lambda: torch_training(filters, train, val)
    if importlib.util.find_spec("openTSNE"):
        from openTSNE import TSNE

        maps["openTSNE"] = lambda: TSNE(n_jobs=-1, random_state=0).fit(new)
    return {
        f"{EPOCHS} training epochs": trainings,
        "embedding 10,000 images": {
            "ours": lambda: features.embed(network, x_test),
            "Keras, predict": lambda: network.predict(x_test, verbose=0),
        },
        "LOF, 64 dimensions": {"scikit-learn": lambda: fit_and_score(known, new)},
        "LOF, 784 dimensions": {"scikit-learn": lambda: fit_and_score(pixels, new_pixels)},
        "t-SNE of 10,000 images": maps,
    }


def time_recipes(args):
    """Seconds of a training epoch of each candidate for article 1's recipe, {candidate: [seconds]}."""
    (x, y), *_ = datasets.load_mnist(args.data, smoke=args.smoke)
    settings = {"alpha": 16.0, "precision": "float32", "seed": 0}
    recipes = {name: recipe | settings for name, recipe in choice.CANDIDATES.items()}
    compiled = {name: choice.compiled(recipe, len(x)) for name, recipe in recipes.items()}
    keras.config.set_dtype_policy("float32")

    def epoch_of(name):
        schedule = {"epochs": 1, "batch_size": recipes[name]["batch_size"], "seed": 0}
        return lambda: training.fit(compiled[name], (x, y), **schedule)

    return {"seconds": time_in_turns({name: epoch_of(name) for name in recipes}, args.repeats + 1, dropped=1)}


def time_in_turns(variants, repeats, dropped=0):
    """Seconds of each repeat but the first `dropped`, {variant: [seconds]}.

    The variants take turns, so that a slower spell of the machine meets them all.
    """
    seconds = {variant: [] for variant in variants}
    for _ in range(repeats):
        for variant, call in variants.items():
            started = time.perf_counter()
            call()
            seconds[variant].append(time.perf_counter() - started)
    return {variant: of_variant[dropped:] for variant, of_variant in seconds.items()}


def time_stages(args):
    """Seconds of every repeat, {stage: {variant: [seconds]}}."""
    seconds = {}
    for stage, variants in stages_of(args).items():
        seconds[stage] = time_in_turns(variants, args.repeats)
        ours = np.median(next(iter(seconds[stage].values())))
        for variant, taken in seconds[stage].items():
            print(f"{stage}, {variant}: {np.median(taken):.1f} s, ours takes {ours / np.median(taken):.2f} of it")
    return {"seconds": seconds}


MEASURES = {"make": time_make, "stages": time_stages, "recipes": time_recipes}


def main():
    parser = cli.Parser(__doc__, out=cli.PROJECT / "runs")
    parser.add_argument("--only", choices=list(MEASURES), help="default: all")
    parser.add_argument("--repeats", type=cli.positive_int, default=3, help="of the stages, %(default)s")
    parser.add_argument("--precisions", nargs="+", choices=list(training.POLICIES), default=["float32"], help="float32")
    parser.add_argument("--models", type=Path, help="folder of l2softmax.keras and .npz, default: the project's")
    args = parser.parse()
    for name in ["torch", "openTSNE"]:
        if not importlib.util.find_spec(name):
            print(f"{name} is not installed and left out: pip install '.[bench]'")
    for name, measure in MEASURES.items():
        if args.only in (None, name):
            started = time.perf_counter()
            settings = {"smoke": args.smoke} | ({"repeats": args.repeats} if name != "make" else {})
            record = records.new_record(name, settings, measure(args), started)
            records.append_record(args.out / "results" / "speed.jsonl", record)


if __name__ == "__main__":
    main()

"""A lighter recipe for article 1: candidates compared on images that appear in no other table.

    python -m experiments.choice                 # every candidate, seeds 100 to 102; some 40 minutes on two cores
    python -m experiments.choice --smoke

Accuracy is that of the 10,000 validation images. LOF, fitted on the training embeddings, rejects 1 % and 4 % of the
*validation* images, and accepts a share of 5,000 *training* images of Fashion-MNIST and of grey CIFAR-10.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  runs/results/choice.jsonl    a line a trial, as it ends
Repeating the command continues with what is missing.
"""

import math
import time

import keras
import numpy as np
from sklearn.neighbors import LocalOutlierFactor

from common import cli, records, training
from common.cli import PROJECT
from experiments import building, sweep
from hypersphere import datasets, features, layers, outliers, scores

N_OUTLIERS = 5000
BASE = {"filters": [16, 32, 64], "epochs": 8, "batch_size": 128, "learning_rate": 0.05, "weight_decay": 1e-3}
CANDIDATES = {
    "32-64-128 filters, 10 epochs (the former recipe)": BASE | {"filters": [32, 64, 128], "epochs": 10},
    "10 epochs": BASE | {"epochs": 10},
    "10 epochs, penalty 0.0015": BASE | {"epochs": 10, "weight_decay": 1.5e-3},
    "10 epochs, penalty 0.002": BASE | {"epochs": 10, "weight_decay": 2e-3},
    "8 epochs": BASE,
    "8 epochs, rate 0.1": BASE | {"learning_rate": 0.1},
    "8 epochs, batches of 64": BASE | {"batch_size": 64},
}


def plan(args):
    """The trials, {name: settings}: every candidate with the same seeds."""
    common = {"alpha": 16.0, "precision": args.precision, "smoke": args.smoke}
    seeds = range(100, 100 + (1 if args.smoke else args.seeds))
    return {
        f"{name}/seed{seed}": recipe | common | {"seed": seed} | ({"epochs": 1} if args.smoke else {})
        for seed in seeds
        for name, recipe in CANDIDATES.items()
    }


def load_outliers(data, smoke):
    """Training images of Fashion-MNIST and, grey and resized, of CIFAR-10: {name: (n, 28, 28, 1)}."""
    n = datasets.SMOKE["test"] if smoke else N_OUTLIERS
    images, _ = datasets.read_cifar10(datasets.find_cifar10(data) / datasets.CIFAR10_FILES[0])
    clothes, _ = datasets.load_labelled("fashion-mnist", "train", data)
    return {"Fashion-MNIST": clothes[:n], "CIFAR-10": outliers.to_grey_digit_sizes(images[:n])}


def build(settings):
    """The L2-constrained network: images, (n, 28, 28, 1), to ten logits."""
    penalty, seeds = keras.regularizers.L2(settings["weight_decay"]), building.layer_seeds(settings["seed"])
    image = keras.Input((28, 28, 1))
    options = {"filters": settings["filters"], "units": 64, "penalty": penalty, "name": "features"}
    x = building.convolutional_embedding(image, seeds, **options)
    constrain = keras.layers.Lambda(layers.l2_constrain, arguments={"alpha": settings["alpha"]}, name="embedding")
    initializer = keras.initializers.GlorotUniform(next(seeds))
    options = {"kernel_regularizer": penalty, "kernel_initializer": initializer, "dtype": "float32"}
    return keras.Model(image, keras.layers.Dense(10, **options)(constrain(x)))


def compiled(settings, n_images):
    """The network of a candidate, ready to be trained on so many images."""
    keras.config.set_dtype_policy(training.POLICIES[settings["precision"]])
    network = build(settings)
    compile_for(network, settings, n_images)
    return network


def compile_for(network, recipe, n_images):
    """Compile a network to be trained on so many images as a recipe says."""
    steps = recipe["epochs"] * math.ceil(n_images / recipe["batch_size"])
    rate = training.one_cycle(recipe["learning_rate"], steps)
    training.compile_for_logits(network, keras.optimizers.SGD(rate, momentum=0.9, nesterov=True))


def run_trial(name, settings, data, models):
    """Train one network, fit LOF on its training embeddings, and judge both on validation images and outliers."""
    started = time.perf_counter()
    (x_train, y_train), (x_val, y_val), _ = datasets.load_mnist(data, settings["smoke"])
    network = compiled(settings, len(x_train))
    schedule = {key: settings[key] for key in ["epochs", "batch_size", "seed"]}
    loss = [row["loss"] for row in training.fit(network, (x_train, y_train), **schedule)]
    network = training.in_float32(network)
    embedding, prediction = features.embed(network, x_val)
    lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True)
    lof.fit(features.embed(network, x_train)[0])
    digit_scores = scores.novelty_score(lof, embedding)
    thresholds = {share: scores.rejection_threshold(digit_scores, share) for share in [0.01, 0.04]}
    ood = load_outliers(data, settings["smoke"])
    ood_scores = {of_set: scores.novelty_score(lof, features.embed(network, x)[0]) for of_set, x in ood.items()}
    metrics = {
        "validation_accuracy": float(np.mean(prediction == y_val)),
        "accepted_at_rejection": scores.accepted_shares(ood_scores, thresholds),
    }
    keras.backend.clear_session()
    return records.new_record(name, settings, metrics, started, loss=loss)


def main():
    parser = cli.Parser(__doc__, out=PROJECT / "runs")
    parser.add_argument("--seeds", type=cli.positive_int, metavar="N", default=3, help="a candidate, %(default)s")
    sweep.add_flags(parser)
    args = parser.parse()
    datasets.find_cifar10(args.data)  # before several trials download it at once
    for record in sweep.run("experiments.choice", plan(args), args, "choice"):
        print(f"{record['name']}: validation accuracy {record['metrics']['validation_accuracy']:.2%}")


if __name__ == "__main__":
    main()

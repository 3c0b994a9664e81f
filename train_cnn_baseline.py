"""Train a plain CNN on MNIST: the network that the L2-constrained one is compared with.

    python train_cnn_baseline.py                # a minute or two on two cores
    python train_cnn_baseline.py --smoke        # a try on 2,000 images, seconds
    python train_cnn_baseline.py --seed 1 --out runs/seed1

Reads   data/mnist
Writes  models/cnn.keras             the network, which gives logits
        models/cnn.npz               embeddings, labels and predictions of the three splits
        figures/cnn_curves.png       accuracy and loss over the epochs
        figures/cnn_mistakes.png     the misclassified test images
        results/cnn.json             flags, history, metrics, versions, machine, time
Repeating the command continues an interrupted training.
"""

# %% Settings
import math
import time

from hypersphere import data, networks, plots, runs

import keras

NAME, TITLE, ARTICLE_ACCURACY = "cnn", "Plain CNN", 0.9901

parser = runs.Parser(__doc__)
parser.add_argument("--seed", type=runs.seed_number, default=0, help="of weights and batches, %(default)s")
parser.add_argument("--epochs", type=runs.positive_int, default=10, help="passes over the training images, %(default)s")
parser.add_argument("--batch-size", type=runs.positive_int, default=128, help="images a step, %(default)s")
parser.add_argument("--learning-rate", type=runs.positive_float, default=0.05, help="the highest, %(default)s")
parser.add_argument("--weight-decay", type=runs.non_negative_float, default=1e-3, help="L2 penalty, %(default)s")
runs.add_precision(parser)
parser.add_argument("--devices", type=runs.positive_int, default=1, help="that share each batch, %(default)s")
args = parser.parse()

started = time.perf_counter()
keras.utils.set_random_seed(args.seed)
keras.config.set_dtype_policy(networks.POLICIES[args.precision])
networks.use_devices(args.devices)

# %% Data: 50,000 training, 10,000 validation and 10,000 test images
(x_train, y_train), (x_val, y_val), (x_test, y_test) = data.load_mnist(args.data, smoke=args.smoke)

# %% Network
# The article gives three convolutions and a fully connected layer of 64; widths, pooling, penalty and
# the linear (not rectified) layer of 64 are our choice, explained in the README. After the convolutions all is float32.
penalty = keras.regularizers.L2(args.weight_decay)
image = keras.Input((28, 28, 1))
x = image
for number, filters in enumerate([32, 64, 128], 1):
    x = keras.layers.Conv2D(filters, 3, padding="same", kernel_regularizer=penalty)(x)
    x = keras.layers.MaxPooling2D(2)(x)  # 28 -> 14 -> 7 -> 3
    x = keras.layers.ReLU(name=f"block{number}")(x)  # after the pooling: the same, for a quarter of the work
x = keras.layers.Flatten()(x)  # (n, 3 * 3 * 128)
embedding = keras.layers.Dense(64, kernel_regularizer=penalty, dtype="float32", name="embedding")(x)  # (n, 64)
# Logits: the softmax is part of the loss, where it cannot saturate.
logits = keras.layers.Dense(10, kernel_regularizer=penalty, dtype="float32", name="logits")(embedding)  # (n, 10)
network = keras.Model(image, logits, name=NAME)
network.summary()

# %% Training
steps = args.epochs * math.ceil(len(x_train) / args.batch_size)
optimizer = keras.optimizers.SGD(networks.one_cycle(args.learning_rate, steps), momentum=0.9, nesterov=True)
history = networks.train(
    network,
    (x_train, y_train),
    (x_val, y_val),
    optimizer=optimizer,
    epochs=args.epochs,
    batch_size=args.batch_size,
    seed=args.seed,
    resume_folder=runs.resume_folder(args, NAME),
)

# %% Results, in float32
network = networks.in_float32(network)
splits = {"train": (x_train, y_train), "val": (x_val, y_val), "test": (x_test, y_test)}
arrays = networks.save_embeddings(args.out / "models" / f"{NAME}.npz", network, splits, args.seed)
accuracy = {name: float((arrays[f"prediction_{name}"] == y).mean()) for name, (_, y) in splits.items()}
wrong = int((arrays["prediction_test"] != y_test).sum())
print(f"test accuracy {accuracy['test']:.2%}, {wrong} of {len(y_test)} wrong (article: {ARTICLE_ACCURACY:.2%})")

# %% Save
networks.save_network(network, args.out / "models" / f"{NAME}.keras")
plots.save(plots.learning_curves(history, TITLE), args.out / "figures" / f"{NAME}_curves.png")
title = f"{TITLE}: the {wrong} misclassified of {len(y_test)} test images (the answer, not the right digit)"
figure = plots.misclassified(x_test, y_test, arrays["prediction_test"], title)
plots.save(figure, args.out / "figures" / f"{NAME}_mistakes.png")
runs.write_record(args, NAME, {"accuracy": accuracy, "wrong": wrong}, started, history=history)

"""Train the same CNN with an L2-constrained softmax: every image lands on a sphere of radius alpha.

    python train_l2softmax.py                   # a minute or two on two cores
    python train_l2softmax.py --smoke           # a try on 2,000 images, seconds
    python train_l2softmax.py --seed 1 --out runs/seed1
    python train_l2softmax.py --recipe best     # more accurate, with augmentation, about 10 minutes

Reads   data/mnist
Writes  models/l2softmax.keras         the network, which gives logits
        models/l2softmax.npz           embeddings, labels and predictions of the three splits
        figures/l2softmax_curves.png   accuracy and loss over the epochs
        figures/l2softmax_mistakes.png the misclassified test images
        results/l2softmax.json         flags, history, metrics, versions, machine, time
        (--recipe best: `best` instead of `l2softmax`)
Repeating the command continues an interrupted training.
"""

# %% Settings
import time

from hypersphere import data, networks, plots, recipes, runs

import keras

ARTICLE_ACCURACY = 0.9931

parser = runs.Parser(__doc__)
parser.add_argument("--seed", type=runs.seed_number, default=0, help="of weights and batches, %(default)s")
parser.add_argument("--recipe", choices=["article", "best"], default="article", help="%(default)s")
parser.add_argument("--epochs", type=runs.positive_int, help="passes over the training images; default: the recipe's")
parser.add_argument("--alpha", type=runs.positive_float, help="radius of the sphere; default: the recipe's, 16")
parser.add_argument("--batch-size", type=runs.positive_int, help="images a step; default: the recipe's, 128")
parser.add_argument("--learning-rate", type=runs.positive_float, help="the highest; default: the recipe's")
parser.add_argument("--weight-decay", type=runs.non_negative_float, help="the recipe's if not given")
runs.add_precision(parser)
parser.add_argument("--devices", type=runs.positive_int, default=1, help="that share each batch, %(default)s")
args = parser.parse()
recipe = recipes.choose(args)
NAME, TITLE = ("l2softmax", "L2-constrained CNN") if args.recipe == "article" else ("best", "Best recipe")

started = time.perf_counter()
keras.utils.set_random_seed(args.seed)
keras.config.set_dtype_policy(networks.POLICIES[args.precision])
networks.use_devices(args.devices)

# %% Data: 50,000 training, 10,000 validation and 10,000 test images
(x_train, y_train), (x_val, y_val), (x_test, y_test) = data.load_mnist(args.data, smoke=args.smoke)

# %% Network: the article's
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
x = keras.layers.Dense(64, kernel_regularizer=penalty, dtype="float32", name="features")(x)  # (n, 64)
# The one difference from train_cnn_baseline.py: each row is scaled to the length alpha.
arguments = {"alpha": args.alpha}
constrain = keras.layers.Lambda(networks.l2_constrain, arguments=arguments, dtype="float32", name="embedding")
embedding = constrain(x)  # (n, 64), norms alpha
# Logits: the softmax is part of the loss, where it cannot saturate.
logits = keras.layers.Dense(10, kernel_regularizer=penalty, dtype="float32", name="logits")(embedding)  # (n, 10)
network = training_network = keras.Model(image, logits, name=NAME)
if args.recipe == "best":  # the same layers, with batch normalisation; trained on turned and shifted images
    training_network, network = recipes.build(recipe, seed=args.seed, name=NAME)
network.summary()

# %% Training
history = networks.train(
    training_network,
    (x_train, y_train),
    (x_val, y_val),
    optimizer=recipes.optimizer(recipe, len(x_train)),
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

"""The scoreboard: how well do detectors turn away what is no digit, without having seen an outlier?

    python benchmark_ood.py                    # the best recipe, five seeds
    python benchmark_ood.py --recipes all      # every recipe, for the comparison of recipes, hours
    python benchmark_ood.py --data FOLDER      # the folder that holds cifar-10-batches-bin/
    python benchmark_ood.py --smoke            # a try on small slices, a minute

Each seed trains two networks: one on all digits, which meets clothes, photographs, letters, noise and
turned digits, and one on the digits 0-4, which meets the digits 5-9.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  results/outliers/RECIPE/CLASSES-digits-seedN.json   a record a network, as it ends
        models/outliers/RECIPE/CLASSES-digits-seedN.keras   the networks: to judge them anew, here, delete the records
        models/outliers/best/CLASSES-digits-seed0-accepted.npz   what passed the first seed's detector
        figures/outliers_reliability.png                    the share of digits promised and turned away
        figures/outliers_accepted.png                       the outliers that got through
Repeating the command continues with what is missing.
"""

# %% Settings
from hypersphere import outlier_tables, outlier_trials, plots, recipes, runs, sweeps

import matplotlib.pyplot as plt
import numpy as np

parser = runs.Parser(__doc__)
parser.add_argument("--recipes", nargs="+", choices=["all", *recipes.RECIPES], default=["best"], help="%(default)s")
parser.add_argument("--seeds", type=runs.positive_int, metavar="N", help="a recipe, 5; with --smoke 1")
parser.add_argument("--epochs", type=runs.positive_int, help="passes over the training images; default: the recipe's")
sweeps.add_flags(parser)
args = parser.parse()

# %% Trials: every recipe with the same seeds
names = list(dict.fromkeys(recipes.RECIPES if "all" in args.recipes else args.recipes))
planned = [
    outlier_trials.Trial(
        recipe_name=name,
        classes=classes,
        seed=seed,
        epochs=args.epochs or (2 if args.smoke else recipes.RECIPES[name].epochs),
        precision=args.precision,
        smoke=args.smoke,
    )
    for name in names
    for seed in range(args.seeds or (1 if args.smoke else 5))
    for classes in [10, 5]
]

# %% Training and judging
sweeps.fetch_cifar10(args)
sweeps.run(outlier_trials.run, planned, args, outlier_tables.in_words)

# %% Results
records = [trial.read_record(args.out) for trial in planned]
best = outlier_tables.of_recipe(records, "best")
if best:
    print(outlier_tables.board(best), outlier_tables.board(best, easy=True), sep="\n\n")
    print(outlier_tables.judged_normal(best), outlier_tables.calibration(best), sep="\n\n")
if len(names) > 1:
    print(f"\n{outlier_tables.recipe_table(records)}")

# %% Figures, of the best recipe
whole = outlier_tables.of_recipe(records, "best", 10)
if whole:
    shares = {f"seed {r['flags']['seed']}": r["metrics"]["calibration"]["turned_away"] for r in whole}
    figure, ax = plt.subplots(figsize=(6, 5), layout="constrained")
    plots.reliability(ax, outlier_tables.LEVELS, shares, "Promised and measured on the test images")
    plots.save(figure, args.out / "figures" / "outliers_reliability.png")

rows = {}
for trial in planned:
    if trial.is_shown:
        with np.load(args.out / "models" / f"{trial.name}-accepted.npz") as arrays:
            rows |= {name: [] for name in arrays["sets"]}
            for number, caption, image in zip(arrays["set"], arrays["caption"], arrays["image"], strict=True):
                rows[arrays["sets"][number]].append((image, caption))
if rows:
    title = "Outliers that pass where 1 % of the digits are turned away, and the digit that they pass for (seed 0)"
    plots.save(plots.rows_of_images(rows, title), args.out / "figures" / "outliers_accepted.png")

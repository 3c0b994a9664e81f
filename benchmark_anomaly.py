"""Compare six heads for anomaly detection: can a class be told from one that the network never saw?

    python benchmark_anomaly.py                  # the article's two pairs, six heads, ten draws
    python benchmark_anomaly.py --seeds 3
    python benchmark_anomaly.py --dataset mnist --normal 4 --anomaly 9 --seeds 3
    python benchmark_anomaly.py --dataset cifar10 --backbone mobilenetv2 --weights imagenet
    python benchmark_anomaly.py --legacy         # with the faults of the published code, as a control
    python benchmark_anomaly.py --smoke          # a try on small draws, a minute

Reads   data/fashion-mnist, data/mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  results/anomaly/PAIR/BACKBONE/HEAD-seedN.json   a record a trial, as it ends
        models/anomaly/PAIR/BACKBONE/HEAD-seed0.keras   the network of each head's first trial
        figures/anomaly_PAIR_BACKBONE.png               the AUROCs, the article's beside ours
        (--legacy: BACKBONE-legacy instead of BACKBONE)
Repeating the command continues with what is missing.
"""

# %% Settings
from hypersphere import backbones, comparison, data, pairs, plots, runs, sweeps, trials

import matplotlib.pyplot as plt

parser = runs.Parser(__doc__)
parser.add_argument("--dataset", choices=list(data.CLASS_NAMES), help="default: the article's two pairs")
parser.add_argument("--normal", metavar="CLASS", help="the normal class, name or number; default: the article's")
parser.add_argument("--anomaly", metavar="CLASS", help="the class that is never seen in training")
parser.add_argument("--heads", nargs="+", choices=list(trials.HEADS), default=list(trials.HEADS), help="default: all")
parser.add_argument("--seeds", type=runs.positive_int, metavar="N", help="draws a head, 10; with --smoke 1")
parser.add_argument("--backbone", choices=backbones.BACKBONES, default="cnn", help="%(default)s")
parser.add_argument("--weights", help="of mobilenetv2: imagenet (default), none or a file")
parser.add_argument("--epochs", type=runs.positive_int, help="passes over the training images; default: the recipe's")
parser.add_argument("--legacy", action="store_true", help="a control: labels and norms as in the published code")
sweeps.add_flags(parser)
args = parser.parse()
args.heads = list(dict.fromkeys(args.heads))

# %% Data and trials: every head learns from the same draws
chosen, missing = pairs.choose(args.dataset, args.normal, args.anomaly, args.data)
weights = backbones.choose_weights(args.backbone, args.weights)
n_seeds = args.seeds or (1 if args.smoke else 10)
planned = [
    trials.Trial(
        dataset=pair.dataset,
        normal=pair.normal,
        anomaly=pair.anomaly,
        head=head,
        seed=seed,
        backbone=args.backbone,
        weights=weights,
        epochs=args.epochs or (2 if args.smoke else backbones.recipe(args.backbone, pair.dataset).epochs),
        precision=args.precision,
        legacy=args.legacy,
        smoke=args.smoke,
    )
    for pair in chosen
    for seed in range(n_seeds)
    for head in args.heads
]
if missing:
    print(missing)

# %% Training and scoring
sweeps.run(
    trials.run,
    planned,
    args,
    lambda metrics: "AUROC " + ", ".join(f"{scorer} {auroc:.3f}" for scorer, auroc in metrics["auroc"].items()),
)

# %% Results
for folder in dict.fromkeys(trial.folder for trial in planned):
    records = [trial.read_record(args.out) for trial in planned if trial.folder == folder]
    print(f"\n{comparison.title(records)}\n\n{comparison.auroc_table(records)}")
    if len(args.heads) > 1 and n_seeds > 1:
        for scorer, scorer_title in comparison.SCORERS.items():
            print(f"\n{scorer_title}\n\n{comparison.difference_table(records, scorer)}")
    figure, ax = plt.subplots(figsize=(11, 4.5), layout="constrained")
    series = dict(zip([*comparison.SCORERS.values(), "article"], [*plots.DIGIT_COLORS[:3], "0.5"], strict=True))
    plots.auroc_boxes(ax, comparison.boxes(records), series, comparison.title(records))
    plots.save(figure, args.out / "figures" / f"{folder.replace('/', '_')}.png")

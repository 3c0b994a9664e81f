"""Article 1 with several seeds: the accuracies, the maps' separation and LOF's tables, with their spread.

    python benchmark_seeds.py                    # five seeds
    python benchmark_seeds.py --data FOLDER      # the folder that holds cifar-10-batches-bin/
    python benchmark_seeds.py --smoke            # a try on small slices, a minute

Each seed runs train_cnn_baseline.py, train_l2softmax.py, visualize_tsne.py and anomaly_lof.py.

Reads   data/mnist, data/fashion-mnist, cifar-10-batches-bin (downloaded once if absent)
Writes  results/seeds/seedN/{cnn,l2softmax,tsne,lof}.json
Repeating the command continues with the seeds that are missing.
"""

# %% Settings
from hypersphere import runs, seeds, sweeps, tables

parser = runs.Parser(__doc__)
parser.add_argument("--seeds", type=runs.positive_int, metavar="N", default=5, help="%(default)s")
sweeps.add_flags(parser)
args = parser.parse()

# %% Trials
planned = [seeds.Trial(seed, args.precision, args.smoke) for seed in range(args.seeds)]
sweeps.fetch_cifar10(args)
sweeps.run(seeds.run, planned, args, seeds.in_words)

# %% Results
print("\n\n".join(tables.all_tables(tables.load_seeds(args.out / "results" / "seeds")).values()))

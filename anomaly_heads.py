"""Article 2 in one draw: three heads learn nine classes; which makes a class that none has seen stand apart?

    python anomaly_heads.py                     # sneakers against ankle boots, three minutes on two cores
    python anomaly_heads.py --pair deer --data FOLDER        # the folder that holds cifar-10-batches-bin/
    python anomaly_heads.py --heads arcface subcluster --draw 3
    python anomaly_heads.py --backbone mobilenetv2 --use upper-blocks --width 1.0 --size 128 --weights FILE
    python anomaly_heads.py --smoke             # a try on small draws, a minute

Reads   data/fashion-mnist, or cifar-10-batches-bin (downloaded once if absent)
Writes  figures/heads_samples.png      what the networks learn, and what they are judged on
        figures/heads_scores.png       novelty scores of new normal images and of anomalies, by each head
        figures/heads_maps.png         t-SNE maps of both and of the reference classes, by each head
        results/anomaly_heads.json     AUROC of each head with each scorer
"""

# %% [markdown]
# Can a classifier be used to find what belongs to none of its classes? The article's recipe: 1,000 *normal* images, say
# sneakers, and as many of eight *reference* classes train a classifier of nine. New sneakers should then lie near the
# old ones, and ankle boots, an *anomaly* that it has never seen, far from them. The article compares three heads, and
# says that AdaCos, which has nothing to tune, is as good as ArcFace: median AUROC 0.940 for both.

# %% Settings
import time

from common import cli

cli.start()  # before Keras is imported

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from common import plots, records
from experiments import article2
from hypersphere import datasets, scores, tsne

parser = cli.Parser(__doc__)
parser.add_argument("--pair", choices=list(article2.PAIRS), default="sneaker", help="%(default)s")
heads = list(article2.ARTICLE_SCORERS)
parser.add_argument("--heads", nargs="+", choices=list(article2.HEADS), default=heads, help="the article's three")
parser.add_argument("--draw", type=cli.seed_number, default=0, help="of images, its seed, %(default)s")
article2.add_backbone_flags(parser)
parser.set_defaults(references="eight", split="train", faults=None, draws=1, grid=False)
args = parser.parse()

started = time.perf_counter()
keras.utils.set_random_seed(args.draw)
args.dataset, args.normal, args.anomaly = article2.PAIRS[args.pair]
args.first = args.draw
settings, *_ = article2.plan(args).values()
arguments = {head: article2.HEADS[head][1] for head in args.heads}
classes = [name.lower() for name in datasets.CLASS_NAMES[args.dataset]]
titles = {"normal": f"{classes[args.normal]} (normal, new images)", "anomaly": f"{classes[args.anomaly]} (anomaly)"}

# %% Data: 1,000 images of each of nine classes to learn; 1,000 new normal ones and 1,000 anomalies
images, labels = article2.draw(settings, args.data)  # {set: (n, h, w, c) in [0, 1]}, {set: (n,)}
rows = {name: images[key][:12] for name, key in [("normal", "known"), ("references", "train"), ("anomaly", "anomaly")]}
rows["references"] = images["train"][:: len(images["train"]) // 9][:8]
rows = {name: [(image, "") for image in shown] for name, shown in rows.items()}
figure = plots.rows_of_images(rows, article2.classes_of(settings))
plots.save(figure, args.out / "figures" / "heads_samples.png", args.changed)

# %% [markdown]
# Each class $j$ has a weight vector, at an angle $\theta_j$ to an embedding. The L2-softmax scales the embedding to the
# norm $\alpha$ (here 5). ArcFace adds a margin $m$ to the right class's angle, so that the embedding has to come closer
# to its weights, and scales all cosines: $s \cos(\theta_y + m)$ against $s \cos\theta_j$ (here $s = 30$, $m = 0.05$).
# AdaCos has no margin and computes its scale from the number of classes $C$: $s = \sqrt{2} \ln(C - 1)$, here 2.94.

# %% Training: one network a head
inputs, _ = article2.frozen_part(settings, images)  # the images and their mirror images, or what frozen layers give
x, y = tf.constant(np.concatenate(inputs["train"])), np.tile(labels["train"], len(inputs["train"]))
seen = {}
with cli.progress(len(arguments), "head") as line:
    for head in arguments:
        network, _ = article2.learn(settings, x, y, head, arguments[head])
        seen[head] = {name: article2.look(network, inputs[name]) for name in ["val", "known", "normal", "anomaly"]}
        line.update()

# %% [markdown]
# An image's novelty score is minus its largest cosine to a normal training image, so the larger, the larger the angle
# to the nearest of them; the article uses it for ArcFace and AdaCos, and LOF with five neighbours for the L2-softmax.
# To compare heads, look at the same score of each. The AUROC is the probability that an anomaly scores higher than a
# new normal image: the less the two histograms overlap, the larger it is.

# %% Scores
metrics = {head: article2.judge(found, labels) for head, found in seen.items()}
figure, axes = plt.subplots(1, len(seen), figsize=(5 * len(seen), 3.6), squeeze=False, layout="constrained")
for ax, (head, found) in zip(axes.flat, seen.items(), strict=True):
    novelty = {name: scores.cosine_score(found["known"][0], found[name][0]) for name in titles}
    angles = {name: np.degrees(np.arccos(-values.clip(-1, 1))) for name, values in novelty.items()}
    bins = np.linspace(0, np.quantile(angles["anomaly"], 0.99), 41)
    for name, title in titles.items():
        ax.hist(angles[name].clip(max=bins[-1]), bins, histtype="stepfilled", alpha=0.6, label=title)
    ax.set(title=f"{article2.NAMES[head]}: AUROC {metrics[head]['auroc']['cosine']:.3f}", ylabel="images")
    ax.set(xlabel="angle to the nearest normal training image, degrees")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plots.save(figure, args.out / "figures" / "heads_scores.png", args.changed)
for head, found in metrics.items():
    words = [f"{article2.SCORERS[scorer]} {value:.3f}" for scorer, value in found["auroc"].items()]
    print(f"{article2.NAMES[head]}: AUROC by {', by '.join(words)}")
    if theirs := article2.ARTICLE_AUROC.get((args.pair, head)):
        words = f"by {article2.SCORERS[article2.ARTICLE_SCORERS[head]]} {np.mean(theirs):.3f}"
        print(f"    the article, with a fine-tuned MobileNetV2: {words} (mean of ten draws)")

# %% [markdown]
# The maps show the same in the plane: where anomalies lie among the normal images, no score can tell them apart. The
# reference classes' validation images, in grey, show what else the network knows.

# %% Maps
figure, axes = plt.subplots(1, len(seen), figsize=(5 * len(seen), 4.6), squeeze=False, layout="constrained")
for ax, (head, found) in zip(axes.flat, seen.items(), strict=True):
    is_reference = labels["val"] != labels["known"][0]
    parts = {"the eight reference classes": found["val"][0][is_reference]}
    parts |= {title: found[name][0] for name, title in titles.items()}
    points, _ = tsne.tsne_map(np.concatenate(list(parts.values())), perplexity=30, seed=0)
    ends = np.cumsum([len(part) for part in parts.values()])
    colors = ["0.7", *plots.DIGIT_COLORS]
    for name, part, color in zip(parts, np.split(points, ends[:-1]), colors, strict=False):
        ax.scatter(*part.T, s=4, color=color, label=name)
    ax.set(title=f"{article2.NAMES[head]}: AUROC {metrics[head]['auroc']['cosine']:.3f}", xticks=[], yticks=[])
    ax.set(xlabel="t-SNE dimension 1", ylabel="t-SNE dimension 2")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, markerscale=3)
plots.save(figure, args.out / "figures" / "heads_maps.png", args.changed)

# %% Save
settings = {name: value for name, value in settings.items() if name not in ("head", "head_arguments")}
record = records.new_record("anomaly_heads", settings | {"heads": arguments}, metrics, started)
records.write_record(args.out / "results" / "anomaly_heads.json", record)

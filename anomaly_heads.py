"""Article 2 in one draw: three heads learn nine classes; which makes a class that none has seen stand apart?

    python anomaly_heads.py                     # sneakers against ankle boots, three minutes on two cores
    python anomaly_heads.py --pair deer --data FOLDER        # the folder that holds cifar-10-batches-bin/
    python anomaly_heads.py --heads arcface subcluster --draw 3
    python anomaly_heads.py --backbone mobilenetv2 --use upper-blocks --width 1.0 --size 128 --weights FILE
    python anomaly_heads.py --smoke             # a try on small draws, a minute

Reads   data/fashion-mnist, or cifar-10-batches-bin (downloaded once if absent)
Writes  figures/heads_samples.png      what the networks learn, and what they are judged on
        figures/heads_angles.png       what each head makes of the angle to the right class
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
from scipy.special import softmax

from common import plots, records
from experiments import article2
from hypersphere import datasets, scores, tsne

parser = cli.Parser(__doc__)
parser.add_argument("--pair", choices=list(article2.PAIRS), default="sneaker", help="%(default)s")
heads = list(article2.ARTICLE_SCORERS)
parser.add_argument("--heads", nargs="+", choices=list(article2.HEADS), default=heads, help="the article's three")
parser.add_argument("--draw", type=cli.seed_number, default=0, help="of images, its seed, %(default)s")
article2.add_backbone_flags(parser, ["cnn", "mobilenetv2"], ["fine-tuned", "upper-blocks"])
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
shown = {"normal": images["known"][:12], "references": images["train"][:: len(images["train"]) // 9][:8]}
shown |= {"anomaly": images["anomaly"][:12]}
rows = {name: [(image, "") for image in x] for name, x in shown.items()}
figure = plots.rows_of_images(rows, article2.classes_of(settings))
plots.save(figure, args.out / "figures" / "heads_samples.png", args.changed)

# %% [markdown]
# Each class $j$ has a weight vector, at an angle $\theta_j$ to an embedding. The L2-softmax scales the embedding to the
# norm $\alpha$ (here 5). ArcFace adds a margin $m$ to the right class's angle, so that the embedding has to come closer
# to its weights, and scales all cosines: $s \cos(\theta_y + m)$ against $s \cos\theta_j$ (here $s = 30$, $m = 0.05$).
# AdaCos has no margin and computes its scale from the number of classes $C$: $s = \sqrt{2} \ln(C - 1)$, here 2.94. The
# next figure shows what this means for an image at right angles to the eight wrong classes. With ArcFace its class is
# all but certain, and the loss all but zero, below 70 degrees: there is no reason to come closer. With AdaCos even an
# angle of 0 leaves a loss, so that training goes on pulling. So does the L2-softmax while its weights, which it may
# make longer, have the norm 1. The margin of 0.05, 3 degrees, changes little.

# %% What a head makes of an angle
angle, kernel = np.radians(np.arange(181)), np.zeros((3, 9))
points = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)  # embeddings at all angles to the right class
kernel[0, 0] = kernel[2, 1:] = 1  # the weights of the right class, and of eight at right angles to all points
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name in article2.ARTICLE_SCORERS:
    kind, options, title = article2.HEADS[name]
    head = kind(9, **options)
    head.build((None, 3))
    head.kernel.assign(kernel)
    logits = head.training_logits(head(points), np.arange(9) == np.zeros((181, 1)))  # with the margin
    words = ", ".join(f"{option} {value:.3g}" for option, value in (options or {"scale": head.scale}).items())
    ax.plot(np.degrees(angle), softmax(logits, axis=1)[:, 0], label=f"{title}: {words}")
ax.set(xlabel="angle to the right class, degrees", ylabel="probability of the right class, in training")
ax.set_xticks(range(0, 181, 30))
ax.legend()
plots.save(figure, args.out / "figures" / "heads_angles.png")

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
# An image's novelty score is minus its largest cosine to a normal training image: it rises with the angle to the
# nearest of them. The article uses it for ArcFace and AdaCos, and LOF with five neighbours for the L2-softmax.
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
# The maps show the same images in the plane, with the reference classes' validation images in grey. A map may suggest
# why a score does well or badly; it decides nothing, as the scores look at all dimensions.

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

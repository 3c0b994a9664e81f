"""Article 2's paired differences between heads, as a table for a file and as figures; its box plots."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from common import plots
from experiments.old_tables.article2 import HEADS, PAIRS, SCORERS, from_scratch, pairs
from experiments.old_tables.common import below, caption, half_width, markdown, spread

# Planned before the runs: (head, scorer) minus (head, scorer).
PLANNED = [
    (("arcface", "cosine"), ("adacos", "cosine")),
    (("l2softmax", "cosine"), ("arcface", "cosine")),
    (("arcface", "cosine"), ("arcface", "lof20")),
]
QUESTION = [("arcface", "adacos"), ("l2softmax", "arcface")]  # what the article asks


def holm(p_values):
    """Holm's correction of p-values for their number: sorted, times m, m - 1, ..., never falling."""
    order = np.argsort(p_values)
    corrected = np.empty(len(order))
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return corrected


def paired_differences(pair):
    """Every two heads compared seed by seed, a row each: a data frame with the columns of the CSV file.

    The interval is Student's; Holm's correction is for the differences of one pair and scorer.
    """
    frames = []
    for scorer in pair.frame.scorer.unique():
        rows, by_seed = [], pair.by_seed(scorer)
        for first, second in itertools.combinations(pair.heads, 2):
            difference = (by_seed[first] - by_seed[second]).dropna().to_numpy()
            if len(difference) > 1:
                rows.append(one_difference(difference) | {"first_head": first, "second_head": second})
        if rows:
            frame = pd.DataFrame(rows).assign(pair=pair.name, scorer=scorer)
            frames.append(frame.assign(holm_p=holm(frame.wilcoxon_p)))
    columns = ["pair", "scorer", "first_head", "second_head", "mean_difference", "half_width_95"]
    columns += ["wilcoxon_p", "holm_p", "seeds_higher", "n"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)


def one_difference(difference):
    """The statistics of one paired difference, (n,)."""
    return {
        "mean_difference": difference.mean(),
        "half_width_95": half_width(difference),
        "wilcoxon_p": stats.wilcoxon(difference).pvalue if np.any(difference) else 1.0,
        "seeds_higher": int(np.sum(difference > 0)),
        "n": len(difference),
    }


def contrasts_table(found, group, measure, repeats):
    """The Markdown of contrasts, [(title, name of the group, `one_difference`), ...], Holm's correction over all."""
    rows = []
    corrected = holm([of["wilcoxon_p"] for *_, of in found])
    for (title, name, of), p_value in zip(found, corrected, strict=True):
        mean, half = of["mean_difference"], of["half_width_95"]
        interval = f"{mean - half:+.3f} to {mean + half:+.3f}"
        rows.append([title, name, f"{mean:+.3f}", interval, f"{of['seeds_higher']} of {of['n']}", f"{p_value:.3f}"])
    header = ["planned contrast", group, f"difference of {measure}", "95 % interval", f"{repeats} higher", "p, Holm"]
    return markdown(header, rows)


def contrasts(records):
    """The planned contrasts of the article's pairs, {"contrasts": Markdown}, as far as their heads were run."""
    found, of_pairs = [], [pair for pair in from_scratch(records) if pair.folder in PAIRS]
    for planned in PLANNED:
        for pair in of_pairs:
            if all(head in pair.heads for head, _ in planned):
                first, second = (pair.by_seed(scorer)[head] for head, scorer in planned)
                difference = (first - second).dropna().to_numpy()
                if len(difference) > 1:
                    title = " minus ".join(f"{HEADS[head]}, {SCORERS[scorer]}" for head, scorer in planned)
                    found.append((title, pair.name, one_difference(difference)))
    if not found:
        return {}
    table = contrasts_table(found, "pair", "AUROC", "draws")
    trials = [record for pair in of_pairs for record in pair.trials]
    return {"contrasts": below(table, caption(trials, max(p.n for p in of_pairs), "draw", cifar10=True))}


def precision(in_float32, in_bfloat16):
    """The same trials in both number formats, {"precision": Markdown}: ArcFace and the others by the largest cosine."""
    rows, trials = [], []
    others = pairs(in_bfloat16)
    for folder, pair in pairs(in_float32).items():
        for head in others[folder].heads if folder in others else []:
            both = [of.by_seed("cosine")[head] for of in (pair, others[folder])]
            both = pd.concat(both, axis=1, join="inner").dropna().to_numpy().T
            if both.shape[1] > 1:
                of = one_difference(both[1] - both[0])
                difference = f"{of['mean_difference']:+.3f} ± {of['half_width_95']:.3f}"
                rows.append([pair.name, HEADS[head], *(spread(values, 3) for values in both), difference])
                trials += [r for of in (pair, others[folder]) for r in of.records if r["settings"]["head"] == head]
    if not rows:
        return {}
    header = ["pair", "AUROC, largest cosine", "float32", "bfloat16", "difference, 95 % interval"]
    return {"precision": below(markdown(header, rows), caption(trials, both.shape[1], "draw", cifar10=True))}


def differences_csv(records):
    """The paired differences of all pairs as the text of a CSV file; "" if there are none."""
    frames = [frame for frame in map(paired_differences, from_scratch(records)) if len(frame)]
    return pd.concat(frames).to_csv(index=False, float_format="%.6f") if frames else ""


def figures(records):
    """The figures that the records allow, {file name: figure}: boxes and paired differences of each pair."""
    made, of_classes = {}, {}
    for folder, pair in pairs(records).items():
        if pair.article and not folder.endswith(("-test", "-legacy")):
            of_classes.setdefault(pair.classes, []).append(pair)
    if of_classes:
        made["article2_ways.png"] = ways_figure(of_classes)
    for pair in from_scratch(records):
        made[f"article2_{pair.name}.png"] = boxes_figure(pair)
        differences = paired_differences(pair)
        if len(differences):
            made[f"article2_differences_{pair.name}.png"] = differences_figure(differences, pair.title)
    return made


def boxes_figure(pair):
    """AUROC of every head with every scorer, and the article's."""
    scorers = {scorer: SCORERS[scorer] for scorer in pair.frame.scorer.unique()}
    values = {HEADS[head]: {title: pair.auroc(head, s) for s, title in scorers.items()} for head in pair.heads}
    for head, theirs in pair.article.items():
        values.setdefault(HEADS[head], {})["article"] = theirs
    figure, ax = plt.subplots(figsize=(11, 4.5), layout="constrained")
    series = dict(zip(scorers.values(), plots.DIGIT_COLORS, strict=False)) | {"article": "0.5"}
    plots.auroc_boxes(ax, values, series, pair.title)
    return figure


WAYS_HEADS = ["block_6_expand_relu", "block_13_expand_relu", "l2softmax", "arcface", "adacos", "together"]
WAYS_SCORERS = ["cosine", "lof20", "probability"]
ARTICLE_WAY = "article: MobileNetV2, width 0.5, fine-tuned"


def ways_points(of_pairs):
    """What the figure of all ways shows of one pair of classes, {scorer: [(way, head, AUROCs), ...]}."""
    points = {scorer: [] for scorer in ["article", *WAYS_SCORERS]}
    points["article"] = [(ARTICLE_WAY, HEADS[head], np.array(of_head)) for head, of_head in of_pairs[0].article.items()]
    for pair in of_pairs:
        for head in [head for head in WAYS_HEADS if head in pair.heads]:
            for scorer in WAYS_SCORERS:
                if len(values := pair.auroc(head, scorer)):
                    points[scorer].append((pair.variant, HEADS[head], values))
    return points


def ways_figure(of_classes):
    """Every way to use a network, a row a head, a panel a pair of classes; of_classes : {classes: [Pair, ...]}."""
    panels = {classes: ways_points(of_pairs) for classes, of_pairs in of_classes.items()}
    shown = [(way, head) for points in panels.values() for of_scorer in points.values() for way, head, _ in of_scorer]
    rows = [
        row for way, _ in dict(shown).items() for row in [(way, ""), *dict.fromkeys(r for r in shown if r[0] == way)]
    ]
    size = (4.5 + 4 * len(panels), 1.4 + 0.27 * len(rows))
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False, layout="constrained")
    styles = dict(
        zip(["article", *WAYS_SCORERS], [("0.4", "x"), *zip(plots.DIGIT_COLORS, "osD", strict=False)], strict=True)
    )
    for ax, (classes, points) in zip(axes.flat, panels.items(), strict=True):
        for scorer, of_scorer in points.items():
            color, marker = styles[scorer]
            at = [rows.index((way, head)) for way, head, _ in of_scorer]
            mean, sd = [[values.mean() for *_, values in of_scorer], [values.std(ddof=1) for *_, values in of_scorer]]
            label = SCORERS.get(scorer, "the article, its own scorer")
            ax.errorbar(mean, at, xerr=sd, fmt=marker, color=color, capsize=2, linewidth=1, markersize=5, label=label)
        ax.set_title(classes.replace(" (normal)", "").replace(" (anomaly)", ""), fontsize=11)
        ax.grid(alpha=0.3)
    axes[0, 0].set_yticks(range(len(rows)), [head or way for way, head in rows])
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
    for label, (_, head) in zip(axes[0, 0].get_yticklabels(), rows, strict=True):
        label.set_fontweight("normal" if head else "bold")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=len(styles), fontsize=9)
    axes[0, 0].set_xlabel("AUROC, mean ± standard deviation over draws")
    return figure


def differences_figure(differences, title):
    """A panel a scorer, with the same differences in rows."""
    scorers = differences.scorer.unique()
    rows = differences[["first_head", "second_head"]].drop_duplicates()
    size = (2.5 + 3.3 * len(scorers), 1.6 + 0.29 * len(rows))
    figure, axes = plt.subplots(
        1, len(scorers), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, scorer in zip(axes.flat, scorers, strict=True):
        of_scorer = differences[differences.scorer == scorer].set_index(["first_head", "second_head"])
        draw_differences(ax, of_scorer.reindex(pd.MultiIndex.from_frame(rows)), SCORERS[scorer])
    compared = list(rows.itertuples(index=False, name=None))
    axes[0, 0].set_yticks(range(len(rows)), [f"{HEADS[first]} − {HEADS[second]}" for first, second in compared])
    axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
    for label, both in zip(axes[0, 0].get_yticklabels(), compared, strict=True):
        label.set_fontweight("bold" if both in QUESTION else "normal")
    figure.suptitle(title)
    figure.supxlabel("difference of AUROC, mean and 95 % interval (filled: the interval excludes 0)", fontsize=10)
    return figure


def draw_differences(ax, differences, title):
    """Points with their intervals, a row of the data frame `differences` below the other; returns ax."""
    mean, half = differences["mean_difference"].to_numpy(), differences["half_width_95"].to_numpy()
    places, color = np.arange(len(mean)), plots.DIGIT_COLORS[0]
    ax.axvline(0, color="black", linewidth=1)
    ax.errorbar(mean, places, xerr=half, fmt="none", ecolor=color, capsize=3)
    for excludes_zero, face in [(True, color), (False, "white")]:
        chosen = (np.abs(mean) > half) == excludes_zero
        ax.plot(mean[chosen], places[chosen], "o", color=color, markerfacecolor=face, markersize=6, zorder=3)
    ax.xaxis.get_major_locator().set_params(nbins=5)
    ax.set_title(title, fontsize=11)
    ax.grid(alpha=0.3)
    return ax

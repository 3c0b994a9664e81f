"""Figures."""

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects

from common import published
from common.cli import in_notebook
from hypersphere.files import replacing

# Chosen to be told apart with colour-blindness too; of the last two one is like another grey, one pale on white.
DIGIT_COLORS = [*plt.style.library["petroff10"]["axes.prop_cycle"].by_key()["color"][:8], "#30343f", "#45b0b8"]
SPACES = {"input": "the pixels", "cnn": "the plain CNN"}  # where LOF looks
SPACES |= {"cnn_directions": "the plain CNN, normalised", "l2softmax": "the L2-constrained CNN"}
LINES = {"input": (DIGIT_COLORS[0], "--"), "cnn": (DIGIT_COLORS[1], "-.")}  # colour and style in figures
LINES |= {"cnn_directions": (DIGIT_COLORS[4], ":"), "l2softmax": (DIGIT_COLORS[2], "-")}
CURVE = np.geomspace(0.001, 0.5, 25)  # shares of the digits rejected, at which records have ROC curves
WHITE_OUTLINE = [patheffects.withStroke(linewidth=3, foreground="white")]


def save(figure, path, *changed):
    """Write a figure as PNG, whole or not at all, show it in a notebook, and close it.

    changed : the flags of each run behind it that are not at their defaults, as words, which its title then names.
    """
    if words := " ".join(dict.fromkeys(filter(None, changed))):
        figure.suptitle(" ".join(filter(None, [figure.get_suptitle(), f"({words})"])))
    with replacing(path) as beside:
        figure.savefig(beside, dpi=150)
    if in_notebook():
        plt.show()
    plt.close(figure)
    print(f"wrote {path}")


def learning_curves(histories, article=()):
    """Accuracy and loss over the epochs, a colour a network; histories : {name: one dict an epoch}.

    article : the article's accuracy of each network, drawn as a line.
    """
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for ax, metric in zip(axes, ["accuracy", "loss"], strict=True):
        for (name, history), color in zip(histories.items(), DIGIT_COLORS[1:], strict=False):
            epochs = np.arange(1, len(history) + 1)
            for key, label, width in [(metric, "training", 1), (f"val_{metric}", "validation", 2.6)]:
                style = {"color": color, "linewidth": width, "markersize": 2 + width}
                ax.plot(epochs, [row[key] for row in history], "o-", label=f"{name}, {label}", **style)
        ax.set(xlabel="epoch", ylabel=metric)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
    # The first training epoch, an average over a network that learns, would squeeze all the others together.
    lowest = min((row["val_accuracy"] for history in histories.values() for row in history), default=0)
    axes[0].set(ylim=(max(2 * lowest - 1, 0), 1))
    for (name, accuracy), color in zip(article, DIGIT_COLORS[1:], strict=False):
        axes[0].axhline(accuracy, color=color, linestyle=":", label=f"{name}, the article's test accuracy")
    axes[0].yaxis.set_major_formatter(lambda accuracy, _: f"{100 * accuracy:g}%")
    axes[0].legend(loc="lower right")
    axes[1].set(ylabel="loss with its L2 penalty", yscale="log")
    for set_formatter in [axes[1].yaxis.set_major_formatter, axes[1].yaxis.set_minor_formatter]:
        set_formatter(lambda loss, _: f"{loss:g}" if f"{loss:e}"[0] in "125" else "")
    return figure


def draw_images(axes, images):
    """Grey images, (28, 28, 1), each under its caption, in the first of the axes; images : [(image, caption), ...]."""
    for ax in axes:
        ax.axis("off")
    for ax, (image, caption) in zip(axes, images, strict=False):
        ax.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(caption, fontsize=8, pad=2)


def rows_of_images(rows, title):
    """A row of images a name, each image under its caption; rows : {name: [(image, caption), ...]}."""
    columns = max(map(len, rows.values()), default=0) or 1
    size = (columns * 0.85 + 2.2, len(rows) * 1.1 + 0.6)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for row_axes, (name, images) in zip(axes, rows.items(), strict=True):
        place = {"transform": row_axes[0].transAxes, "va": "center"}
        row_axes[0].text(-0.15, 0.5, name.replace(": ", ":\n"), ha="right", **place)
        if not images:
            row_axes[0].text(0, 0.5, "none", **place)
        draw_images(row_axes, images)
    figure.suptitle(title)
    return figure


def misclassified(x, label, prediction, title):
    """The wrong answers, at most 120, each with both digits; x : (n, 28, 28, 1); label, prediction : (n,)."""
    wrong = np.flatnonzero(label != prediction)[:120]
    rows = max(1, math.ceil(len(wrong) / 12))
    figure, axes = plt.subplots(rows, 12, figsize=(10.8, rows * 1.22 + 0.6), squeeze=False, layout="constrained")
    draw_images(axes.ravel(), [(x[i], f"predicted {prediction[i]}\ntrue {label[i]}") for i in wrong])
    figure.suptitle(title if len(wrong) else f"{title}: none")
    return figure


def digit_map(ax, points, label, is_stray, title):
    """A 2-d map, (n, 2), a colour a digit, each digit named at the median of its points; stray points, (n,), on top."""
    size, colors = np.clip(30_000 / len(points), 3, 20), np.array(DIGIT_COLORS)[label]
    ax.scatter(*points.T, c=colors, s=size, alpha=0.6, linewidths=0)
    ax.scatter(*points[is_stray].T, c=colors[is_stray], s=14, edgecolors="black", linewidths=0.7)
    for digit in np.unique(label):
        center = np.median(points[label == digit], axis=0)
        ax.text(*center, str(digit), fontsize=15, weight="bold", ha="center", va="center", path_effects=WHITE_OUTLINE)
    ax.set(title=title, xlabel="t-SNE dimension 1", ylabel="t-SNE dimension 2", xticks=[], yticks=[])
    ax.set_aspect("equal", adjustable="datalim")


def score_histograms(ax, scores, thresholds, title):
    """Histograms of novelty scores on a logarithmic axis; scores, thresholds : {name: values}."""
    low = min(values.min() for values in scores.values())
    high = np.quantile(np.concatenate(list(scores.values())), 0.999)
    bins = np.geomspace(low, high, 80)
    for (name, values), color in zip(scores.items(), ["black", *DIGIT_COLORS[4:]], strict=False):
        weights = np.full(len(values), 100 / len(values))
        ax.hist(values.clip(low, high), bins, weights=weights, histtype="step", linewidth=1.6, color=color, label=name)
    for (name, value), style in zip(thresholds.items(), ["--", ":", "-."], strict=False):
        ax.axvline(value, color="black", linestyle=style, linewidth=1, label=name)
    ax.set(xscale="log", xlabel="LOF (higher = more anomalous)", ylabel="% of the images", title=title)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("{x:g}")


def roc_curves(accepted):
    """LOF's ROC curves, a panel a set, with the article's points, in the colours of their spaces.

    accepted : {set: {space: the shares of it accepted at `CURVE`}}, each an array or several, (seeds, n), drawn as
    their mean and range.
    """
    n = len(accepted)
    figure, axes = plt.subplots(1, n, figsize=(5.5 * n, 4.4), squeeze=False, layout="constrained")
    for ax, (name, by_space) in zip(axes.flat, accepted.items(), strict=True):
        for space, shares in by_space.items():
            runs, (color, style) = 100 - 100 * np.atleast_2d(shares), LINES[space]
            ax.plot(100 * CURVE, runs.mean(axis=0), style, linewidth=2, color=color, label=SPACES[space])
            if len(runs) > 1:
                ax.fill_between(100 * CURVE, runs.min(axis=0), runs.max(axis=0), color=color, alpha=0.2, linewidth=0)
            for (article_space, _), article in published.ACCEPTED.items():
                if article_space == space and name in article:
                    place = [100 * (1 - article[key]) for key in ["MNIST test", name]]
                    ax.plot(*place, "X", markersize=10, color=color, markeredgecolor="black")
        ax.plot([], [], "X", color="white", markersize=10, markeredgecolor="black", label="the article's rates")
        ax.set(xscale="log", xlim=(0.1, 50), ylim=(0, 102), title=name)
        ax.set(xlabel="MNIST test images rejected, %", ylabel="images of the other set rejected, %")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.grid(alpha=0.3)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, title="LOF on")
    return figure

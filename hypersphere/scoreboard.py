"""The scoreboard: detectors on features that are extracted once, judged on every outlier set.

A detector is a function of what is `Known` that returns a function of new features: a novelty
score, (n,), higher for what is stranger. Features are the dictionary that `features` gives.
"""

import time
from dataclasses import dataclass

from hypersphere import neighbors, networks, novelty
from hypersphere.detectors import side_by_side
from hypersphere.outlier_tables import ARTICLE, INPUT_SPACE

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.covariance import EmpiricalCovariance


@dataclass(frozen=True)
class Known:
    """Features and labels of the training images, (n,) from 0, and features of the validation images."""

    train: dict
    labels: np.ndarray
    calibration: dict


def features(network, x):
    """What `networks.extract` gives, and the images themselves as "pixels", (n, 784)."""
    return networks.extract(network, x) | {"pixels": x.reshape(len(x), -1)}


def pixel_statistics(known):
    """Squared Mahalanobis distance of two numbers, the mean and the standard deviation of the pixels."""

    def statistics(new):
        return np.column_stack([new["pixels"].mean(axis=1), new["pixels"].std(axis=1)])

    covariance = EmpiricalCovariance().fit(statistics(known.train))
    return lambda new: covariance.mahalanobis(statistics(new))


def softmax_probability(known):
    """Minus the log of the largest softmax probability. Source: https://arxiv.org/abs/1610.02136"""
    return lambda new: -log_softmax(new["logits"], axis=1).max(axis=1)


def largest_logit(known):
    """Minus the largest logit. Source: https://arxiv.org/abs/1911.11132"""
    return lambda new: -new["logits"].max(axis=1)


def energy(known):
    """Minus the log of the sum of the logits' exponentials. Source: https://arxiv.org/abs/2010.03759"""
    return lambda new: -logsumexp(new["logits"], axis=1)


def mahalanobis(known):
    """Squared Mahalanobis distance of the embedding to the nearest class mean, one covariance for all classes.

    Source: https://arxiv.org/abs/1807.03888
    """
    embedding = known.train["embedding"]
    means = np.stack([embedding[known.labels == label].mean(axis=0) for label in np.unique(known.labels)])
    covariance = EmpiricalCovariance(assume_centered=True).fit(embedding - means[known.labels])
    return lambda new: np.min([covariance.mahalanobis(new["embedding"] - mean) for mean in means], axis=0)


def nearest_neighbors(known):
    """Distance of the embedding's direction to the 50th nearest training one. Source: https://arxiv.org/abs/2204.06507"""
    distance = neighbors.KthDistance(50).fit(novelty.directions(known.train["embedding"]))
    return lambda new: distance.strangeness(novelty.directions(new["embedding"]))


def lof_on(layer):
    """The detector of article 1, LOF with 20 neighbours, on a layer or on the pixels."""

    def fit(known):
        lof = neighbors.LOF().fit(known.train[layer])
        return lambda new: lof.strangeness(new[layer])

    return fit


DETECTORS = {
    "pixels' mean and sd": pixel_statistics,
    "softmax probability": softmax_probability,
    "largest logit": largest_logit,
    "energy": energy,
    "Mahalanobis": mahalanobis,
    "nearest neighbours": nearest_neighbors,
    INPUT_SPACE: lof_on("pixels"),
    "LOF, first block": lof_on("block1"),
    ARTICLE: lof_on("embedding"),
}


def judge(fit, known, normal, outliers):
    """Fit a detector and score every set.

    normal : features of new normal images; outliers : {set name: features}.
    Returns `separation`, with the seconds of the fit and of scoring the normal images.
    """
    started = time.perf_counter()
    score = fit(known)
    fitted = time.perf_counter()
    normal_scores = score(normal)
    scored = time.perf_counter()
    verdict = separation(normal_scores, {name: score(of_set) for name, of_set in outliers.items()})
    return verdict | {"fit_seconds": fitted - started, "score_seconds": scored - fitted}


def judge_layers(detector, known, normal, outliers):
    """As `judge`, for a `LayeredLOF`; fits it.

    Returns the same, and the log p-values of the layers : (n, layers), of the normal images and by set.
    """
    started = time.perf_counter()
    detector.fit(side_by_side(known.train), X_calibration=side_by_side(known.calibration))
    fitted = time.perf_counter()
    normal_log_p = detector.layer_log_p_values(side_by_side(normal))
    scored = time.perf_counter()
    log_p = {name: detector.layer_log_p_values(side_by_side(of_set)) for name, of_set in outliers.items()}
    scores = {name: -detector.evidence(of_set) for name, of_set in log_p.items()}
    verdict = separation(-detector.evidence(normal_log_p), scores)
    return verdict | {"fit_seconds": fitted - started, "score_seconds": scored - fitted}, normal_log_p, log_p


def separation(normal_scores, scores):
    """How well novelty scores tell sets, {name: (n,)}, from normal data, as a dictionary for JSON.

    AUROC, FPR at 95 % TPR and the share judged normal where 1 % of the normal data are turned away, each by set.
    """
    threshold = novelty.rejection_threshold(normal_scores, 0.01)
    return {
        "auroc": {name: novelty.auroc(normal_scores, of_set) for name, of_set in scores.items()},
        "fpr95": {name: novelty.fpr95(normal_scores, of_set) for name, of_set in scores.items()},
        "judged_normal": {name: novelty.share_normal(of_set, threshold) for name, of_set in scores.items()},
    }

"""The scoreboard's detectors beside ours, from the literature.

A detector is a function of what is `Known` that returns a function of new features, to novelty scores, (n,), higher for
what is more anomalous. Features are the dictionary that `features_of` gives.
"""

import functools
from collections import namedtuple

import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from hypersphere import features, scores

ARTICLE = "LOF, embedding (article)"
INPUT_SPACE = "LOF, input space"

# Features and labels, (n,) from 0, of the training images, and features of the validation images.
Known = namedtuple("Known", ["train", "labels", "calibration"])


def features_of(network, x):
    """What `features.extract` gives, and the images themselves as "pixels", (n, 784)."""
    return features.extract(network, x) | {"pixels": x.reshape(len(x), -1)}


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
    search = NearestNeighbors(n_neighbors=50, algorithm="brute").fit(scores.directions(known.train["embedding"]))
    return lambda new: search.kneighbors(scores.directions(new["embedding"]))[0][:, -1]


def lof_on(layer, known):
    """The article's detector, LOF with 20 neighbours, on a layer or on the pixels."""
    lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True).fit(known.train[layer])
    return lambda new: scores.novelty_score(lof, new[layer])


DETECTORS = {
    "pixels' mean and sd": pixel_statistics,
    "softmax probability": softmax_probability,
    "largest logit": largest_logit,
    "energy": energy,
    "Mahalanobis": mahalanobis,
    "nearest neighbours": nearest_neighbors,
    INPUT_SPACE: functools.partial(lof_on, "pixels"),
    "LOF, first block": functools.partial(lof_on, "block1"),
    ARTICLE: functools.partial(lof_on, "embedding"),
}

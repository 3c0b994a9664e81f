"""Novelty scores: their thresholds, how well they separate, and their calibration.

One sign everywhere: a novelty score is higher for what is more anomalous, label 1 is the anomaly.
scikit-learn's opposite sign is turned in `novelty_score` and `contamination_threshold` alone.
"""

import numpy as np
from sklearn.metrics import roc_auc_score

TAIL = 0.05  # the share of the calibration scores that an exponential tail is fitted to


def novelty_score(detector, x):
    """A scikit-learn detector's novelty score of rows, (m, d) to (m,), on none of which it was fitted."""
    return -detector.score_samples(x)


def directions(embedding):
    """The embeddings, (n, d), divided by their norms, whatever these are; in float32 or float64."""
    embedding = np.asarray(embedding)
    embedding = embedding.astype(np.result_type(embedding, np.float32))  # float16 squares would overflow
    _, exponents = np.frexp(np.abs(embedding).max(axis=1, keepdims=True))
    scaled = np.ldexp(embedding, -exponents)  # exact, and no square of these numbers over- or underflows
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def cosine_score(train_directions, x_directions):
    """Minus the largest cosine of each new image to a training image, (n, d) and (m, d) to (m,)."""
    return -(x_directions @ train_directions.T).max(axis=1)


def contamination_threshold(lof, contamination):
    """The score above which LOF with this `contamination`, a share of the *training* data, rejects a point.

    What share of new data lies above it depends on how well the embedding generalises. The fit does not depend on it.
    """
    return -np.percentile(lof.negative_outlier_factor_, 100 * contamination)


def auroc(normal_scores, anomaly_scores):
    """Probability that an anomaly has a higher score than normal data (ties count half)."""
    labels = np.repeat([0, 1], [len(normal_scores), len(anomaly_scores)])
    return float(roc_auc_score(labels, np.concatenate([normal_scores, anomaly_scores])))


def separation(normal_scores, scores):
    """How well novelty scores tell sets, {name: (n,)}, from normal data, (m,), as a dictionary for JSON.

    AUROC, FPR at 95% TPR and the share accepted where 1% of the normal data are rejected, each by set.
    """
    thresholds = {"fpr95": np.quantile(normal_scores, 0.95), "accepted": np.quantile(normal_scores, 0.99)}
    found = {"auroc": {name: auroc(normal_scores, values) for name, values in scores.items()}}
    return found | accepted_shares(scores, thresholds)


def accepted_shares(scores, thresholds):
    """The share of each set, {name: (n,)}, accepted at thresholds, {level: threshold}: {str(level): {name: share}}."""
    return {
        str(level): {name: float(np.mean(values <= threshold)) for name, values in scores.items()}
        for level, threshold in thresholds.items()
    }


def conformal_p_values(calibration_scores, scores):
    """p-values of new scores, (m,) and (n,) to (n,): the share of scores, the new one's with them, at least as high.

    If new data are drawn as the calibration data are, a p-value of at most q comes in a share of at most q of them.
    Source: Vovk, Gammerman, Shafer 2005, https://doi.org/10.1007/b106715
    """
    ordered = np.sort(calibration_scores)
    at_least_as_high = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + at_least_as_high) / (len(ordered) + 1)


def log_p_values(calibration_scores, scores):
    """Logarithms of p-values that go on falling above the highest calibration score: (m,) and (n,) to (n,).

    Below the 95th percentile they are interpolated between the calibration scores; above it, the excess has an
    exponential distribution, with the calibration scores' mean excess.
    """
    ordered = np.sort(calibration_scores)
    start = np.quantile(ordered, 1 - TAIL)
    # Where the highest calibration scores are equal, their mean excess is zero: no less than float32's rounding.
    least = np.finfo(np.float32).eps * abs(np.float64(start)) + np.finfo(np.float32).tiny
    mean_excess = max(np.mean(ordered[ordered >= start] - start), least)
    body = np.interp(scores, ordered, 1 - np.arange(1, len(ordered) + 1) / (len(ordered) + 1))
    with np.errstate(over="ignore"):
        tail = np.log(TAIL) - (scores - start) / mean_excess
    return finite(np.where(scores < start, np.log(np.maximum(body, TAIL)), tail))


def finite(values):
    """The values, no farther from 0 than a billionth of their type's largest number: their sums are finite, too."""
    largest = np.finfo(values.dtype).max / 1e9
    return np.clip(values, -largest, largest)


def log_truncated_product(log_p, log_truncations):
    """The logarithm of the product of p-values, each divided by its truncation and at most 1: (n, k), (k,) to (n,).

    Source: https://doi.org/10.1002/gepi.0042
    """
    return np.minimum(log_p - log_truncations, 0).sum(axis=1)

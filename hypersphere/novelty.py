"""Novelty detection: LOF on embeddings, its thresholds, and how well scores separate.

One sign everywhere: a novelty score is higher for what is more anomalous, label 1 is the anomaly.
scikit-learn's opposite sign is turned in `contamination_threshold` and in `neighbors.py` alone.
"""

import zipfile
import zlib
from pathlib import Path

from hypersphere.errors import InputError
from hypersphere.runs import replacing

import numpy as np
import skops.io
from sklearn.base import OutlierMixin
from sklearn.metrics import roc_auc_score, roc_curve


def directions(embedding):
    """The embeddings, (n, d), divided by their norms: only their directions are left."""
    norms = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.maximum(norms, np.finfo(np.float32).tiny)


def cosine_score(train_directions, x_directions):
    """Minus the largest cosine of each new image to a training image, (n, d) and (m, d) to (m,)."""
    return -(x_directions @ train_directions.T).max(axis=1)


def contamination_threshold(lof, contamination):
    """The score above which LOF with this `contamination` calls a point abnormal.

    Contamination is a share of the *training* data: what share of new data lies above the
    threshold depends on how well the embedding generalises. The fit does not depend on it.
    """
    return -np.percentile(lof.negative_outlier_factor_, 100 * contamination)


def rejection_threshold(normal_scores, share):
    """The score above which this share of the given normal data lies."""
    return np.quantile(normal_scores, 1 - share)


def share_normal(scores, threshold):
    """The share of the data that is judged normal."""
    return float(np.mean(scores <= threshold))


def auroc(normal_scores, anomaly_scores):
    """Probability that an anomaly has a higher score than normal data (ties count half)."""
    labels, scores = _labelled(normal_scores, anomaly_scores)
    return float(roc_auc_score(labels, scores))


def fpr95(normal_scores, anomaly_scores):
    """The share of anomalies judged normal at the threshold that keeps 95 % of the normal data."""
    return share_normal(anomaly_scores, rejection_threshold(normal_scores, 0.05))


def roc_points(normal_scores, anomaly_scores):
    """The ROC curve: share of normal data turned away, share of anomalies turned away."""
    false_positive_rate, true_positive_rate, _ = roc_curve(*_labelled(normal_scores, anomaly_scores))
    return false_positive_rate, true_positive_rate


def evaluate(lof, scores, normal, contaminations=(0.001, 0.01), rejections=(0.006, 0.01, 0.04)):
    """What the tables show of one detector, as a dictionary ready for JSON.

    scores : {set name: novelty scores of new data}; normal : the name of the set that is normal.
    Shares judged normal are given at the thresholds of LOF's own contamination rule, and at those
    that turn away a given share of the normal set.
    """
    normal_scores = scores[normal]
    outliers = {name: values for name, values in scores.items() if name != normal}
    by_contamination = {str(c): float(contamination_threshold(lof, c)) for c in contaminations}
    by_rejection = {str(r): float(rejection_threshold(normal_scores, r)) for r in rejections}
    return {
        "threshold": by_contamination,
        "normal_at_contamination": _shares(scores, by_contamination),
        "normal_at_rejection": _shares(scores, by_rejection),
        "auroc": {name: auroc(normal_scores, values) for name, values in outliers.items()},
        "fpr95": {name: fpr95(normal_scores, values) for name, values in outliers.items()},
    }


def _shares(scores, thresholds):
    return {
        level: {name: share_normal(values, threshold) for name, values in scores.items()}
        for level, threshold in thresholds.items()
    }


def _labelled(normal_scores, anomaly_scores):
    labels = np.repeat([0, 1], [len(normal_scores), len(anomaly_scores)])
    return labels, np.concatenate([normal_scores, anomaly_scores])


# What a saved detector may hold besides scikit-learn's and NumPy's own types.
OWN_TYPES = [
    "hypersphere.detectors.LayeredLOF",
    "hypersphere.neighbors.KthDistance",
    "hypersphere.neighbors.LOF",
]

# What loading anything else than a saved detector raises.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    skops.io.exceptions.UntrustedTypesFoundException,
)


def save_detector(detector, path):
    """Write a fitted detector, LOF or `LayeredLOF`, without pickle."""
    with replacing(path) as beside:
        skops.io.dump(detector, beside)


def load_detector(path):
    """Load a fitted detector; only scikit-learn's, NumPy's and this project's own types are accepted.

    Raises InputError if the file is missing or is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: missing; run anomaly_lof.py first")
    try:
        detector = skops.io.load(path, trusted=OWN_TYPES)
    except DAMAGED:
        detector = None
    if not isinstance(detector, OutlierMixin):
        raise InputError(f"{path}: not a detector of this project; run anomaly_lof.py again")
    return detector

"""The layered detector: LOF on several layers, each one's evidence calibrated, and all of it together."""

from hypersphere.neighbors import LOF, KthDistance

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

MEASURES = {"lof": LOF, "distance": KthDistance}
TAIL = 0.05  # the share of the calibration scores that a tail is fitted to

# What our detector looks at: {layer: (measure, the p-value above which the layer has no say)}. The first block sees
# what is far from any digit and little else: it speaks only of what is stranger to it than 95 % of the digits.
LAYERS = {"block1": ("lof", 0.05), "block3": ("lof", 1.0), "embedding": ("distance", 1.0)}


def conformal_p_values(calibration_scores, scores):
    """p-values of new scores, (m,) and (n,) to (n,): the share of scores, the new one's with them, at least as high.

    Scores are higher for what is more anomalous. If new data are drawn as the calibration data are,
    a p-value of at most q comes in a share of at most q of them.
    Source: Vovk, Gammerman, Shafer 2005, https://doi.org/10.1007/b106715
    """
    ordered = np.sort(calibration_scores)
    at_least_as_high = len(ordered) - np.searchsorted(ordered, scores, side="left")
    return (1 + at_least_as_high) / (len(ordered) + 1)


def log_p_values(calibration_scores, scores):
    """Logarithms of p-values that go on falling above the highest calibration score: (m,) and (n,) to (n,).

    Below the 95th percentile they are interpolated between the calibration scores; above it, the
    excess has an exponential distribution, with the calibration scores' mean excess.
    """
    ordered = np.sort(calibration_scores)
    start = np.quantile(ordered, 1 - TAIL)
    mean_excess = max(np.mean(ordered[ordered >= start] - start), np.finfo(float).tiny)
    body = np.interp(scores, ordered, 1 - np.arange(1, len(ordered) + 1) / (len(ordered) + 1))
    tail = np.log(TAIL) - (scores - start) / mean_excess
    return np.where(scores < start, np.log(np.maximum(body, TAIL)), tail)


class LayeredLOF(OutlierMixin, BaseEstimator):
    """Turns away what at least one layer of a network finds strange.

    A row of X holds one image's features, those of each layer side by side. In each layer, standardised, a row
    is compared with its nearest training rows; the calibration rows' scores there turn its own into a p-value.
    The evidence of all layers is the product of their p-values, where a layer has no say as long as
    its own is above its truncation; the calibration rows calibrate the product once more.
    Source of the truncated product: Zaykin et al. 2002, https://doi.org/10.1002/gepi.0042

    Parameters
    ----------
    widths : the number of features of each layer, in the order of X's columns; None for one layer.
    measures : for each layer, "lof" or "distance", that to the n_neighbors-th neighbour; None for "lof".
    truncations : for each layer, the p-value above which it has no say, above 0 and at most 1; None for 1.
    n_neighbors : how many training rows a new one is compared with.
    level : the share of normal data that `predict` turns away, between 0 and 1.

    Attributes
    ----------
    calibration_scores_ : (m,), what `score_samples` gives for the calibration rows.
    offset_ : `predict` turns away what scores less.
    """

    def __init__(self, widths=None, measures=None, truncations=None, n_neighbors=20, level=0.01):
        self.widths = widths
        self.measures = measures
        self.truncations = truncations
        self.n_neighbors = n_neighbors
        self.level = level

    def fit(self, X, y=None, X_calibration=None):
        """Fit on normal rows, (n, d), and calibrate on others, (m, d); without these every fifth row calibrates.

        Raises ValueError if widths, measures, truncations or level do not fit.
        """
        X = validate_data(self, X, ensure_min_samples=5)
        if X_calibration is None:
            calibrates = np.arange(len(X)) % 5 == 4
            X, X_calibration = X[~calibrates], X[calibrates]
        else:
            X_calibration = validate_data(self, X_calibration, reset=False)
        widths = [X.shape[1]] if self.widths is None else list(self.widths)
        measures = ["lof"] * len(widths) if self.measures is None else list(self.measures)
        truncations = np.ones(len(widths)) if self.truncations is None else np.asarray(self.truncations, float)
        if sum(widths) != X.shape[1] or min(widths) < 1:
            raise ValueError(f"widths {widths} do not add up to the {X.shape[1]} columns of X")
        if len(measures) != len(widths) or not set(measures) <= set(MEASURES):
            raise ValueError(f"measures {measures}: give each layer one, 'lof' or 'distance'")
        if len(truncations) != len(widths) or not np.all((truncations > 0) & (truncations <= 1)):
            raise ValueError(f"truncations {self.truncations}: give each layer one, above 0 and at most 1")
        if not 0 < self.level < 1:
            raise ValueError(f"level {self.level} is not between 0 and 1")
        self.starts_ = np.cumsum([0, *widths])
        self.log_truncations_ = np.log(truncations)
        self.scalers_ = [StandardScaler().fit(layer) for layer in self._layers(X)]
        k = min(self.n_neighbors, len(X) - 1)
        self.measures_ = [
            MEASURES[measure](k).fit(scaler.transform(layer))
            for layer, scaler, measure in zip(self._layers(X), self.scalers_, measures, strict=True)
        ]
        self.layer_calibration_scores_ = self.layer_scores(X_calibration)
        self.calibration_scores_ = self.evidence(self._log_p_values(self.layer_calibration_scores_))
        # The n_away lowest calibration scores have p-values of at most `level`.
        n_away = int(self.level * (len(X_calibration) + 1)) - 1
        self.offset_ = np.nextafter(np.sort(self.calibration_scores_)[n_away], np.inf) if n_away >= 0 else -np.inf
        return self

    def layer_scores(self, X):
        """Each layer's LOF or distance of new rows, (n, d) to (n, number of layers): higher for what is stranger."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        columns = zip(self._layers(X), self.scalers_, self.measures_, strict=True)
        return np.column_stack([measure.strangeness(scaler.transform(layer)) for layer, scaler, measure in columns])

    def layer_log_p_values(self, X):
        """The logarithm of each layer's p-value, (n, d) to (n, number of layers)."""
        return self._log_p_values(self.layer_scores(X))

    def evidence(self, log_p):
        """All layers' evidence from their log p-values, (n, number of layers) to (n,): at most 0, lower if stranger."""
        return np.minimum(log_p - self.log_truncations_, 0).sum(axis=1)

    def score_samples(self, X):
        """The evidence against each row, (n, d) to (n,): at most 0, lower for what is stranger."""
        return self.evidence(self.layer_log_p_values(X))

    def p_values(self, X):
        """The share of normal rows that would be at least as strange, (n, d) to (n,)."""
        return conformal_p_values(-self.calibration_scores_, -self.score_samples(X))

    def decision_function(self, X):
        """`score_samples` above the threshold: negative for what `predict` turns away."""
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """1 for normal rows, -1 for those with a p-value of at most `level`."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _log_p_values(self, layer_scores):
        columns = zip(self.layer_calibration_scores_.T, layer_scores.T, strict=True)
        return np.column_stack([log_p_values(*both) for both in columns])

    def _layers(self, X):
        return np.split(X, self.starts_[1:-1], axis=1)


def side_by_side(features):
    """The layers of `LAYERS`, {name: (n, width)}, as one array, (n, sum of widths)."""
    return np.hstack([features[name] for name in LAYERS])


def layered_lof(features):
    """Our detector, not fitted yet, for features of these widths: {name: (n, width)}."""
    widths = [features[name].shape[1] for name in LAYERS]
    measures, truncations = zip(*LAYERS.values(), strict=True)
    return LayeredLOF(widths, measures, truncations)

"""The layered detector: novelty scores of several layers of a network, calibrated one by one and together."""

import math
import warnings

import numpy as np
import skops.io
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from hypersphere.files import reading, replacing
from hypersphere.scores import conformal_p_values, finite, log_p_values, log_truncated_product, novelty_score


class LayeredDetector(OutlierMixin, BaseEstimator):
    """Rejects rows by the joint evidence of several layers of a network.

    A row of X holds one image's features, those of each layer side by side. In each layer, standardised, a row is
    compared with its nearest training rows: by the local outlier factor (LOF), or by the distance to the last of them.
    A "layer" of one column may also be a novelty score, which is standardised alone. A wide layer may be reduced to its
    principal components.

    The calibration rows, on which nothing else was fitted, are split, so that in-distribution rows, drawn as these
    were, are rejected at a rate of at most `level` on average over calibrations, however few rows there are: every
    fifth turns each layer's score into a p-value, the other four fifths calibrate the product of these p-values (split
    conformal prediction). In the product a layer has no say as long as its own p-value is above its truncation.
    All methods but `fit` are for new rows: a training row is its own nearest neighbour, so there is no `fit_predict`.
    Sources: LOF, https://doi.org/10.1145/335191.335388; truncated product, https://doi.org/10.1002/gepi.0042;
    conformal prediction, https://doi.org/10.1007/b106715

    Parameters
    ----------
    layers : a list of tuples (name, columns, measure, truncation), or None: all columns as one layer, "distance", 1.0.
        columns : a slice or a list of column numbers of X; measure : "lof", "distance" or, of one column, "score",
        higher for what is more novel; truncation : the p-value above which it has no say, above 0 and at most 1.
    n_neighbors : how many training rows a new one is compared with, at most all but one.
    level : the nominal rejection rate of in-distribution rows, between 0 and 1, at which `fit` sets the threshold.
    n_components : the most principal components kept of a layer, fewer than the training rows; None: all features.

    Attributes
    ----------
    layers_ : the layers as they were fitted, a list of tuples.
    transforms_ : {layer: what standardises it, and reduces it if it is wide}.
    measures_ : {layer: the fitted LocalOutlierFactor or NearestNeighbors, None for a score}.
    reference_scores_ : each layer's scores of every fifth calibration row, (about m / 5, number of layers).
    calibration_scores_ : what `score_samples` gives for the other calibration rows, (about 4 m / 5,).
    offset_ : `predict` rejects what scores less.
    """

    def __init__(self, layers=None, n_neighbors=20, level=0.01, n_components=None):
        self.layers = layers
        self.n_neighbors = n_neighbors
        self.level = level
        self.n_components = n_components

    @property
    def fit_predict(self):
        """Not offered: accessing it raises AttributeError."""
        raise AttributeError("LayeredDetector judges new rows alone: call fit, then predict with other rows")

    def fit(self, X, y=None, X_calibration=None):
        """Fit on in-distribution rows, (n, d), and calibrate on others, (m, d); without these every fifth row is used.

        That fifth calibrates well only if the network was not trained on it. y is ignored, as scikit-learn has it.
        The rows of each must be in no particular order. Raises ValueError if a parameter does not fit; warns, with
        UserWarning, if there are too few rows for `n_neighbors`, for `n_components`, or for anything to be rejected.
        """
        if len(shape := np.asarray(y).shape) > 1:
            raise ValueError(f"y of shape {shape}: it is ignored; give calibration rows as X_calibration=")
        X = validate_data(self, X, ensure_min_samples=5)
        if X_calibration is None:
            is_calibration = np.arange(len(X)) % 5 == 4
            X, X_calibration = X[~is_calibration], X[is_calibration]
        else:
            X_calibration = validate_data(self, X_calibration, reset=False)
        if self.n_neighbors < 1 or (self.n_components is not None and self.n_components < 1):
            raise ValueError(f"n_neighbors {self.n_neighbors}, n_components {self.n_components}: give at least 1")
        if not 0 < self.level < 1:
            raise ValueError(f"level {self.level} is not between 0 and 1")
        self.layers_ = [("all columns", slice(None), "distance", 1.0)] if self.layers is None else list(self.layers)
        widths = _checked_widths(self.layers_, X.shape[1])
        self.transforms_, self.measures_ = {}, {}
        for (name, columns, kind, _), width in zip(self.layers_, widths, strict=True):
            steps = [StandardScaler()]
            if self.n_components is not None and self.n_components < width:
                kept = _below(len(X), self.n_components, "components", name)
                steps.append(PCA(kept, svd_solver="covariance_eigh"))  # the fastest for many rows
            self.transforms_[name] = make_pipeline(*steps)
            transformed = self.transforms_[name].fit_transform(X[:, columns])
            self.measures_[name] = None
            if kind != "score":
                k = _below(len(X), self.n_neighbors, "neighbours each", name)
                # "brute" is what scikit-learn picks by itself above 15 dimensions; trees are slower there.
                lof = LocalOutlierFactor(k, algorithm="brute", novelty=True)
                measure = lof if kind == "lof" else NearestNeighbors(n_neighbors=k, algorithm="brute")
                self.measures_[name] = measure.fit(transformed)
        scores = self._layer_scores(X_calibration)
        is_reference = np.arange(len(scores)) % 5 == 0
        self.reference_scores_ = scores[is_reference]
        self.calibration_scores_ = self.evidence(self._log_p_values(scores[~is_reference]))
        ordered = np.sort(self.calibration_scores_)
        n_rejected = np.sum(np.arange(1, len(ordered) + 1) / (len(ordered) + 1) <= self.level)  # as in `p_values`
        self.offset_ = ordered[n_rejected - 1] if n_rejected else np.finfo(float).min  # no row scores less
        if not n_rejected:
            needed = math.ceil(5 / 4 * (math.ceil(1 / self.level) - 1))
            problem = f"nothing can be rejected at level {self.level} with {len(scores)} calibration rows"
            remedy = f"give at least {needed} as X_calibration, or without it at least {5 * needed} rows to fit"
            warnings.warn(f"{problem}: {remedy}", stacklevel=2)
        return self

    def layer_scores(self, X):
        """Each layer's novelty score of new rows, (n, d) to (n, number of layers)."""
        check_is_fitted(self)
        return self._layer_scores(validate_data(self, X, reset=False))

    def _layer_scores(self, X):
        rows = {name: self.transforms_[name].transform(X[:, columns]) for name, columns, *_ in self.layers_}
        found = np.column_stack([_score(self.measures_[name], x) for name, x in rows.items()])
        return finite(found.astype(np.result_type(found, np.float32)))  # float16 is too coarse

    def layer_log_p_values(self, X):
        """The logarithm of each layer's p-value, (n, d) to (n, number of layers)."""
        return self._log_p_values(self.layer_scores(X))

    def _log_p_values(self, layer_scores):
        columns = zip(self.reference_scores_.T, layer_scores.T, strict=True)
        return np.column_stack([log_p_values(reference, scores) for reference, scores in columns])

    def evidence(self, log_p):
        """All layers' evidence from their log p-values, (n, number of layers) to (n,): at most 0, low if novel."""
        return log_truncated_product(log_p, np.log([truncation for *_, truncation in self.layers_]))

    def score_samples(self, X):
        """The evidence that each row is in-distribution, (n, d) to (n,): at most 0, lower for what is more novel."""
        return self.evidence(self.layer_log_p_values(X))

    def p_values(self, X):
        """p-values, (n, d) to (n,): the share of calibration rows, the row itself with them, at least as novel.

        Many rows may share the lowest; to rank rows, take `score_samples`.
        """
        return conformal_p_values(-self.calibration_scores_, -self.score_samples(X))

    def decision_function(self, X):
        """`score_samples` above the threshold: negative for what `predict` rejects."""
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """1 for rows that are accepted, -1 for those with a p-value of at most `level`, as it was in `fit`."""
        return np.where(self.decision_function(X) >= 0, 1, -1)


def _checked_widths(layers, n_columns):
    """The number of columns of each layer; raises ValueError, with the layer's name, if a layer does not fit."""
    widths = {}
    if not layers:
        raise ValueError("layers: there are none; give at least one, or None for all columns")
    for layer in layers:
        if len(layer) != 4:
            raise ValueError(f"layer {layer}: give a tuple (name, columns, measure, truncation)")
        name, columns, measure, truncation = layer
        if name in widths:
            raise ValueError(f"layer {name!r}: there are two of this name")
        try:
            widths[name] = len(np.arange(n_columns)[columns])
        except (IndexError, TypeError):
            widths[name] = 0
        if not widths[name] or (isinstance(columns, slice) and (columns.stop or 0) > n_columns):
            raise ValueError(f"layer {name!r}: columns {columns}; give a slice or a list of X's {n_columns} columns")
        if measure not in ["lof", "distance", "score"]:
            raise ValueError(f"layer {name!r}: measure {measure!r}, give 'lof', 'distance' or 'score'")
        if measure == "score" and widths[name] != 1:
            raise ValueError(f"layer {name!r}: a score is one column, here there are {widths[name]}")
        if not 0 < truncation <= 1:
            raise ValueError(f"layer {name!r}: truncation {truncation}, give a number above 0 and at most 1")
    return list(widths.values())


def _below(n_rows, wanted, what, name):
    """As many as wanted, but fewer than the rows; warns if they are too few."""
    if wanted >= n_rows:
        warnings.warn(f"layer {name!r}: {n_rows} rows have {n_rows - 1} {what}, not {wanted}", stacklevel=3)
    return min(wanted, n_rows - 1)


def _score(measure, x):
    if measure is None:
        return x[:, 0]
    if isinstance(measure, NearestNeighbors):
        return measure.kneighbors(x)[0][:, -1]
    with np.errstate(divide="ignore"):  # where a row is so far from all others that its density is 0
        return novelty_score(measure, x)


def layers_of(features, table):
    """A detector's `layers` for features, {name: (n, width)}, of a table, {name: (measure, truncation)}."""
    ends = np.cumsum([features[name].shape[1] for name in table]).tolist()
    starts = [0, *ends[:-1]]
    return [(name, slice(start, end), *table[name]) for name, start, end in zip(table, starts, ends, strict=True)]


def side_by_side(features, table):
    """The features, {name: (n, width)}, of a table's layers as one array, (n, sum of widths)."""
    return np.hstack([features[name] for name in table])


def fit_on_layers(table, train, calibration, **options):
    """A `LayeredDetector` of a table's layers, {name: (measure, truncation)}, fitted to features, {name: (n, width)}.

    calibration : the features of other images, {name: (m, width)}; options : its further parameters.
    """
    detector = LayeredDetector(layers_of(train, table), **options)
    return detector.fit(side_by_side(train, table), X_calibration=side_by_side(calibration, table))


def save_detector(detector, path):
    """Write a fitted detector, scikit-learn's LOF with `algorithm="brute"` or `LayeredDetector`, without pickle."""
    with replacing(path) as beside:
        skops.io.dump(detector, beside)


def load_detector(path, remedy="save it again"):
    """Load a fitted detector; only scikit-learn's, NumPy's and this package's own types are accepted.

    Raises InputError, which ends with the remedy, if the file is missing or no detector.
    """
    with reading(path, "not a detector of this project", remedy):
        detector = skops.io.load(path, trusted=["hypersphere.detectors.LayeredDetector"])
        if not isinstance(detector, OutlierMixin):
            raise TypeError(type(detector))
    return detector

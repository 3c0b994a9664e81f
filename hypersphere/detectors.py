"""The layered detector: novelty scores on several layers of a network, calibrated one by one and together."""

import zipfile
import zlib

import numpy as np
import skops.io
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from hypersphere.errors import InputError
from hypersphere.files import replacing
from hypersphere.scores import conformal_p_values, log_p_values, log_truncated_product, novelty_score

# What our detector looks at: {layer: (measure, the p-value above which the layer has no say)}. The first block sees
# far-OOD images and little else: it speaks only where its score is above that of 95 % of in-distribution images.
LAYERS = {"block1": ("lof", 0.05), "block3": ("lof", 1.0), "embedding": ("distance", 1.0)}
# And where networks that tell turned images apart stand beside the classifier.
ENSEMBLE = {
    "turn block1": ("lof", 0.01),
    "turn blocks": ("lof", 1.0),
    "turn embeddings": ("distance", 1.0),
    "embedding": ("distance", 1.0),
    "disagreement": ("score", 1.0),
}
ENSEMBLE_OPTIONS = {"n_components": 32, "n_neighbors": 5}  # the widest of these layers has 576 features


class LayeredLOF(OutlierMixin, BaseEstimator):
    """Rejects rows by the joint evidence of several layers of a network.

    A row of X holds one image's features, those of each layer side by side. In each layer, standardised, a row is
    compared with its nearest training rows: by the local outlier factor (LOF), or by the distance to the last of them.
    A "layer" of one column may also be a novelty score itself. A wide layer may be reduced to its principal components.

    The calibration rows, on which nothing else was fitted, are split, so that in-distribution rows, drawn as these
    were, are rejected at a rate of at most `level` on average over calibrations, however few rows there are: every
    fifth turns each layer's score into a p-value, the other four fifths calibrate the product of these p-values (split
    conformal prediction). In the product a layer has no say as long as its own p-value is above its truncation.
    Sources: LOF, https://doi.org/10.1145/335191.335388; truncated product, https://doi.org/10.1002/gepi.0042;
    conformal prediction, https://doi.org/10.1007/b106715

    Parameters
    ----------
    widths : the number of features of each layer, in the order of X's columns; None for one layer.
    measures : for each layer, "lof", "distance" or, of one column, "score"; None for "lof".
    truncations : for each layer, the p-value above which it has no say, above 0 and at most 1; None for 1.
    n_neighbors : how many training rows a new one is compared with.
    level : the nominal rejection rate of in-distribution rows, between 0 and 1.
    n_components : the most principal components that are kept of a layer; None for all features as they are.

    Attributes
    ----------
    transforms_ : what standardises each layer, and reduces it if it is wide.
    reference_scores_ : each layer's scores of every fifth calibration row, (about m / 5, number of layers).
    calibration_scores_ : what `score_samples` gives for the other calibration rows, (about 4 m / 5,).
    offset_ : `predict` rejects what scores less.
    """

    def __init__(self, widths=None, measures=None, truncations=None, n_neighbors=20, level=0.01, n_components=None):
        self.widths = widths
        self.measures = measures
        self.truncations = truncations
        self.n_neighbors = n_neighbors
        self.level = level
        self.n_components = n_components

    def fit(self, X, y=None, X_calibration=None):
        """Fit on in-distribution rows, (n, d), and calibrate on others, (m, d); without these every fifth row is used.

        The rows of each must be in no particular order. Raises ValueError if a parameter does not fit.
        """
        X = validate_data(self, X, ensure_min_samples=5)
        if X_calibration is None:
            is_calibration = np.arange(len(X)) % 5 == 4
            X, X_calibration = X[~is_calibration], X[is_calibration]
        else:
            X_calibration = validate_data(self, X_calibration, reset=False)
        widths, measures, truncations = self._checked_parameters(X.shape[1])
        self.starts_ = np.cumsum([0, *widths])
        self.log_truncations_ = np.log(truncations)
        self.transforms_ = [_transform(self.n_components, width) for width in widths]
        k = min(self.n_neighbors, len(X) - 1)
        self.measures_ = [
            _fitted(kind, k, transform.fit_transform(layer))
            for layer, transform, kind in zip(self._layers(X), self.transforms_, measures, strict=True)
        ]
        scores = self.layer_scores(X_calibration)
        is_reference = np.arange(len(scores)) % 5 == 0
        self.reference_scores_ = scores[is_reference]
        self.calibration_scores_ = self.evidence(self._log_p_values(scores[~is_reference]))
        ordered = np.sort(self.calibration_scores_)
        n_rejected = np.sum(np.arange(1, len(ordered) + 1) / (len(ordered) + 1) <= self.level)  # as in `p_values`
        self.offset_ = ordered[n_rejected - 1] if n_rejected else -np.inf  # no p-value can be as small as the level
        return self

    def _checked_parameters(self, n_columns):
        widths = [n_columns] if self.widths is None else list(self.widths)
        measures = ["lof"] * len(widths) if self.measures is None else list(self.measures)
        truncations = np.ones(len(widths)) if self.truncations is None else np.asarray(self.truncations, float)
        if sum(widths) != n_columns or min(widths) < 1:
            raise ValueError(f"widths {widths} do not add up to the {n_columns} columns of X")
        if len(measures) != len(widths) or not set(measures) <= {"lof", "distance", "score"}:
            raise ValueError(f"measures {measures}: give each layer one, 'lof', 'distance' or 'score'")
        if any(width != 1 for width, measure in zip(widths, measures, strict=True) if measure == "score"):
            raise ValueError(f"measures {measures}, widths {widths}: a score is one column")
        if len(truncations) != len(widths) or not np.all((truncations > 0) & (truncations <= 1)):
            raise ValueError(f"truncations {self.truncations}: give each layer one, above 0 and at most 1")
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"n_components {self.n_components}: give at least 1, or None")
        if not 0 < self.level < 1:
            raise ValueError(f"level {self.level} is not between 0 and 1")
        return widths, measures, truncations

    def layer_scores(self, X):
        """Each layer's novelty score of new rows, (n, d) to (n, number of layers)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        columns = zip(self._layers(X), self.transforms_, self.measures_, strict=True)
        return np.column_stack([_score(measure, transform.transform(layer)) for layer, transform, measure in columns])

    def layer_log_p_values(self, X):
        """The logarithm of each layer's p-value, (n, d) to (n, number of layers)."""
        return self._log_p_values(self.layer_scores(X))

    def evidence(self, log_p):
        """All layers' evidence from their log p-values, (n, number of layers) to (n,): at most 0, low if novel."""
        return log_truncated_product(log_p, self.log_truncations_)

    def score_samples(self, X):
        """The evidence that each row is in-distribution, (n, d) to (n,): at most 0, lower for what is more novel."""
        return self.evidence(self.layer_log_p_values(X))

    def p_values(self, X):
        """The share of in-distribution rows that would be at least as novel, (n, d) to (n,)."""
        return conformal_p_values(-self.calibration_scores_, -self.score_samples(X))

    def decision_function(self, X):
        """`score_samples` above the threshold: negative for what `predict` rejects."""
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """1 for rows that are accepted, -1 for those with a p-value of at most `level`."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def _log_p_values(self, layer_scores):
        columns = zip(self.reference_scores_.T, layer_scores.T, strict=True)
        return np.column_stack([log_p_values(*both) for both in columns])

    def _layers(self, X):
        return np.split(X, self.starts_[1:-1], axis=1)


def _transform(n_components, width):
    steps = [StandardScaler()]
    if n_components is not None and n_components < width:
        steps.append(PCA(n_components, svd_solver="covariance_eigh"))  # the fastest for many rows
    return make_pipeline(*steps)


def _fitted(kind, n_neighbors, x):
    # "brute" is what scikit-learn picks by itself above 15 dimensions; trees are slower there.
    if kind == "lof":
        return LocalOutlierFactor(n_neighbors, algorithm="brute", novelty=True).fit(x)
    if kind == "distance":
        return NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(x)
    return None  # a score as it is


def _score(measure, x):
    if measure is None:
        return x[:, 0]
    if isinstance(measure, LocalOutlierFactor):
        return novelty_score(measure, x)
    return measure.kneighbors(x)[0][:, -1]


def side_by_side(features, layers=LAYERS):
    """What a detector looks at, of {name: (n, width)}, as one array, (n, sum of widths)."""
    return np.hstack([features[name] for name in layers])


def layered_lof(features, layers=LAYERS, **options):
    """A detector that looks at some layers, not fitted yet, for features of these widths: {name: (n, width)}.

    options : other parameters of `LayeredLOF`.
    """
    widths = [features[name].shape[1] for name in layers]
    measures, truncations = zip(*layers.values(), strict=True)
    return LayeredLOF(widths, measures, truncations, **options)


def ensemble_lof(features):
    """The detector that looks at a classifier and turn networks, not fitted yet, for features of these widths."""
    return layered_lof(features, ENSEMBLE, **ENSEMBLE_OPTIONS)


# What loading anything else than a saved detector raises.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    skops.io.exceptions.UntrustedTypesFoundException,
)


def save_detector(detector, path):
    """Write a fitted detector, scikit-learn's LOF with `algorithm="brute"` or `LayeredLOF`, without pickle."""
    with replacing(path) as beside:
        skops.io.dump(detector, beside)


def load_detector(path, remedy):
    """Load a fitted detector; only scikit-learn's, NumPy's and this package's own types are accepted.

    Raises InputError, which ends with the remedy, if the file is missing or no detector.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; {remedy}")
    try:
        detector = skops.io.load(path, trusted=["hypersphere.detectors.LayeredLOF"])
    except DAMAGED:
        detector = None
    if not isinstance(detector, OutlierMixin):
        raise InputError(f"{path}: not a detector of this project; {remedy}")
    return detector

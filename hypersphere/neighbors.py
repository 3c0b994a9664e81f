"""Nearest neighbours and LOF: scikit-learn's, searched by oneDAL where scikit-learn-intelex is installed."""

import functools
import warnings

import numpy as np
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

try:
    from sklearnex.neighbors import NearestNeighbors as IntelNeighbors

    Engine = functools.partial(IntelNeighbors, algorithm="brute")
except ImportError:
    Engine = None
# In a server's threads it says that it uses all cores, as it does elsewhere.
warnings.filterwarnings("ignore", message="'Threading' parallel backend is not supported")

SPARE = 4  # candidates more than neighbours, for those whose distances rounding cannot tell apart
TOLERANCE = 1e-4  # of a squared distance
ROWS = 100  # measured anew at a time


class OneRow:
    """An engine for one row alone: a product with all fitted rows, on all cores, where oneDAL gives a row one core.

    It has the part of scikit-learn's NearestNeighbors that `Search` asks of an engine.
    """

    def fit(self, x):
        self.x, self.squared_norms = x, np.einsum("ij,ij->i", x, x)
        return self

    def kneighbors(self, x, k):
        squared = self.squared_norms - 2 * (self.x @ x[0]) + x[0] @ x[0]
        nearest = np.argpartition(squared, k - 1)[:k]
        nearest = nearest[np.argsort(squared[nearest])]
        return np.sqrt(np.maximum(squared[nearest], 0))[None], nearest[None]


class Search:
    """For scikit-learn's brute-force estimators with Euclidean distances: `kneighbors`, sooner.

    The engine computes |a|² - 2ab + |b|², which loses digits where rows are much nearer to each other than to their
    centre. Where that would show, or where rounding decides who is the last neighbour, the distances are measured
    again, from differences.
    """

    def fit(self, X, y=None):
        """scikit-learn's."""
        self._engines = {}
        return super().fit(X, y)

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """scikit-learn's: the nearest fitted rows of each of X, (m, d); without X, of each fitted row but itself."""
        if Engine is None:
            return super().kneighbors(X, n_neighbors, return_distance)
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        available = len(self._fit_X) - (X is None)
        engine, center = self._engine(OneRow if X is not None and len(X) == 1 else Engine)
        rows = self._fit_X if X is None else np.asarray(X, self._fit_X.dtype)
        centered = rows - center
        distances, indices = engine.kneighbors(None if X is None else centered, max(k, min(k + SPARE, available)))
        squared = distances**2
        rounding = (4 + np.sqrt(rows.shape[1])) * np.finfo(rows.dtype).eps * np.einsum("ij,ij->i", centered, centered)
        doubtful = rounding > TOLERANCE * squared[:, 0]
        doubtful |= np.any(squared[:, k : k + 1] - squared[:, k - 1 : k] <= rounding[:, None], axis=1)
        doubtful = np.flatnonzero(doubtful)
        for start in range(0, len(doubtful), ROWS):
            some = doubtful[start : start + ROWS]
            exact = np.linalg.norm(rows[some, None].astype(float) - self._fit_X[indices[some]], axis=2)
            order = np.lexsort((indices[some], exact))
            distances[some] = np.take_along_axis(exact, order, axis=1)
            indices[some] = np.take_along_axis(indices[some], order, axis=1)
        return (distances[:, :k], indices[:, :k]) if return_distance else indices[:, :k]

    def _engine(self, kind):
        """An engine of this kind, fitted, and the centre of the fitted rows, which it takes for the origin."""
        if kind not in self._engines:
            center = self._fit_X.mean(axis=0)
            self._engines[kind] = kind().fit(self._fit_X - center), center
        return self._engines[kind]

    def __getstate__(self):
        """What is saved: engines are fitted again when they are needed."""
        return super().__getstate__() | {"_engines": {}}


class LOF(Search, LocalOutlierFactor):
    """The local outlier factor of new rows among the fitted ones.

    Source: Breunig, Kriegel, Ng, Sander 2000, https://doi.org/10.1145/335191.335388
    """

    def __init__(self, n_neighbors=20):
        # "brute" is what scikit-learn picks by itself above 15 dimensions.
        super().__init__(n_neighbors=n_neighbors, algorithm="brute", novelty=True)

    def strangeness(self, x):
        """The LOF of new rows, (m, d) to (m,): about 1 inside, higher for what is stranger.

        Never of the fitted rows: each would be its own nearest neighbour.
        """
        return -self.score_samples(x)


class KthDistance(Search, NearestNeighbors):
    """The distance of new rows to the k-th nearest of the fitted ones."""

    def __init__(self, n_neighbors=20):
        super().__init__(n_neighbors=n_neighbors, algorithm="brute")

    def strangeness(self, x):
        """The distance, (m, d) to (m,): higher for what is stranger."""
        return self.kneighbors(x)[0][:, -1]

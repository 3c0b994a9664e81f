"""Nearest neighbours and LOF by brute force in float32: scikit-learn's numbers, sooner, above all for one row."""

import numpy as np

BLOCK = 2**23  # distances at a time
GROUP = 16  # columns
SPARE = 4  # candidates more than neighbours, for those that float32 cannot tell apart


def k_smallest(values, k):
    """The columns of the k smallest values of each row, (m, n) to (m, k), in no order; n is a multiple of `GROUP`.

    They lie in the k groups of columns whose smallest values are smallest, so that few columns are compared.
    """
    groups = values.reshape(len(values), GROUP, -1)
    n_groups = groups.shape[2]
    if k < n_groups:
        nearest_groups = np.argpartition(groups.min(axis=1), k - 1, axis=1)[:, :k]
        columns = (nearest_groups[:, None] + n_groups * np.arange(GROUP)[:, None]).reshape(len(values), -1)
        best = np.argpartition(np.take_along_axis(values, columns, axis=1), k - 1, axis=1)[:, :k]
        return np.take_along_axis(columns, best, axis=1)
    return np.argpartition(values, k - 1, axis=1)[:, :k]


class Neighbors:
    """The nearest rows of a fixed set, (n, d).

    Candidates come from one matrix product in float32, where rows far from the origin would lose digits (standardised
    ones do not); their distances are then computed again from differences.
    """

    def __init__(self, rows):
        filling = -len(rows) % GROUP  # rows farther than any other
        self.rows = np.pad(np.asarray(rows, np.float32), [(0, filling), (0, 0)])
        self.squared_norms = np.einsum("ij,ij->i", self.rows, self.rows)
        self.squared_norms[len(rows) :] = np.inf
        self.n_rows = len(rows)

    def nearest(self, x, k):
        """The k nearest rows of each of x, (m, d): their distances and their indices, (m, k), the nearest first.

        Raises ValueError if there are fewer rows than k.
        """
        if k > self.n_rows:
            raise ValueError(f"{k} neighbours of {self.n_rows} rows")
        x = np.asarray(x, np.float32)
        n_candidates = min(k + SPARE, self.n_rows)
        distances, indices = np.empty((len(x), k), np.float32), np.empty((len(x), k), np.int64)
        step = max(1, BLOCK // len(self.rows))
        for start in range(0, len(x), step):
            block = x[start : start + step]
            relative = (-2 * block) @ self.rows.T
            relative += self.squared_norms  # the squared distance less the block's own squared norm
            candidates = k_smallest(relative, n_candidates)
            exact = np.linalg.norm(block[:, None] - self.rows[candidates], axis=2)
            order = np.argsort(exact, axis=1)[:, :k]
            distances[start : start + step] = np.take_along_axis(exact, order, axis=1)
            indices[start : start + step] = np.take_along_axis(candidates, order, axis=1)
        return distances, indices


class KthDistance:
    """The distance to the k-th nearest of the known rows, (n, d)."""

    def __init__(self, rows, k):
        self.neighbors, self.k = Neighbors(rows), k

    def score(self, x):
        """New rows, (m, d) to (m,): higher for what is stranger."""
        return self.neighbors.nearest(x, self.k)[0][:, -1]


class LOF:
    """The local outlier factor of new rows among known ones, (n, d), with k neighbours.

    Source: Breunig, Kriegel, Ng, Sander 2000, https://doi.org/10.1145/335191.335388
    """

    def __init__(self, rows, k):
        self.neighbors, self.k = Neighbors(rows), k
        distances, indices = self.neighbors.nearest(rows, k + 1)
        # A row is no neighbour of itself. Among its duplicates it may be missing: then the farthest is one too many.
        itself = indices == np.arange(len(rows))[:, None]
        itself[~itself.any(axis=1), -1] = True
        distances, indices = (values[~itself].reshape(-1, k) for values in [distances, indices])
        self.kth_distances = distances[:, -1]
        self.densities = self._density(distances, indices)

    def _density(self, distances, indices):
        """The inverse of the mean reachability distance, which is at least the neighbour's own k-th distance."""
        reachability = np.maximum(distances, self.kth_distances[indices])
        return 1 / (reachability.mean(axis=1) + 1e-10)

    def score(self, x):
        """New rows, (m, d) to (m,): the neighbours' density by the row's own, about 1 inside, higher if stranger."""
        distances, indices = self.neighbors.nearest(x, self.k)
        return self.densities[indices].mean(axis=1) / self._density(distances, indices)

"""Our nearest neighbours and LOF give scikit-learn's numbers."""

from hypersphere import neighbors

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors


@pytest.fixture(params=[2, 64, 784], ids=lambda d: f"{d} dimensions")
def rows(request):
    """Known rows in three clusters of unlike density, and new ones."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 3, (3, request.param))

    def draw(n, spread):
        cluster = rng.integers(0, 3, n)
        return (centers[cluster] + spread * (1 + cluster[:, None]) * rng.normal(size=(n, request.param))).astype("f4")

    return draw(600, 0.3), draw(200, 0.4)


def test_neighbors_are_scikit_learns(rows, monkeypatch):
    known, new = rows
    distances, indices = NearestNeighbors(n_neighbors=7).fit(known).kneighbors(new)
    monkeypatch.setattr(neighbors, "BLOCK", 50 * len(known))  # several blocks, the last one shorter
    ours = neighbors.Neighbors(known).nearest(new[:180], 7)
    np.testing.assert_array_equal(ours[1], indices[:180])
    np.testing.assert_allclose(ours[0], distances[:180], rtol=1e-5)


def test_lof_is_scikit_learns(rows):
    known, new = rows
    reference = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(known)
    np.testing.assert_allclose(neighbors.LOF(known, 20).score(new), -reference.score_samples(new), rtol=1e-4)


def test_a_row_alone_gets_the_same_score(rows):
    known, new = rows
    lof = neighbors.LOF(known, 20)
    np.testing.assert_allclose(lof.score(new[:1]), lof.score(new)[:1], rtol=1e-5)


def test_duplicates_do_not_count_themselves():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(100, 4)).astype("f4")
    known[:30] = known[0]
    new = rng.normal(size=(50, 4)).astype("f4")
    lof = neighbors.LOF(known, 5)
    np.testing.assert_allclose(lof.kth_distances[:30], 0)
    reference = LocalOutlierFactor(n_neighbors=5, novelty=True).fit(known)
    far = np.linalg.norm(new - known[0], axis=1) > 2  # among equal distances the choice of neighbours is free
    assert far.sum() > 10
    np.testing.assert_allclose(lof.score(new[far]), -reference.score_samples(new[far]), rtol=1e-4)


def test_kth_distance(rows):
    known, new = rows
    distances, _ = NearestNeighbors(n_neighbors=3).fit(known).kneighbors(new)
    np.testing.assert_allclose(neighbors.KthDistance(known, 3).score(new), distances[:, -1], rtol=1e-5)

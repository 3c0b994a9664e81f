"""Our nearest neighbours and LOF are scikit-learn's, whichever engine finds them."""

import subprocess
import sys

from hypersphere import data, neighbors, novelty

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

needs_engine = pytest.mark.skipif(not neighbors.Engine, reason="scikit-learn-intelex is not installed")


@pytest.fixture(params=[True, False], ids=["engine", "scikit-learn alone"])
def engine(request, monkeypatch):
    """With the faster engine and without."""
    if not request.param:
        monkeypatch.setattr(neighbors, "Engine", None)
    elif not neighbors.Engine:
        pytest.skip("scikit-learn-intelex is not installed")


@pytest.fixture(params=[2, 64, 784], ids=lambda d: f"{d} dimensions")
def rows(request):
    """Known rows in three clusters of unlike density, and new ones."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0, 3, (3, request.param))

    def draw(n, spread):
        cluster = rng.integers(0, 3, n)
        return (centers[cluster] + spread * (1 + cluster[:, None]) * rng.normal(size=(n, request.param))).astype("f4")

    return draw(1500, 0.3), draw(200, 0.4)


def test_lof_is_scikit_learns(engine, rows):
    known, new = rows
    reference = LocalOutlierFactor(n_neighbors=20, novelty=True, algorithm="brute").fit(known)
    ours = neighbors.LOF(20).fit(known)
    np.testing.assert_allclose(ours.strangeness(new), -reference.score_samples(new), rtol=1e-5)
    np.testing.assert_allclose(ours.negative_outlier_factor_, reference.negative_outlier_factor_, rtol=1e-5)
    np.testing.assert_array_equal(ours.predict(new), reference.predict(new))


def test_kth_distance_is_scikit_learns(engine, rows):
    known, new = rows
    distances, indices = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(known).kneighbors(new)
    ours = neighbors.KthDistance(7).fit(known)
    np.testing.assert_array_equal(np.sort(ours.kneighbors(new, return_distance=False)), np.sort(indices))
    np.testing.assert_allclose(ours.strangeness(new), distances[:, -1], rtol=1e-5)


def test_near_each_other_and_far_from_the_origin(engine):
    rng = np.random.default_rng(0)
    known, new = (1000 + rng.normal(size=(n, 8)).astype("f4") for n in [2000, 100])
    reference = LocalOutlierFactor(n_neighbors=20, novelty=True, algorithm="kd_tree").fit(known.astype(float))
    np.testing.assert_allclose(
        neighbors.LOF(20).fit(known).strangeness(new), -reference.score_samples(new.astype(float)), rtol=1e-5
    )


def test_equal_distances(engine):
    _, _, (x, _) = data.load_mnist()
    known, new = x[:3000].reshape(3000, -1), x[3000:4000].reshape(1000, -1)
    known[:40] = known[0]  # more copies than neighbours
    reference = LocalOutlierFactor(n_neighbors=20, novelty=True, algorithm="brute").fit(known)
    np.testing.assert_allclose(neighbors.LOF(20).fit(known).strangeness(new), -reference.score_samples(new), rtol=1e-5)


def test_a_row_alone_gets_the_same_score(engine, rows):
    known, new = rows
    lof = neighbors.LOF(20).fit(known)
    alone = np.concatenate([lof.strangeness(new[number : number + 1]) for number in range(30)])
    np.testing.assert_allclose(alone, lof.strangeness(new)[:30], rtol=1e-5)
    np.testing.assert_array_equal(lof.kneighbors(new[:1])[1], lof.kneighbors(new)[1][:1])


def test_a_row_alone_near_the_others_and_far_from_the_origin(engine):
    rng = np.random.default_rng(0)
    known, new = (1000 + rng.normal(size=(n, 8)).astype("f4") for n in [2000, 1])
    reference = NearestNeighbors(n_neighbors=7, algorithm="kd_tree").fit(known.astype(float))
    expected = reference.kneighbors(new.astype(float))[0][:, -1]
    np.testing.assert_allclose(neighbors.KthDistance(7).fit(known).strangeness(new), expected, rtol=1e-5)


def test_fitted_again_it_forgets_the_former_rows(engine, rows):
    known, new = rows
    again = neighbors.LOF(20).fit(new).fit(known)
    np.testing.assert_array_equal(again.strangeness(new[:30]), neighbors.LOF(20).fit(known).strangeness(new[:30]))


@needs_engine
def test_an_engine_is_not_saved(rows, tmp_path):
    known, new = rows
    lof = neighbors.LOF(20).fit(known)
    novelty.save_detector(lof, tmp_path / "lof.skops")
    loaded = novelty.load_detector(tmp_path / "lof.skops")
    np.testing.assert_array_equal(loaded.strangeness(new), lof.strangeness(new))
    assert lof._engines and not lof.__getstate__()["_engines"]


def test_it_works_without_the_engine_installed():
    code = (
        "import sys; sys.modules['sklearnex'] = None\n"
        "from hypersphere import neighbors; import numpy as np\n"
        "assert neighbors.Engine is None\n"
        "print(neighbors.LOF(2).fit(np.eye(5)).strangeness(np.eye(5)[:1]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

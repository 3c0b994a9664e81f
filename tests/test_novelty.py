"""The LOF wrapper against scikit-learn called directly, and the measures at known values."""

from conftest import run_python
from hypersphere import neighbors, novelty
from hypersphere.errors import InputError

import numpy as np
import pytest
from sklearn.neighbors import LocalOutlierFactor


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(900, 20)).astype(np.float32)
    return normal[:600], np.concatenate([normal[600:], rng.normal(2, 2, size=(100, 20)).astype(np.float32)])


@pytest.mark.parametrize("contamination", [0.001, 0.01, 0.037, 0.2])
def test_decisions_equal_scikit_learns(points, contamination):
    x_train, x_new = points
    direct = LocalOutlierFactor(n_neighbors=20, novelty=True, contamination=contamination).fit(x_train)
    lof = neighbors.LOF().fit(x_train)
    score = lof.strangeness(x_new)
    np.testing.assert_allclose(score, -direct.score_samples(x_new), rtol=1e-5)
    abnormal = score > novelty.contamination_threshold(lof, contamination)
    np.testing.assert_array_equal(abnormal, direct.predict(x_new) == -1)
    assert 0 < abnormal.mean() < 1


def test_outliers_score_higher(points):
    x_train, x_new = points
    score = neighbors.LOF().fit(x_train).strangeness(x_new)
    assert score[300:].mean() > score[:300].mean()


def test_measures_at_known_values():
    normal, anomalies = np.arange(100.0), np.array([94.0, 94.5, 200.0, -1.0])
    assert novelty.auroc(normal, anomalies) == pytest.approx((94.5 + 95 + 100 + 0) / 400)
    # The 95 % quantile of 0..99 lies at 94.05: two of the four anomalies are not above it.
    assert novelty.fpr95(normal, anomalies) == 0.5
    assert novelty.share_normal(normal, novelty.rejection_threshold(normal, 0.01)) == 0.99


def test_evaluate(points):
    x_train, x_new = points
    lof = neighbors.LOF().fit(x_train)
    scores = {"normal": lof.strangeness(x_new[:300]), "odd": lof.strangeness(x_new[300:])}
    result = novelty.evaluate(lof, scores, normal="normal")
    direct = LocalOutlierFactor(n_neighbors=20, novelty=True, contamination=0.01).fit(x_train)
    assert result["normal_at_contamination"]["0.01"]["odd"] == np.mean(direct.predict(x_new[300:]) == 1)
    assert result["normal_at_rejection"]["0.04"]["normal"] == pytest.approx(0.96)
    assert set(result["auroc"]) == set(result["fpr95"]) == {"odd"}


def test_a_saved_detector_scores_the_same_in_a_fresh_process(points, tmp_path):
    x_train, x_new = points
    lof = neighbors.LOF().fit(x_train)
    novelty.save_detector(lof, tmp_path / "lof.skops")
    np.save(tmp_path / "x.npy", x_new)
    code = (
        "import sys, numpy as np\n"
        "from hypersphere import novelty\n"
        "np.save(sys.argv[3], novelty.load_detector(sys.argv[1]).strangeness(np.load(sys.argv[2])))"
    )
    run_python(code, tmp_path / "lof.skops", tmp_path / "x.npy", tmp_path / "scores.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), lof.strangeness(x_new))


def test_arrays_alone_do_not_load_keras():
    code = "import sys\nfrom hypersphere import maps, novelty, tables, data, plots\nprint('keras' in sys.modules)"
    assert run_python(code) == "False"


def test_load_detector_names_what_is_no_detector(tmp_path):
    with pytest.raises(InputError, match=r"run anomaly_lof\.py first"):
        novelty.load_detector(tmp_path / "lof.skops")
    (tmp_path / "lof.skops").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a detector"):
        novelty.load_detector(tmp_path / "lof.skops")

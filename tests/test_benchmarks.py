"""The benchmarks of speed: what they count, and that their variants do the same work."""

import subprocess
import sys

from benchmarks import growth, limits
from conftest import PROJECT
from hypersphere import neighbors, recipes, speed_tables

import numpy as np
import pytest

MADE_BY = {"machine": {"cpu": "a processor", "cores": 2, "system": "Linux"}}
MADE_BY["versions"] = {name: "1.0" for name in ["python", "tensorflow", "keras", "scikit-learn"]}


@pytest.fixture(scope="module")
def network():
    return recipes.build(recipes.RECIPES["article"])[1]


def test_operations_by_hand(network):
    layers = [layer for layer in network.layers if hasattr(layer, "kernel")]
    products = [28 * 28 * 9 * 32, 14 * 14 * 9 * 32 * 64, 7 * 7 * 9 * 64 * 128, 3 * 3 * 128 * 64, 64 * 10]
    assert limits.forward_operations(layers) == [2 * n for n in products]
    assert limits.training_operations(layers) == 6 * sum(products) - 2 * products[0]


def test_rates_are_plausible(network, monkeypatch):
    monkeypatch.setattr(limits, "SIZE", 256)
    monkeypatch.setattr(limits, "REPEATS", 2)
    for rate in [limits.product_rate("float32"), limits.convolutions_rate(network, "float32", 8)]:
        assert 1e8 < rate < 1e15


def test_the_pytorch_network_is_ours(network):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks import pytorch

    usual, pool_first = pytorch.Network(), pytorch.Network(pool_first=True)
    assert sum(weight.numel() for weight in usual.parameters()) == network.count_params()
    pool_first.load_state_dict(usual.state_dict())
    images, _ = pytorch.tensors(np.random.default_rng(0).random((20, 28, 28, 1), dtype=np.float32), np.zeros(20))
    np.testing.assert_array_equal(pytorch.embed(pool_first, images), pytorch.embed(usual, images))


def test_approximate_neighbours_are_exact_where_every_list_is_looked_at(monkeypatch):
    pytest.importorskip("faiss", reason="FAISS is not installed")
    rng = np.random.default_rng(0)
    known, new = (rng.normal(size=(n, 16)).astype("f4") for n in [2000, 100])
    exact = neighbors.LOF().fit(known)
    monkeypatch.setattr(neighbors, "Engine", growth.Approximate)
    monkeypatch.setattr(growth.Approximate, "N_PROBED", 2000)
    approximate = neighbors.LOF().fit(known)
    np.testing.assert_allclose(approximate.strangeness(new), exact.strangeness(new), rtol=1e-4)
    np.testing.assert_allclose(approximate.negative_outlier_factor_, exact.negative_outlier_factor_, rtol=1e-4)


def test_more_embeddings_are_new_ones(network):
    images = np.random.default_rng(0).random((50, 28, 28, 1), dtype=np.float32)
    result = growth.embeddings(network, images, 120)
    assert result.shape == (120, 64) and len(np.unique(result, axis=0)) == 120
    np.testing.assert_allclose(np.linalg.norm(result, axis=1), 16, rtol=1e-5)


def test_tables_of_speed():
    seconds = {"training epoch": {"ours, bfloat16": [1.0, 2.0, 3.0], "Keras, fit on arrays": [4.0, 5.0, 3.0]}}
    rates = {"matrix product": {"float32": 1e12, "bfloat16": 2e12}}
    metrics = {"seconds": seconds, "difference": {"LOF": 2e-6}, "rates": rates, "operations": {"training epoch": 1e12}}
    rows = speed_tables.stages(MADE_BY | {"metrics": metrics}).splitlines()
    assert "| 0.50 " in rows[3] and "3.0 to 5.0" in rows[3] and "1.0 to 3.0" in rows[2]
    assert "at most 2e-06 (LOF)" in rows[-1]
    assert "| bfloat16 | 1.00 " in (floors := speed_tables.floors(MADE_BY | {"metrics": metrics})) and "25%" in floors


def test_the_exponent_of_growth():
    measured = {"score_seconds": 1.0, "peak_memory_mb": 1000, "auroc": 0.99}
    by_points = [measured | {"points": n, "fit_seconds": s} for n, s in [(1000, 1.0), (10_000, 100.0)]]
    rows = speed_tables.growth(MADE_BY | {"metrics": {"engines": {"exact": by_points}}}).splitlines()
    assert "2.00" in rows[3] and "2.00" not in rows[2]


def test_the_benchmark_runs_without_the_alternatives(smoke_run):
    code = (
        "import importlib.util, runpy, sys; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name in ['torch', 'pyod', 'openTSNE'] else find(name)\n"
        f"sys.argv = ['speed', '--smoke', '--repeats', '1', '--out', {str(smoke_run)!r}]\n"
        "runpy.run_module('benchmarks.speed', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch is not installed and left out" in done.stdout and "| 3 training epochs" in done.stdout

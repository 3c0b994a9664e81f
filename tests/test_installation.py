"""The library installed without the clone, and the scripts run as a notebook's kernel runs them."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import PROJECT

pytestmark = pytest.mark.slow

USE = """
import sys
import hypersphere, keras, numpy as np
from hypersphere import AdaCos, ArcFace, CosFace, L2Softmax, LayeredDetector, MetricModel, SubClusterAdaCos, datasets
assert "site" in hypersphere.__file__, hypersphere.__file__
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 8)), rng.integers(0, 4, 64)
for kind in [AdaCos, ArcFace, CosFace, L2Softmax, SubClusterAdaCos]:
    model = MetricModel(keras.Sequential([keras.layers.Dense(3)]), kind(4))
    model.compile("adam")
    model.fit(x, y, verbose=0)
detector = LayeredDetector(level=0.05).fit(x, X_calibration=rng.normal(size=(100, 8)))
print(detector.predict(np.full((1, 8), 50.0)))
try:
    datasets.load_mnist()
except Exception as error:
    print(type(error).__name__, error)
print("tensorflow" in sys.modules)
"""


def test_the_library_installs_by_itself(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(PROJECT / "hypersphere", source / "hypersphere")
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(PROJECT / name, source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--target", site, source], check=True)
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"hypersphere"}
    environment = os.environ | {"PYTHONPATH": str(site), "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    rejected, error, with_tensorflow = done.stdout.splitlines()
    assert (rejected, with_tensorflow) == ("[-1]", "False"), done.stderr
    assert error == "InputError no folder of data sets; name one in the variable HYPERSPHERE_DATA"


def test_the_scripts_run_as_notebooks(tmp_path):
    jupytext = pytest.importorskip("jupytext")
    nbclient = pytest.importorskip("nbclient")
    # Arguments parse to their defaults in a kernel: a first cell makes these small and writes elsewhere.
    small = f"""import argparse
from common import cli
cli.Parser.parse_args = lambda self, _: argparse.ArgumentParser.parse_args(self, ["--smoke", "--out", "{tmp_path}"])
"""
    scripts = ["train_cnn_baseline.py", "train_l2softmax.py", "visualize_tsne.py", "anomaly_lof.py", "anomaly_heads.py"]
    for script in scripts:
        notebook = jupytext.read(PROJECT / script)
        notebook.cells.insert(0, jupytext.reads(small, fmt="py:percent").cells[0])
        nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(PROJECT)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown), "figures are shown in the notebook"
    assert (tmp_path / "results" / "lof.json").is_file()

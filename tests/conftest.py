"""What the tests share: running a script as a user would, and one small chained run."""

import os
import subprocess
import sys
from pathlib import Path

from hypersphere import data

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parent.parent


def run_script(script, *flags, cwd=None, python_flags=(), **variables):
    """Run a script of the project in a process of its own."""
    return subprocess.run(
        [sys.executable, *python_flags, str(PROJECT / script), *map(str, flags)],
        cwd=cwd or PROJECT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=3600,
    )


def run_python(code, *arguments):
    """Run Python code in a fresh process with the project on its path; returns what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def assert_one_line_error(done, *words):
    """The process ended with exit code 2 and one line of its own that has all the words."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
    assert done.stderr.rstrip().endswith(lines[0])
    for word in words:
        assert str(word) in lines[0]


def write_cifar10(folder, rng):
    """A file of CIFAR-10's layout and length, filled with noise."""
    records = rng.integers(0, 256, (data.CIFAR10_RECORDS, data.CIFAR10_RECORD), dtype=np.uint8)
    records[:, 0] %= 10
    folder.mkdir(parents=True)
    records.tofile(folder / "test_batch.bin")
    return records


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    """A data folder that holds CIFAR-10's test file and no other data set."""
    folder = tmp_path_factory.mktemp("data")
    write_cifar10(folder / data.CIFAR10_FOLDER, np.random.default_rng(0))
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory, data_folder):
    """The folder of the four scripts chained on a small slice of MNIST, from another directory."""
    out = tmp_path_factory.mktemp("run")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for script, flags in [
        ("train_cnn_baseline.py", ["--seed", 5, "--epochs", 3, "--batch-size", 64]),
        ("train_l2softmax.py", ["--seed", 5, "--epochs", 3, "--batch-size", 64, "--alpha", 12]),
        ("visualize_tsne.py", []),
        ("anomaly_lof.py", ["--data", data_folder]),
    ]:
        done = run_script(script, "--smoke", "--out", out, *flags, cwd=elsewhere)
        assert done.returncode == 0, done.stderr
    assert not list(elsewhere.iterdir())
    return out


@pytest.fixture(scope="session")
def predictor():
    """The demo's network and detector; the first use fits the detector, half a minute."""
    from demo.predictor import Predictor

    return Predictor()

"""What the tests share: scripts run as a user would run them, and one small chained run."""

import contextlib
import importlib
import io
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

from common import cli

if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
    cli.start()

import keras
import numpy as np
import pytest
from PIL import Image

from hypersphere import datasets

PROJECT = Path(__file__).resolve().parent.parent
os.environ["PYTHONPATH"] = str(PROJECT)  # for the processes that tests start


def run(script, *flags):
    """Run a script, or a module such as "experiments.article2", in this process; returns what it prints.

    Raises what the script raises: InputError, or SystemExit for wrong flags.
    """
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(sys, "argv", [script, *map(str, flags)])
        patch.setattr(cli, "install_error_hook", lambda debug=False: None)  # the hook is the test runner's own
        if script.endswith(".py"):
            runpy.run_path(str(PROJECT / script), run_name="__main__")
        else:
            importlib.import_module(script).main()
    return printed.getvalue()


def run_script(script, *flags, cwd=PROJECT, **variables):
    """Run a script, or a module such as "experiments.article2", in a process of its own."""
    name = [str(PROJECT / script)] if script.endswith(".py") else ["-m", script]
    command = [sys.executable, *name, *map(str, flags)]
    return subprocess.run(command, cwd=cwd, env=os.environ | variables, capture_output=True, text=True, timeout=1200)


def run_python(code, *arguments):
    """Run Python code in a fresh process with the project on its path; returns what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def assert_one_line_error(done, *words):
    """The process ended with exit code 2 and one line of its own that has all the words."""
    lines = done.stderr.rstrip().splitlines()
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert lines[-1].startswith("error:") and not any(line.startswith("error:") for line in lines[:-1]), done.stderr
    assert all(str(word) in lines[-1] for word in words), lines[-1]


def megabytes(pid, kind="VmRSS"):
    """The memory of a process, resident now, or with "VmHWM" at most so far; on Linux."""
    return int(re.search(kind + r":\s*(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def spent(pid, call):
    """What a process spends while a function runs: its result, processor seconds, and megabytes at most."""

    def seconds():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the largest memory is measured anew
    before, started = megabytes(pid), seconds()
    result = call()
    return result, seconds() - started, megabytes(pid, "VmHWM") - before


@contextlib.contextmanager
def dtype_policy(name):
    """Keras's default number format, for a while."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def write_cifar10(folder, rng):
    """CIFAR-10's files, in its layout and length, filled with the same noise; in the second batch upside down."""
    records = rng.integers(0, 256, (datasets.CIFAR10_RECORDS, datasets.CIFAR10_RECORD), dtype=np.uint8)
    records[:, 0] %= 10
    folder.mkdir(parents=True)
    records.tofile(folder / "test_batch.bin")
    records[::-1].tofile(folder / "data_batch_2.bin")
    for name in {*datasets.CIFAR10_FILES} - {path.name for path in folder.iterdir()}:
        (folder / name).symlink_to("test_batch.bin")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def digits():
    """The first test images of MNIST, (100, 28, 28), 0 to 1."""
    x, y = datasets.load_labelled("mnist", "test")
    assert y[0] == 7
    return x[:100, ..., 0]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory):
    """A data folder that holds CIFAR-10, filled with noise, and no other data set."""
    folder = tmp_path_factory.mktemp("data")
    write_cifar10(folder / datasets.CIFAR10_FOLDER, np.random.default_rng(0))
    return folder


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory, data_folder):
    """The folder of the four scripts chained on a small slice of MNIST."""
    out, own = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("own")
    Image.effect_noise((40, 40), 80).save(own / "a.png")
    training = ["--seed", 5, "--epochs", 3, "--batch-size", 64]
    run("train_cnn_baseline.py", "--smoke", "--out", out, *training)
    run("train_l2softmax.py", "--smoke", "--out", out, *training, "--alpha", 12)
    run("visualize_tsne.py", "--smoke", "--out", out)
    sets = ["--data", data_folder, "--outliers", own]
    run("anomaly_lof.py", "--smoke", "--out", out, "--lof-images", 1000, "--layered", *sets)
    return out


@pytest.fixture(scope="session")
def predictor():
    """The demo's network and detector; the first use fits the detector, half a minute."""
    from demo.predictor import Predictor

    return Predictor()

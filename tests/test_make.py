"""The Makefile runs a stage only when it must."""

import shutil
import subprocess

from conftest import PROJECT
from hypersphere import tables
from hypersphere.seeds import RECORDS

import pytest

SCRIPTS = list(tables.SCRIPTS.values())
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def planned(out, *flags):
    """The scripts that make would run."""
    command = ["make", "--dry-run", f"OUT={out}", *flags]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return [script for script in SCRIPTS if f"{script} --out" in done.stdout]


def finish(out):
    """Leave a run's records, each newer than what it is made from."""
    (out / "results").mkdir(parents=True, exist_ok=True)
    for name in RECORDS:
        (out / "results" / name).touch()


def test_a_second_run_does_nothing(tmp_path):
    assert planned(tmp_path) == SCRIPTS
    finish(tmp_path)
    assert planned(tmp_path) == []


def test_another_alpha_trains_one_network(tmp_path):
    assert planned(tmp_path) == SCRIPTS
    finish(tmp_path)
    assert planned(tmp_path, "ALPHA=8") == SCRIPTS[1:]
    finish(tmp_path)
    assert planned(tmp_path, "ALPHA=8") == []
    assert planned(tmp_path) == SCRIPTS[1:]


def test_another_target_does_not_forget_alpha(tmp_path):
    planned(tmp_path, "ALPHA=8")
    finish(tmp_path)
    planned(tmp_path, "lint")
    assert planned(tmp_path, "ALPHA=8") == []


def test_another_data_folder_looks_for_outliers_again(tmp_path):
    planned(tmp_path)
    finish(tmp_path)
    assert planned(tmp_path, f"DATA={tmp_path}") == ["anomaly_lof.py"]
    finish(tmp_path)
    assert planned(tmp_path, f"DATA={tmp_path}") == planned(tmp_path) == []


@pytest.mark.parametrize(
    ("changed", "scripts"),
    [
        ("train_cnn_baseline.py", [SCRIPTS[0], *SCRIPTS[2:]]),
        ("hypersphere/recipes.py", SCRIPTS[1:]),
        ("hypersphere/plots.py", SCRIPTS),
        ("hypersphere/maps.py", ["visualize_tsne.py"]),
        ("hypersphere/neighbors.py", ["anomaly_lof.py"]),
    ],
)
def test_a_changed_file_runs_what_uses_it(changed, scripts, tmp_path):
    finish(tmp_path)
    planned(tmp_path)
    finish(tmp_path)
    assert planned(tmp_path, "-W", changed) == scripts

"""The scoreboard, run as a user would run it, on small slices."""

import json
import shutil

from conftest import assert_one_line_error, run_script
from hypersphere import data, networks, outlier_sets, outlier_tables, outlier_trials, recipes, scoreboard
from hypersphere.detectors import layered_lof, side_by_side

import numpy as np
import pytest

FLAGS = ["--smoke", "--recipes", "best", "article", "--jobs", 2]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory, data_folder):
    """The output folder of a small scoreboard and what it printed."""
    out = tmp_path_factory.mktemp("scoreboard")
    done = run_script("benchmark_ood.py", *FLAGS, "--data", data_folder, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def records_of(out):
    folder = out / "results" / "outliers"
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in folder.rglob("*.json")}


def test_it_writes_a_record_a_network_and_figures(benchmark):
    out, printed = benchmark
    records = records_of(out)
    assert sorted(records) == [f"{r}/{classes}-digits-seed0.json" for r in ["article", "best"] for classes in [10, 5]]
    whole, near = records["best/10-digits-seed0.json"], records["best/5-digits-seed0.json"]
    assert set(whole["metrics"]["detectors"]) == {*scoreboard.DETECTORS, outlier_tables.OURS}
    assert set(records["article/10-digits-seed0.json"]["metrics"]["detectors"]) == {
        outlier_tables.OURS,
        outlier_tables.ARTICLE,
    }
    ours = whole["metrics"]["detectors"][outlier_tables.OURS]["auroc"]
    assert {"Fashion-MNIST", "CIFAR-10", "photographs", "printed letters", "turned digits"} < set(ours)
    assert set(near["metrics"]["detectors"][outlier_tables.OURS]["auroc"]) == {outlier_tables.NEAR}
    assert whole["metrics"]["accuracy"]["test"] > 0.5 and whole["metrics"]["parameters"] <= 200_000
    assert len(whole["metrics"]["calibration"]["turned_away"]) == len(outlier_tables.LEVELS)
    assert "4 trials, 4 of them to run" in printed and "| layered LOF (ours)" in printed
    for figure in ["reliability", "accepted"]:
        assert (out / "figures" / f"outliers_{figure}.png").stat().st_size > 10_000


def test_repeating_it_runs_nothing(benchmark, data_folder):
    out, _ = benchmark
    done = run_script("benchmark_ood.py", *FLAGS, "--data", data_folder, "--out", out)
    assert done.returncode == 0 and "4 trials, 0 of them to run" in done.stdout, done.stderr
    done = run_script("benchmark_ood.py", *FLAGS, "--epochs", 1, "--data", data_folder, "--out", out)
    assert_one_line_error(done, "seed0.json", "another epochs", "--out")


def test_a_network_with_a_damaged_note_is_trained_anew(benchmark, data_folder, tmp_path):
    out, _ = benchmark
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    note = tmp_path / "models" / "outliers" / "best" / "10-digits-seed0.json"
    note.write_text("{")
    (tmp_path / "results" / "outliers" / "best" / "10-digits-seed0.json").unlink()
    done = run_script("benchmark_ood.py", *FLAGS, "--data", data_folder, "--out", tmp_path)
    assert done.returncode == 0 and "4 trials, 1 of them to run" in done.stdout, done.stderr
    assert json.loads(note.read_text())["loss"]
    name = "best/10-digits-seed0.json"
    assert records_of(tmp_path)[name]["metrics"]["accuracy"] == records_of(out)[name]["metrics"]["accuracy"]


def test_the_kept_network_gives_the_recorded_numbers(benchmark):
    out, _ = benchmark
    network = networks.load_network(out / "models" / "outliers" / "best" / "10-digits-seed0.keras", "benchmark_ood.py")
    (x_train, _), (x_val, _), (x_test, y_test) = data.load_mnist(smoke=True)
    train, val, test = (networks.extract(network, x) for x in [x_train, x_val, x_test])
    metrics = records_of(out)["best/10-digits-seed0.json"]["metrics"]
    assert np.mean(test["logits"].argmax(axis=1) == y_test) == metrics["accuracy"]["test"]
    detector = layered_lof(train).fit(side_by_side(train), X_calibration=side_by_side(val))
    letters = networks.extract(network, outlier_sets.load_scoreboard(smoke=True)[0]["printed letters"])
    separation = scoreboard.separation(
        -detector.score_samples(side_by_side(test)), {"printed letters": -detector.score_samples(side_by_side(letters))}
    )
    recorded = metrics["detectors"][outlier_tables.OURS]["auroc"]["printed letters"]
    assert separation["auroc"]["printed letters"] == pytest.approx(recorded, abs=1e-3)
    promised = metrics["calibration"]["at_1_percent"]
    assert np.mean(detector.predict(side_by_side(test)) == -1) == pytest.approx(promised, abs=0.005)


def test_parts_are_made_of_the_detector(benchmark):
    metrics = records_of(benchmark[0])["best/10-digits-seed0.json"]["metrics"]
    assert set(metrics["parts"]) == set(outlier_trials.PARTS)
    log_p = -np.random.default_rng(0).exponential(3, (50, 4))
    without_third = outlier_trials.PARTS["without the third block"](log_p)
    expected = [min(row[0] - np.log(0.05), 0) + row[2] for row in log_p]
    np.testing.assert_allclose(without_third, expected)


def test_calibration_counts_what_is_turned_away():
    scores = np.arange(1000.0)
    result = outlier_trials.calibration(scores[:999] + 0.5, scores)
    np.testing.assert_allclose(result["turned_away"], outlier_tables.LEVELS, atol=1.1e-3)
    assert result["at_1_percent"] == pytest.approx(0.01, abs=1.1e-3)
    assert len(result["halves"]) == outlier_trials.HALVINGS
    assert np.mean(result["halves"]) == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--recipes", "worst"], ["worst", "article"]), (["--seeds", 0], ["--seeds", "0"]), (["--jobs", "x"], ["--jobs"])],
)
def test_bad_flags_are_named(flags, words, tmp_path):
    assert_one_line_error(run_script("benchmark_ood.py", *flags, "--out", tmp_path), *words)


def test_train_l2softmax_knows_the_best_recipe(tmp_path):
    done = run_script("train_l2softmax.py", "--recipe", "best", "--smoke", "--epochs", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "results" / "best.json").read_text())
    assert record["flags"]["learning_rate"] == recipes.BEST.learning_rate and record["flags"]["epochs"] == 1
    network = networks.load_network(tmp_path / "models" / "best.keras", "train_l2softmax.py")
    x = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    np.testing.assert_array_equal(network(x), network(x, training=False))
    assert not (tmp_path / "models" / "l2softmax.keras").exists()

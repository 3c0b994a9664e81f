"""The benchmark of heads, run as a user would run it, on small draws."""

import json
import os
import signal
import subprocess
import sys
import time

from conftest import PROJECT, assert_one_line_error, run_script
from hypersphere import backbones, neighbors, networks, novelty, pairs, trials
from hypersphere.errors import InputError

import keras
import numpy as np
import pytest

FLAGS = ["--smoke", "--dataset", "fashion-mnist", "--seeds", 2, "--epochs", 6, "--heads", "softmax", "adacos-dynamic"]
FOLDER = "anomaly/fashion_mnist-sneaker-ankle_boot/cnn"
NAMES = [f"{head}-seed{seed}" for head in ["softmax", "adacos-dynamic"] for seed in [0, 1]]
TRIAL = trials.Trial("fashion-mnist", 7, 9, "arcface", 0, "cnn", "none", 1, "float32", False, True)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """The output folder of a small benchmark and what it printed."""
    out = tmp_path_factory.mktemp("benchmark")
    done = run_script("benchmark_anomaly.py", *FLAGS, "--jobs", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def records_of(out):
    return {path.stem: json.loads(path.read_text()) for path in (out / "results" / FOLDER).glob("*.json")}


def test_it_writes_a_record_a_trial_networks_and_a_figure(benchmark):
    out, printed = benchmark
    records = records_of(out)
    assert sorted(records) == sorted(NAMES)
    for name, record in records.items():
        assert name == f"{record['flags']['head']}-seed{record['flags']['seed']}"
        assert set(record["metrics"]["auroc"]) == {"cosine", "lof5", "lof20"}
        assert len(record["loss"]) == 6 and record["loss"][-1] < record["loss"][0]
        assert 0.3 < record["metrics"]["val_accuracy"] < 1
        assert record["machine"]["cores"] and record["versions"]["keras"]
    assert records["adacos-dynamic-seed0"]["metrics"]["scale"] != pytest.approx(np.sqrt(2) * np.log(8), rel=1e-3)
    assert "4 trials, 4 of them to run" in printed and "0 minutes left" in printed
    assert "softmax - AdaCos, dynamic" in printed
    assert (out / "figures" / f"{FOLDER.replace('/', '_')}.png").stat().st_size > 10_000
    assert len(list((out / "models" / FOLDER).glob("*.keras"))) == 2


def test_the_kept_network_takes_images_and_gives_the_recorded_auroc(benchmark):
    out, _ = benchmark
    network = keras.saving.load_model(out / "models" / FOLDER / "softmax-seed0.keras")
    drawn = pairs.draw(pairs.SNEAKER_BOOT, 0, smoke=True)
    images = [drawn.x_train[drawn.is_normal], drawn.x_normal, drawn.x_anomaly]
    auroc = trials.auroc_by_scorer(*(trials.directions(network, x, mirrored=True) for x in images))
    recorded = records_of(out)["softmax-seed0"]["metrics"]["auroc"]
    assert auroc == pytest.approx(recorded, abs=0.01)


def test_repeating_it_runs_what_is_missing_with_the_same_result(benchmark):
    out, _ = benchmark
    before = records_of(out)
    (out / "results" / FOLDER / "softmax-seed1.json").unlink()
    done = run_script("benchmark_anomaly.py", *FLAGS, "--jobs", 1, "--out", out)
    assert done.returncode == 0 and "4 trials, 1 of them to run" in done.stdout, done.stderr
    after = records_of(out)
    assert after["softmax-seed1"]["metrics"] == before["softmax-seed1"]["metrics"]
    assert all(after[name] == before[name] for name in NAMES if name != "softmax-seed1")


def test_records_of_other_settings_are_not_mixed(benchmark):
    out, _ = benchmark
    done = run_script("benchmark_anomaly.py", *FLAGS[:-3], "--epochs", 3, "--out", out)
    assert_one_line_error(done, "seed0.json", "another epochs", "--out")


@pytest.mark.parametrize(
    "interrupt",
    [
        lambda started: os.killpg(started.pid, signal.SIGINT),  # as Ctrl-C in a terminal does
        lambda started: started.terminate(),
    ],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_interrupted_it_keeps_what_is_finished_and_leaves_no_process(tmp_path, interrupt):
    command = [sys.executable, PROJECT / "benchmark_anomaly.py", *FLAGS, "--jobs", 2, "--out", tmp_path]
    started = subprocess.Popen(
        [*map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test in the background ignores it
    )
    while not records_of(tmp_path) and started.poll() is None:
        time.sleep(0.1)
    interrupt(started)
    _, printed = started.communicate(timeout=60)
    assert started.returncode == 130 and "Traceback" not in printed
    assert "interrupted: repeat the command to continue" in printed
    assert 0 < len(records_of(tmp_path)) < 4
    for _ in range(100):
        try:
            os.killpg(started.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a worker is still running")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset", "fashion-mnist", "--normal", "boots", "--anomaly", 9], ["boots", "ankle boot", "sandal"]),
        (["--normal", 7], ["--dataset"]),
        (["--dataset", "fashion-mnist", "--weights", "imagenet"], ["cnn", "mobilenetv2"]),
        (["--dataset", "fashion-mnist", "--backbone", "mobilenetv2", "--weights", "no.h5"], ["no.h5", "missing"]),
        (["--heads", "sphereface"], ["sphereface", "arcface"]),
        (["--seeds", 0], ["--seeds", "0"]),
    ],
)
def test_bad_flags_are_named(flags, words, tmp_path):
    assert_one_line_error(run_script("benchmark_anomaly.py", *flags, "--out", tmp_path), *words)


def test_without_a_network_the_weights_file_is_named(tmp_path):
    flags = ["--dataset", "fashion-mnist", "--backbone", "mobilenetv2", "--out", tmp_path]
    proxy = "http://127.0.0.1:9"  # nothing listens there
    done = run_script("benchmark_anomaly.py", *flags, https_proxy=proxy, HTTPS_PROXY=proxy, KERAS_HOME=str(tmp_path))
    assert_one_line_error(done, backbones.MOBILENET_FILE, tmp_path / "models", "--weights")


def test_mobilenetv2_reads_a_weights_file(tmp_path):
    size = (backbones.MOBILENET_SIZE,) * 2
    made = keras.applications.MobileNetV2((*size, 3), alpha=0.5, include_top=False, weights=None)
    made.save_weights(tmp_path / "own.weights.h5")
    image = keras.Input((28, 28, 1))
    network = keras.Model(image, backbones.mobilenetv2(image, str(tmp_path / "own.weights.h5")))
    assert network.output.shape == (None, 1280)
    x = np.random.default_rng(0).random((2, 28, 28, 1), dtype=np.float32)
    resized = keras.ops.repeat(keras.ops.image.resize(x, size), 3, axis=-1)
    np.testing.assert_allclose(network(x), keras.ops.mean(made(resized), axis=(1, 2)), rtol=1e-4, atol=1e-5)
    (tmp_path / "broken.h5").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"broken\.h5: no weights of MobileNetV2"):
        backbones.mobilenetv2(image, str(tmp_path / "broken.h5"))


def test_mobilenetv2_runs_a_trial(tmp_path):
    trial = trials.Trial("fashion-mnist", 7, 9, "l2softmax", 0, "mobilenetv2", "none", 1, "float32", False, True)
    _, metrics = trials.run(trial, None, tmp_path)
    recorded = trial.read_record(tmp_path)
    assert recorded["metrics"] == metrics and recorded["flags"]["recipe"]["one_cycle"] is False
    loaded = keras.saving.load_model(tmp_path / "models" / f"{trial.name}.keras")
    drawn = pairs.draw(pairs.SNEAKER_BOOT, 0, smoke=True)
    images = [drawn.x_train[drawn.is_normal], drawn.x_normal, drawn.x_anomaly]
    auroc = trials.auroc_by_scorer(*(trials.directions(loaded, x, mirrored=False) for x in images))
    assert auroc == pytest.approx(metrics["auroc"], abs=0.01)


def test_augmentation_mirrors_and_shifts_in_training_alone():
    x = np.zeros((64, 32, 32, 3), np.float32)
    x[:, 10, 20] = 1
    image = keras.Input((32, 32, 3))
    network = keras.Model(image, backbones.augment(image, backbones.recipe("cnn", "cifar10"), networks.seeds_of(0)))
    np.testing.assert_array_equal(network(x, training=False), x)
    rows, columns = np.nonzero(network(x, training=True).numpy()[..., 0])[1:]
    assert {8, 12} <= set(rows) <= set(range(8, 13))
    assert {18, 22, 9, 13} <= set(columns) <= {*range(18, 23), *range(9, 14)}  # 31 - 20 = 11 when mirrored
    digits = keras.Model(image, backbones.augment(image, backbones.recipe("cnn", "mnist"), networks.seeds_of(0)))
    np.testing.assert_array_equal(digits(x, training=True), x, "a mirrored digit is none")


def test_legacy_runs_and_is_kept_apart(tmp_path):
    flags = ["--smoke", "--legacy", "--dataset", "fashion-mnist", "--epochs", 1, "--heads", "l2softmax"]
    done = run_script("benchmark_anomaly.py", *flags, "--jobs", 1, "--out", tmp_path)
    assert done.returncode == 0 and "faults of the published code" in done.stdout, done.stderr
    (path,) = (tmp_path / "results").rglob("*.json")
    assert path == tmp_path / "results" / f"{FOLDER}-legacy" / "l2softmax-seed0.json"
    assert json.loads(path.read_text())["flags"]["legacy"]


def test_both_networks_share_their_weights_and_differ_by_the_margin():
    training, network = trials.build(TRIAL, (28, 28, 1))
    x = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    with_margin = training([x, np.array([0, 1, 2])], training=False).numpy()
    without = network(x).numpy()
    assert np.all(np.diag(with_margin) < np.diag(without))
    off_diagonal = ~np.eye(3, 9, dtype=bool)
    np.testing.assert_allclose(with_margin[off_diagonal], without[off_diagonal], rtol=1e-5)
    np.testing.assert_array_equal(network(x), network(x, training=False), "the network to use changes its images")


def test_scorers_against_numpy():
    rng = np.random.default_rng(0)
    known, normal, anomaly = (novelty.directions(rng.normal(m, 1, (50, 8))) for m in [1, 1, 0.5])
    auroc = trials.auroc_by_scorer(known, normal, anomaly)
    scores = [[-max(a @ b for b in known) for a in x] for x in [normal, anomaly]]
    wins = np.mean([[a < b for b in scores[1]] for a in scores[0]])
    assert auroc["cosine"] == pytest.approx(wins)
    for n_neighbors in [5, 20]:
        lof = neighbors.LOF(n_neighbors).fit(known)
        assert auroc[f"lof{n_neighbors}"] == novelty.auroc(lof.strangeness(normal), lof.strangeness(anomaly))

"""The scripts, chained as a user would chain them, and what they do with bad input."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time

from conftest import PROJECT, assert_one_line_error, run_script
from hypersphere import data, detectors, networks, novelty

import numpy as np
import pytest
from PIL import Image

TRAINING = {"cnn": "train_cnn_baseline.py", "l2softmax": "train_l2softmax.py"}
SCRIPTS = [*TRAINING.values(), "visualize_tsne.py", "anomaly_lof.py", "benchmark_anomaly.py"]


def record(run, name):
    return json.loads((run / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", TRAINING)
def test_training_writes_what_it_says(smoke_run, name):
    with np.load(smoke_run / "models" / f"{name}.npz", allow_pickle=False) as arrays:
        assert {key: len(arrays[f"embedding_{key}"]) for key in data.SMOKE} == data.SMOKE
        splits = dict(zip(data.SMOKE, data.load_mnist(smoke=True), strict=True))
        for key, (_, y) in splits.items():
            np.testing.assert_array_equal(arrays[f"label_{key}"], y)
        accuracy = {key: float((arrays[f"prediction_{key}"] == y).mean()) for key, (_, y) in splits.items()}
        embedding = arrays["embedding_test"]
        assert embedding.shape == (500, 64) and arrays["seed"] == 5
    written = record(smoke_run, name)
    assert written["metrics"]["accuracy"] == accuracy and accuracy["test"] > 0.7
    assert written["metrics"]["wrong"] == round(500 * (1 - accuracy["test"]))
    assert written["flags"]["seed"] == 5 and written["flags"]["epochs"] == 3 == len(written["history"])
    assert written["history"][-1]["val_accuracy"] == pytest.approx(accuracy["val"], abs=1e-6)
    assert written["seconds"] > 0 and 100 < written["peak_memory_mb"] < 4000
    assert "keras" in written["versions"] and written["machine"]["cores"] >= 1
    assert str(smoke_run) not in json.dumps(written)
    norms = np.linalg.norm(embedding, axis=1)
    assert np.allclose(norms, 12, rtol=1e-4) == (name == "l2softmax")


def test_the_networks_differ_in_the_l2_layer_alone(smoke_run):
    from hypersphere import networks

    layers = {
        name: [layer for layer in networks.load_network(smoke_run / "models" / f"{name}.keras", script).layers]
        for name, script in TRAINING.items()
    }
    kinds = {name: [type(layer).__name__ for layer in layers[name]] for name in layers}
    assert [kind for kind in kinds["l2softmax"] if kind != "Lambda"] == kinds["cnn"]
    assert kinds["l2softmax"].count("Lambda") == 1
    parameters = {sum(layer.count_params() for layer in layers[name]) for name in layers}
    assert parameters == {167_114}


def test_figures_are_pictures(smoke_run):
    names = {path.name for path in (smoke_run / "figures").iterdir()}
    assert names == {
        *(f"{name}_{kind}.png" for name in TRAINING for kind in ["curves", "mistakes"]),
        *(f"tsne{suffix}.png" for suffix in ["", "_input", "_cnn", "_l2softmax"]),
        *(f"lof_{kind}.png" for kind in ["histograms", "roc", "accepted", "rejected"]),
    }
    for name in names:
        with Image.open(smoke_run / "figures" / name) as image:
            assert min(image.size) >= 200
            assert len(set(image.convert("L").resize((64, 64)).tobytes())) > 10


def test_tsne_record_and_points(smoke_run):
    with np.load(smoke_run / "models" / "tsne.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].shape for name in ["input", "cnn", "l2softmax"]} == {
            name: (500, 2) for name in ["input", "cnn", "l2softmax"]
        }
    for numbers in record(smoke_run, "tsne")["metrics"].values():
        assert 0.6 < numbers["knn_accuracy_map"] <= 1 and 0.6 < numbers["knn_accuracy_space"] <= 1
        assert 0.8 < numbers["trustworthiness"] <= 1 and numbers["kl_divergence"] > 0


def test_lof_record_against_scikit_learn(smoke_run):
    from sklearn.neighbors import LocalOutlierFactor

    metrics = record(smoke_run, "lof")["metrics"]
    sets = ["MNIST test", "Fashion-MNIST", "CIFAR-10", "photographs"]
    assert list(metrics["l2softmax"]["normal_at_contamination"]["0.01"]) == sets
    with np.load(smoke_run / "models" / "l2softmax.npz", allow_pickle=False) as arrays:
        x_train, x_test = arrays["embedding_train"], arrays["embedding_test"]
    for contamination in [0.001, 0.01]:
        direct = LocalOutlierFactor(n_neighbors=20, novelty=True, contamination=contamination).fit(x_train)
        share = metrics["l2softmax"]["normal_at_contamination"][str(contamination)]["MNIST test"]
        assert share == np.mean(direct.predict(x_test) == 1)
    saved = novelty.load_detector(smoke_run / "models" / "lof.skops")
    np.testing.assert_allclose(saved.strangeness(x_test), -direct.score_samples(x_test), rtol=1e-5)


def test_calibrated_detector_is_saved_and_does_as_recorded(smoke_run):
    network = networks.load_network(smoke_run / "models" / "l2softmax.keras", "train_l2softmax.py")
    layered = novelty.load_detector(smoke_run / "models" / "layered_lof.skops")
    _, _, (x_test, _) = data.load_mnist(smoke=True)
    p_values = layered.p_values(detectors.side_by_side(networks.extract(network, x_test)))
    recorded = record(smoke_run, "lof")["metrics"]["layered"]["normal_at_level"]
    assert recorded["0.01"]["MNIST test"] == np.mean(p_values > 0.01) > 0.9
    assert recorded["0.01"]["CIFAR-10"] == 0  # in this run a file of noise


def test_own_outliers_are_one_more_row(smoke_run, data_folder, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(smoke_run / "models", out / "models")
    own = tmp_path / "own"
    own.mkdir()
    for i in range(3):
        Image.effect_noise((40, 40), 80).save(own / f"{i}.png")
    done = run_script("anomaly_lof.py", "--smoke", "--out", out, "--data", data_folder, "--outliers", own)
    assert done.returncode == 0, done.stderr
    assert "own folder" in record(out, "lof")["metrics"]["input"]["auroc"]
    assert "own folder" in done.stdout


def test_without_cifar10_and_network_the_row_is_left_out_or_strict_stops(smoke_run, tmp_path):
    # A proxy where nothing listens: the download fails at once, whatever network there is.
    folder = tmp_path / "data"
    (folder / "mnist").mkdir(parents=True)
    for path in (data.PROJECT_DATA / "mnist").iterdir():
        (folder / "mnist" / path.name).symlink_to(path)
    if (data.PROJECT_DATA / data.CIFAR10_FOLDER).exists():
        pytest.skip("the project's data folder holds CIFAR-10")
    out = tmp_path / "run"
    shutil.copytree(smoke_run / "models", out / "models")
    flags = ["--smoke", "--out", out, "--data", folder]
    done = run_script("anomaly_lof.py", *flags, https_proxy="http://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "CIFAR-10" not in record(out, "lof")["metrics"]["input"]["auroc"]
    assert "run again with a network" in done.stdout
    done = run_script("anomaly_lof.py", *flags, "--strict", https_proxy="http://127.0.0.1:9")
    assert_one_line_error(done, "CIFAR-10", "--data")


def test_a_killed_training_continues(tmp_path):
    command = ["--smoke", "--epochs", 6, "--batch-size", 16, "--out", tmp_path]
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "train_l2softmax.py"), *map(str, command)], stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("models/.resume-l2softmax/*/keras/training_metadata.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "models" / "l2softmax.keras").exists()
    done = run_script("train_l2softmax.py", *command)
    assert done.returncode == 0, done.stderr
    assert "Epoch 1/6" not in done.stdout and "Epoch 6/6" in done.stdout
    assert len(record(tmp_path, "l2softmax")["history"]) == 6
    assert not list(tmp_path.glob("models/.*"))


def test_two_devices_train_the_weights_of_one(tmp_path):
    weights = []
    for devices in ["1", "2"]:
        out = tmp_path / devices
        flags = ["--smoke", "--epochs", 1, "--precision", "float32", "--devices", devices, "--out", out]
        done = run_script("train_l2softmax.py", *flags)
        assert done.returncode == 0, done.stderr
        trained = networks.load_network(out / "models" / "l2softmax.keras", "train_l2softmax.py")
        weights.append(trained.get_weights())
    for one, two in zip(*weights, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-5)
    assert any(np.any(one != two) for one, two in zip(*weights, strict=True))  # sums in another order


@pytest.mark.parametrize("flags", [["--alfa", "3"], ["--alpha", "0"], ["--epochs", "0"]])
def test_bad_flags(flags, tmp_path):
    done = run_script("train_l2softmax.py", *flags, "--out", tmp_path / "new")
    assert_one_line_error(done, flags[0], "--help")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("script", ["train_cnn_baseline.py", "visualize_tsne.py"])
def test_bad_data_folder_and_bad_out(script, tmp_path):
    done = run_script(script, "--smoke", "--out", tmp_path / "run", "--data", tmp_path)
    assert_one_line_error(done, tmp_path, "--data")
    (tmp_path / "file").write_text("in the way")
    done = run_script(script, "--smoke", "--out", tmp_path / "file")
    assert_one_line_error(done, tmp_path / "file", "--out")


def test_damaged_data_file(tmp_path):
    shutil.copytree(data.PROJECT_DATA / "mnist", tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100_000])
    done = run_script("train_cnn_baseline.py", "--smoke", "--out", tmp_path / "run", "--data", tmp_path)
    assert_one_line_error(done, path, "truncated")
    path.unlink()
    done = run_script("train_cnn_baseline.py", "--smoke", "--out", tmp_path / "run", "--data", tmp_path)
    assert_one_line_error(done, path, "missing")


def test_missing_and_damaged_models(smoke_run, data_folder, tmp_path):
    flags = ["--smoke", "--out", tmp_path, "--data", data_folder]
    for script in ["visualize_tsne.py", "anomaly_lof.py"]:
        assert_one_line_error(run_script(script, *flags), "missing; run train_cnn_baseline.py first")
    shutil.copytree(smoke_run / "models", tmp_path / "models", dirs_exist_ok=True)
    (tmp_path / "models" / "l2softmax.npz").write_bytes(b"PK\x03\x04 no archive")
    assert_one_line_error(run_script("visualize_tsne.py", *flags), "l2softmax.npz", "run train_l2softmax.py again")
    (tmp_path / "models" / "cnn.keras").write_bytes(b"no model")
    assert_one_line_error(run_script("anomaly_lof.py", *flags), "cnn.keras", "run train_cnn_baseline.py again")
    assert not list(tmp_path.glob("results/*"))


def test_embeddings_of_other_images(smoke_run, tmp_path):
    done = run_script("visualize_tsne.py", "--out", smoke_run)  # all of MNIST, but a smoke run's models
    assert_one_line_error(done, "cnn.npz", "other test images")


def test_a_disk_that_fills_up_leaves_the_good_files(smoke_run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(smoke_run, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def limit():  # no file may grow beyond this: writing fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = [sys.executable, str(PROJECT / "train_cnn_baseline.py"), "--smoke", "--epochs", "1", "--out", str(out)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert_one_line_error(done, out, "cannot write", "--out")
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and ".resume-" not in str(path)}
    assert after == before


@pytest.mark.parametrize("script", ["visualize_tsne.py", "benchmark_anomaly.py"])
def test_help_is_the_header(script):
    done = run_script(script, "--help")
    header = (PROJECT / script).read_text().split('"""')[1]
    assert done.returncode == 0
    assert " ".join(header.split()) in " ".join(done.stdout.split())


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_flat_percent_cells(script):
    import ast

    source = (PROJECT / script).read_text()
    assert not [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert source.count("\n# %% ") >= 4

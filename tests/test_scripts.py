"""The four scripts, chained as a user would chain them, and what they do with bad input."""

import ast
import difflib
import functools
import json
import re
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import distance
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import normalize

from conftest import PROJECT, assert_one_line_error, run, run_python, run_script
from experiments import article1, building
from hypersphere import datasets, detectors, features, files, networks
from hypersphere.errors import InputError

TRAINING = {"cnn": "train_cnn_baseline.py", "l2softmax": "train_l2softmax.py"}
SCRIPTS = [*TRAINING.values(), "visualize_tsne.py", "anomaly_lof.py"]
needs_make = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def record(run_folder, name):
    return json.loads((run_folder / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", TRAINING)
def test_training_writes_what_it_says(smoke_run, name):
    splits = dict(zip(datasets.SMOKE, datasets.load_mnist(smoke=True), strict=True))
    label = {f"label_{key}": y for key, (_, y) in splits.items()}
    arrays = files.load_arrays(smoke_run / "models" / f"{name}.npz", "run again", label)
    accuracy = {key: float((arrays[f"prediction_{key}"] == y).mean()) for key, (_, y) in splits.items()}
    written = record(smoke_run, name)
    assert written["metrics"]["accuracy"] == accuracy and accuracy["test"] > 0.6
    assert written["metrics"]["wrong"] == round(500 * (1 - accuracy["test"]))
    assert written["settings"]["seed"] == 5 and written["settings"]["epochs"] == 3 == len(written["history"])
    assert written["history"][-1]["val_accuracy"] == pytest.approx(accuracy["val"], abs=1e-6)
    assert str(smoke_run) not in json.dumps(written), "a record names no folder"
    norms = np.linalg.norm(arrays["embedding_test"], axis=1)
    assert np.allclose(norms, 12, rtol=1e-4) == (name == "l2softmax")


def test_the_twin_scripts_differ_in_the_l2_layer_and_in_words():
    code = []
    for script in TRAINING.values():
        tree = ast.parse((PROJECT / script).read_text())
        del tree.body[0]  # the docstring
        code.append(ast.unparse(tree).splitlines())
    changed = [line for line in difflib.ndiff(*code) if line[0] in "+-"]
    assert len(changed) == 9 and all(re.search("import|TITLE|alpha|embedding|x = ", line) for line in changed)


def test_figures_are_pictures(smoke_run):
    paths = list((smoke_run / "figures").iterdir())
    drawn = "curves cnn_mistakes l2softmax_mistakes tsne features samples lof_idea lof_histograms lof_roc lof_gallery"
    assert {path.stem for path in paths} == set(drawn.split())
    assert all(len(set(Image.open(path).convert("L").resize((64, 64)).tobytes())) > 10 for path in paths)


def test_tsne_maps_norms_and_cosines_of_the_features(smoke_run):
    maps = files.load_arrays(smoke_run / "models" / "tsne.npz", "run again")
    assert {maps[name].shape for name in ["input", "cnn", "l2softmax"]} == {(500, 2)}
    metrics, arrays = record(smoke_run, "tsne")["metrics"], files.load_arrays(smoke_run / "models" / "cnn.npz", "")
    for numbers in metrics.values():
        assert 0.5 < numbers["knn_accuracy_map"] <= 1 and 0.5 < numbers["knn_accuracy_space"] <= 1
        assert 0.8 < numbers["trustworthiness"] <= 1 and numbers["kl_divergence"] > 0
    norm, loss = np.linalg.norm(arrays["embedding_test"], axis=1), arrays["loss_test"]
    assert metrics["cnn"]["norm_by_loss"][0] == pytest.approx(norm[np.argsort(loss)[:50]].mean(), rel=1e-4)
    is_wrong = arrays["prediction_test"] != arrays["label_test"]
    smaller = np.mean(norm[is_wrong][:, np.newaxis] < norm[~is_wrong])
    assert metrics["cnn"]["norm_auroc"] == pytest.approx(smaller, abs=1e-6)
    assert loss.min() >= 0 and loss[is_wrong].min() > np.log(2), "the right digit has less than half"
    for numbers in [metrics["cnn"], metrics["l2softmax"]]:
        assert numbers["cosine_gap"] == numbers["cosine_within"] - numbers["cosine_between"]
        assert -1 < numbers["cosine_between"] < 1 and -1 < numbers["cosine_within"] < 1
    x, label = arrays["embedding_test"][::5], arrays["label_test"]
    is_same, cosine = label[::5, np.newaxis] == label[::5], 1 - distance.cdist(x, x, "cosine")
    within, between = np.sort(cosine[is_same & ~np.eye(100, dtype=bool)]), np.sort(cosine[~is_same])
    gap = within[len(within) // 20] - between[-(len(between) // 20)]
    assert metrics["cnn"]["cosine_gap"] == pytest.approx(gap, abs=0.02)
    nearest = distance.cdist(maps["cnn"], maps["cnn"]).argsort(axis=1)[:, 1:11]
    assert metrics["cnn"]["stray"] == np.sum((label[nearest] != label[:, np.newaxis]).sum(axis=1) > 5)


def test_lof_record_against_scikit_learn(smoke_run):
    metrics = record(smoke_run, "lof")["metrics"]["l2softmax"]
    assert "own folder" in metrics["auroc"], "one's own images are one more set"
    arrays = files.load_arrays(smoke_run / "models" / "l2softmax.npz", "run again")
    plain = files.load_arrays(smoke_run / "models" / "cnn.npz", "run again")
    x_train, x_test = (normalize(plain[f"embedding_{split}"]) for split in ["train", "test"])
    lof = LocalOutlierFactor(n_neighbors=20, novelty=True, contamination=0.01).fit(x_train[:1000])
    shares = record(smoke_run, "lof")["metrics"]["cnn_directions"]["accepted_at_contamination"]["0.01"]
    assert shares["MNIST test"] == pytest.approx(np.mean(lof.predict(x_test) == 1), abs=0.005)
    x_train, x_test = arrays["embedding_train"][:1000], arrays["embedding_test"]  # --lof-images 1000
    for contamination in [0.001, 0.01]:
        direct = LocalOutlierFactor(n_neighbors=20, novelty=True, contamination=contamination).fit(x_train)
        share = metrics["accepted_at_contamination"][str(contamination)]["MNIST test"]
        assert share == np.mean(direct.predict(x_test) == 1)
    assert metrics["accepted_at_rejection"]["0.04"]["MNIST test"] == pytest.approx(0.96)
    saved = detectors.load_detector(smoke_run / "models" / "lof.skops", "run again")
    np.testing.assert_array_equal(saved.score_samples(x_test), direct.score_samples(x_test))


def test_lof_is_fitted_to_more_and_fewer_images(smoke_run, data_folder):
    settings = {"smoke": True, "input_space": True}
    shares = article1.accepted_by_images(smoke_run / "models", settings, data_folder)
    assert set(shares) == {"input", *article1.NETWORKS} and set(shares["cnn"]) == {"1000", "2000"}
    script = record(smoke_run, "lof")["metrics"]  # which LOF saw 1,000 of
    for space in shares:
        for name in ["Fashion-MNIST", "CIFAR-10"]:
            expected = script[space]["accepted_at_rejection"]["0.04"][name]
            assert shares[space]["1000"]["0.04"][name] == pytest.approx(expected, abs=0.01)


def test_the_calibrated_detector_is_saved_and_does_as_recorded(smoke_run):
    network = networks.load_network(smoke_run / "models" / "l2softmax.keras", "run again")
    layered = detectors.load_detector(smoke_run / "models" / "layered_detector.skops", "run again")
    _, _, (x_test, _) = datasets.load_mnist(smoke=True)
    p_values = layered.p_values(detectors.side_by_side(features.extract(network, x_test), features.LAYERS))
    recorded = record(smoke_run, "lof")["metrics"]["layered"]["accepted_at_level"]
    assert recorded["0.01"]["MNIST test"] == np.mean(p_values > 0.01) > 0.9
    assert recorded["0.01"]["CIFAR-10"] == 0, "in this run a file of noise"


def test_without_cifar10_its_column_is_left_out_or_strict_stops(smoke_run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10_URL", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setattr(datasets, "CIFAR10_FOLDER", "not-here")
    out = tmp_path / "run"
    shutil.copytree(smoke_run / "models", out / "models")
    printed = run("anomaly_lof.py", "--smoke", "--out", out, "--lof-images", 0)
    assert not (out / "models" / "layered_detector.skops").exists(), "an earlier run's, perhaps of another network"
    assert "CIFAR-10" not in record(out, "lof")["metrics"]["l2softmax"]["auroc"]
    assert record(out, "lof")["settings"]["cifar10_train_sha256"] is None and "run again with a network" in printed
    with pytest.raises(datasets.DownloadError, match="into a folder that you name"):
        run("anomaly_lof.py", "--smoke", "--strict", "--out", out)


def test_missing_and_damaged_models(smoke_run, tmp_path, capsys):
    for script in ["visualize_tsne.py", "anomaly_lof.py"]:
        with pytest.raises(InputError, match=r"missing; run train_cnn_baseline\.py"):
            run(script, "--smoke", "--out", tmp_path)
    shutil.copytree(smoke_run, tmp_path, dirs_exist_ok=True)
    with pytest.raises(InputError, match=r"cnn\.npz: another label_test.*; run train_cnn_baseline\.py"):
        run("visualize_tsne.py", "--out", tmp_path)  # all of MNIST, but a smoke run's models
    (tmp_path / "models" / "l2softmax.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match=r"l2softmax\.npz: damaged; run train_l2softmax\.py"):
        run("visualize_tsne.py", "--smoke", "--out", tmp_path)
    with pytest.raises(SystemExit):
        run("anomaly_lof.py", "--smoke", "--out", tmp_path, "--lof-images", 20)
    assert "--lof-images 20: give more than --n-neighbors, 20, or 0" in capsys.readouterr().err
    (tmp_path / "models" / "cnn.keras").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"cnn\.keras: not a network .* run train_cnn_baseline\.py"):
        run("anomaly_lof.py", "--smoke", "--out", tmp_path)


def test_files_of_different_trainings_are_refused(smoke_run, tmp_path):
    """As a kill between two files leaves them: an old one beside a new one."""
    run("train_cnn_baseline.py", "--smoke", "--epochs", 1, "--out", tmp_path / "old")
    every = ["anomaly_lof.py", "visualize_tsne.py"]
    readers = {"models/cnn.keras": every[:1], "models/cnn.npz": every, "results/cnn.json": every[1:]}
    for file, scripts in readers.items():
        out = tmp_path / file.replace("/", "-")
        shutil.copytree(smoke_run, out)
        shutil.copy(tmp_path / "old" / file, out / file)
        for script in scripts:
            with pytest.raises(InputError, match=r"cnn\.npz: another network.*; run train_cnn_baseline\.py"):
                run(script, "--smoke", "--out", out)


def test_the_study_chooses_for_the_scripts_network(smoke_run):
    script = networks.load_network(smoke_run / "models" / "l2softmax.keras", "run the test again")
    *_, network = building.build(article1.CANDIDATES["10 epochs"], (28, 28, 1), 10, seed=0)
    shapes = [[weights.shape for weights in model.get_weights()] for model in (script, network)]
    assert shapes[0] == shapes[1]


@pytest.mark.slow
def test_all_images_another_perplexity_and_the_test_split(smoke_run, data_folder, tmp_path):
    shutil.copytree(smoke_run, tmp_path, dirs_exist_ok=True)
    run("visualize_tsne.py", "--smoke", "--out", tmp_path, "--all", "--perplexity", 5)
    maps = files.load_arrays(tmp_path / "models" / "tsne_all.npz", "run again")
    assert {maps[name].shape for name in ["input", "cnn", "l2softmax"]} == {(3000, 2)}
    assert (tmp_path / "figures" / "tsne_all.png").is_file()
    assert record(tmp_path, "tsne_all")["settings"]["perplexity"] == 5
    run("anomaly_lof.py", "--smoke", "--out", tmp_path, "--data", data_folder, "--lof-images", 500, "--split", "test")
    settings = record(tmp_path, "lof")["settings"]
    assert settings["cifar10_sha256"] == datasets.cifar10_sha256(data_folder, "test")
    assert "cifar10_train_sha256" not in settings


@pytest.mark.slow
def test_article_2_in_one_draw(tmp_path):
    printed = run("anomaly_heads.py", "--smoke", "--heads", "arcface", "--out", tmp_path)
    ours = record(tmp_path, "anomaly_heads")["metrics"]["arcface"]["auroc"]["cosine"]
    assert f"ArcFace: AUROC by largest cosine {ours:.3f}" in printed and ours > 0.6
    assert "by largest cosine 0.934 (mean of ten draws)" in printed
    names = {f"heads_{name}.png" for name in ["samples", "angles", "scores", "maps"]}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names


@pytest.mark.parametrize("script", [*SCRIPTS, "anomaly_heads.py"])
def test_help_says_how_to_run_a_script_and_what_it_writes(script):
    with pytest.raises(SystemExit) as ended:
        run(script, "--help")
    header = ast.get_docstring(ast.parse((PROJECT / script).read_text(encoding="utf-8")))
    assert ended.value.code == 0 and f"python {script}" in header and "Writes" in header


@pytest.mark.parametrize("page", ["README.md", "docs/extending.md"])
def test_the_pages_examples_run_in_order(page, smoke_run, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    images = {name: rng.random((n, 28, 28, 1)) for name, n in [("x_train", 600), ("x_held_out", 200), ("x_new", 5)]}
    names = images | {"y_train": rng.integers(0, 10, 600)}
    monkeypatch.chdir(smoke_run)  # where some expect what `make` writes
    monkeypatch.setattr(datasets, "load_mnist", functools.partial(datasets.load_mnist, smoke=True))
    examples = re.findall(r"```python\n(.*?)```", (PROJECT / page).read_text(encoding="utf-8"), re.DOTALL)
    for code in examples:
        exec(compile(code, page, "exec"), dict(names))
    assert examples and capsys.readouterr().out


@pytest.mark.slow
def test_a_process_of_its_own_prints_little(tmp_path):
    done = run_script("train_cnn_baseline.py", "--smoke", "--epochs", 1, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert len(done.stdout.split("\n")) <= 7, done.stdout  # the progress line stands there at its start and end


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_good_files(smoke_run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(smoke_run, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def limit():  # no file may grow beyond this: writing fails as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    command = [sys.executable, str(PROJECT / "train_cnn_baseline.py"), "--smoke", "--epochs", "1", "--out", str(out)]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    assert_one_line_error(done, out, "cannot write")
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert after == before


def test_scripts_start_whatever_keras_is_set_to(tmp_path):
    done = run_script("train_cnn_baseline.py", "--smoke", "--out", tmp_path, KERAS_BACKEND="jax")
    assert_one_line_error(done, "KERAS_BACKEND=jax", "TensorFlow")
    (tmp_path / "keras.json").write_text('{"image_data_format": "channels_first", "floatx": "float64"}')
    flags = ["--smoke", "--epochs", 1, "--out", tmp_path]
    done = run_script("train_l2softmax.py", *flags, KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert files.load_arrays(tmp_path / "models" / "l2softmax.npz", "")["embedding_test"].dtype == np.float32


def test_no_standard_error_is_needed():
    code = "from common import cli; from hypersphere import ArcFace; cli.start(); print(ArcFace(3).num_classes)"
    assert run_python(f"import os; os.close(2); {code}") == "3"


@pytest.fixture
def clone(tmp_path):
    """A copy of what `make` needs, with an environment that is set up already."""
    for name in ["Makefile", "requirements.txt", *SCRIPTS]:
        shutil.copy(PROJECT / name, tmp_path)
    for name in ["common", "hypersphere", "experiments"]:
        shutil.copytree(PROJECT / name, tmp_path / name)
    (tmp_path / "data").symlink_to(datasets.CLONE_DATA)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ["python", "../run"]:
        (tmp_path / ".venv" / "bin" / name).touch()
    return tmp_path


def make(folder, *flags):
    """Run `make` with this interpreter; returns what it prints."""
    command = ["make", f"PY={sys.executable}", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_make
def test_make_runs_a_stage_only_when_it_must(clone):
    def planned(*flags):
        printed = make(clone, "--dry-run", *flags)
        return [script for script in SCRIPTS if script in printed]

    assert planned() == planned("FLAGS=--smoke") == SCRIPTS
    for out in ["results", "elsewhere/results"]:
        (clone / out).mkdir(parents=True)
        for name in ["cnn", "l2softmax", "tsne", "lof"]:
            (clone / out / f"{name}.json").touch()
    assert planned() == planned("FLAGS=--verbose --out elsewhere") == planned("FLAGS=--out=elsewhere") == []
    assert planned("FLAGS=--smoke") == planned("TRAIN=--epochs 5") == planned("-W", "common/training.py") == SCRIPTS
    assert planned("-W", "train_cnn_baseline.py") == ["train_cnn_baseline.py", "visualize_tsne.py", "anomaly_lof.py"]
    assert planned("-W", "common/plots.py") == ["visualize_tsne.py", "anomaly_lof.py"]
    (clone / "results" / "lof.json").write_text('"missing": "CIFAR-10 cannot be downloaded"')
    assert planned() == ["anomaly_lof.py"], "CIFAR-10 may be there now"


@needs_make
@pytest.mark.slow
def test_make_with_flags_ends_with_the_tables(clone, data_folder):
    flags = f"FLAGS=--smoke --data {data_folder}"
    printed = make(clone, "-j2", flags, "TRAIN=--epochs 1 --seed 3")
    assert all(words in printed for words in ["## this run", "## lof", "a smoke run", "curves.png"])
    settings = [record(clone / "runs" / "smoke", name)["settings"] for name in ["cnn", "l2softmax", "lof"]]
    assert [each["seed"] for each in settings] == [3, 3, 3] and settings[0]["epochs"] == 1
    assert "wrote" not in make(clone, flags), "nothing has changed"

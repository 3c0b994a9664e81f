"""The sweep runner: workers that die, records that fit, and a cluster, with a real Dask scheduler and workers."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from argparse import Namespace

import pytest

from common import records
from conftest import PROJECT, assert_one_line_error, run_script
from experiments import sweep
from hypersphere import datasets
from hypersphere.errors import InputError

PATH = [PROJECT, PROJECT / "tests"]
FLAGS = ["--smoke", "--dataset", "fashion-mnist", "--draws", 1, "--epochs", 1, "--heads", "softmax", "arcface"]
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, PATH))  # workers find the study


def sweep_of(trials, out, dask=None, data=None):
    (out / "results").mkdir(parents=True, exist_ok=True)
    return sweep.run("counting", trials, Namespace(out=out, data=data, jobs=2, dask=dask))


def lines(out):
    return records.read_records(out / "results" / "counting.jsonl")


def deadly(tmp_path, times):
    """Settings of a trial whose process is killed so often."""
    (tmp_path / "deadly").write_text(str(times))
    return {"deadly": str(tmp_path / "deadly")}


def test_each_trial_leaves_one_line_and_is_never_run_again(tmp_path, capfd):
    trials = {str(number): {"seed": number} for number in range(3)}
    assert [record["name"] for record in sweep_of(trials, tmp_path)] == list(trials)
    before = lines(tmp_path)
    sweep_of(trials | {"3": {"seed": 3}}, tmp_path)
    assert lines(tmp_path)[:3] == before and len(lines(tmp_path)) == 4
    assert "4 trials, 1 of them to run" in capfd.readouterr().out


def test_records_keep_no_path_of_this_machine_and_go_on_on_another(tmp_path):
    for folder in ["here", "there"]:
        sweep_of({"a": {"weights": str(tmp_path / folder / "own.h5"), "weights_sha256": "0"}}, tmp_path)
    settings = {"weights": "own.h5", "weights_sha256": "0", "precision": "float32"}
    assert [record["settings"] for record in lines(tmp_path)] == [settings]
    with pytest.raises(InputError, match="a was made with another weights_sha256; give another --out"):
        sweep_of({"a": {"weights": "own.h5", "weights_sha256": "1"}}, tmp_path)


def test_a_trial_with_another_cifar10_is_refused(tmp_path, data_folder):
    with pytest.raises(InputError, match="another CIFAR-10"):
        sweep_of({"a": {"cifar10_sha256": "0" * 64}}, tmp_path, data=data_folder)
    sweep_of({"a": {"cifar10_sha256": datasets.cifar10_sha256(data_folder)}}, tmp_path, data=data_folder)


def test_a_killed_process_is_replaced_but_not_again_and_again(tmp_path, capfd, monkeypatch):
    assert len(sweep_of({"0": {}, "1": deadly(tmp_path, sweep.ATTEMPTS - 1), "2": {}}, tmp_path)) == 3
    assert "a worker was killed" in capfd.readouterr().out
    monkeypatch.setattr(sweep, "ATTEMPTS", 1)
    with pytest.raises(InputError, match="--jobs"):
        sweep_of({"3": deadly(tmp_path, 99)}, tmp_path)


def test_a_nearly_full_disk_leaves_whole_lines(tmp_path):
    path, limits = tmp_path / "x.jsonl", resource.getrlimit(resource.RLIMIT_FSIZE)
    records.append_record(path, {"name": "a"})
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, limits[1]))
    try:
        with pytest.raises(InputError, match=f"{path}: cannot write"):
            records.append_record(path, {"name": "b" * 100})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == '{"name": "a"}\n'


@contextlib.contextmanager
def started(module, *flags, folders):
    """A process of Dask's with these folders on its path, ended afterwards with those that it started."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *map(str, flags)]
    options = {"start_new_session": True, "stderr": subprocess.DEVNULL, "cwd": PROJECT.anchor}
    with subprocess.Popen(command, env=environment, **options) as process:
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def cluster(folder, threads=1, workers=2, scheduler=PATH, worker=PATH):
    """A scheduler on loopback with its workers; gives its address."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    file = folder / "scheduler.json"
    flags = ["--scheduler-file", file, "--nthreads", threads, "--nworkers", workers, "--local-directory", folder]
    with (
        started("dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file, folders=scheduler),
        started("dask_worker", *flags, folders=worker),  # it waits for the file
        distributed.Client(scheduler_file=file, timeout=120) as client,
    ):
        client.wait_for_workers(workers, timeout=120)
        yield client.scheduler.address


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.mark.slow
def test_a_cluster_gives_the_same_records_as_this_machine(address, tmp_path):
    made = []
    for place, flags in [("here", ["--jobs", 1]), ("cluster", ["--dask", address])]:
        done = run_script("experiments.article2", *FLAGS, *flags, "--out", tmp_path / place)
        assert done.returncode == 0, done.stderr
        found = records.read_records(tmp_path / place / "results" / "article2.jsonl")
        made.append({record["name"]: (record["metrics"], record["loss"]) for record in found})
    assert made[0] == made[1] and len(made[0]) == 2


@pytest.mark.slow
def test_a_killed_workers_trial_runs_again_on_another_unless_it_kills_them_all(address, tmp_path):
    sweep_of({"0": {}, "1": deadly(tmp_path, 1), "2": {}}, tmp_path, address)
    assert sorted(line["name"] for line in lines(tmp_path)) == ["0", "1", "2"]
    assert (tmp_path / "models" / "counting" / "1.txt").read_text() == "1"
    with pytest.raises(InputError, match=r"3: .*see the workers' logs"):
        sweep_of({"3": deadly(tmp_path, 99)}, tmp_path, address)


@pytest.mark.slow
def test_what_cannot_run_trials_is_refused(address, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no scheduler answers"):
        sweep_of({"0": {}}, tmp_path, "tcp://127.0.0.1:9")
    refused = pytest.raises(InputError, match=r"not of one thread each; .*--nthreads 1")
    with cluster(tmp_path, threads=2, workers=1) as other, refused:
        sweep_of({"0": {}}, tmp_path, other)
    monkeypatch.setattr(sweep, "PROJECT", tmp_path)  # so that this machine's code is another
    with pytest.raises(InputError, match="another version"):
        sweep_of({"0": {}}, tmp_path, address)


@pytest.mark.slow
@pytest.mark.parametrize("outside", ["scheduler", "worker"])
def test_what_runs_outside_a_clone_is_refused(outside, tmp_path):
    with cluster(tmp_path, workers=1, **{outside: []}) as address:
        done = run_script("experiments.article2", *FLAGS, "--dask", address, "--out", tmp_path)
        assert_one_line_error(done, address, "cannot load this project")

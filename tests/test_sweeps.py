"""Sweeps: workers that die, and a cluster, with a real Dask scheduler and two worker processes."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from conftest import PROJECT, assert_one_line_error, run_script
from hypersphere import seeds, sweeps
from hypersphere.errors import InputError

import pytest

PATH = [PROJECT, PROJECT / "tests"]
FLAGS = ["--smoke", "--dataset", "fashion-mnist", "--seeds", 2, "--epochs", 2, "--heads", "softmax", "arcface"]


@dataclass(frozen=True)
class Task(sweeps.Trial):
    """A trial that writes down its process, and dies if the file `deadly` is there; it takes it with it once."""

    number: int
    deadly: str = ""
    every_time: bool = False

    @property
    def name(self):
        return f"tasks/{self.number}"


def run_task(task, folder, out):
    time.sleep(0.3)
    deadly = Path(task.deadly)
    if task.deadly and deadly.exists():
        if not task.every_time:
            deadly.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    path = task.record_path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"flags": task.flags, "metrics": {"process": os.getpid()}}))
    return task, {"process": os.getpid()}


def sweep(tasks, out, dask=None):
    args = argparse.Namespace(out=out, data=None, jobs=2, dask=dask)
    sweeps.run(run_task, tasks, args, lambda metrics: f"process {metrics['process']}")


@contextlib.contextmanager
def started(module, *flags, folders):
    """A process of Dask's with these folders on its path, ended afterwards with those that it started."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-m", f"distributed.cli.{module}", "--no-dashboard", *map(str, flags)]
    quiet = {"stderr": subprocess.DEVNULL, "cwd": PROJECT.anchor}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition, seconds=60):
    for _ in range(10 * seconds):
        if result := condition():
            return result
        time.sleep(0.1)
    raise TimeoutError


@contextlib.contextmanager
def cluster(folder, threads=1, workers=2, scheduler=PATH, worker=PATH):
    """A scheduler on loopback with its workers; gives its address."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    file = folder / "scheduler.json"
    with started("dask_scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file, folders=scheduler):
        address = json.loads(wait_for(lambda: file.exists() and file.read_text()))["address"]
        flags = [address, "--nthreads", threads, "--nworkers", workers, "--local-directory", folder]
        with started("dask_worker", *flags, folders=worker), distributed.Client(address) as client:
            wait_for(lambda: len(client.nthreads()) == workers)
            yield address


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


def test_a_cluster_gives_the_same_records_as_this_machine(address, tmp_path):
    for place, flags in [("here", ["--jobs", 1]), ("cluster", ["--dask", address])]:
        done = run_script("benchmark_anomaly.py", *FLAGS, *flags, "--out", tmp_path / place)
        assert done.returncode == 0, done.stderr
    files = [sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.json"))]
    files.append(sorted(path.relative_to(tmp_path / "cluster") for path in (tmp_path / "cluster").rglob("*.json")))
    assert files[0] == files[1] and len(files[0]) == 4
    for file in files[0]:
        here, there = (json.loads((tmp_path / place / file).read_text()) for place in ["here", "cluster"])
        assert here["metrics"] == there["metrics"] and here["loss"] == there["loss"]
    assert len(list((tmp_path / "cluster" / "models").rglob("*.keras"))) == 2  # the files come back too


def test_a_killed_workers_trial_runs_again_on_another(address, tmp_path, capsys):
    deadly = tmp_path / "deadly"
    deadly.touch()
    tasks = [Task(0), Task(1, str(deadly)), Task(2)]
    sweep(tasks, tmp_path, address)
    assert not deadly.exists() and all(task.is_recorded(tmp_path) for task in tasks)
    assert "3 of 3: tasks/" in capsys.readouterr().out
    sweep([*tasks, Task(3)], tmp_path, address)
    assert "4 trials, 1 of them to run" in (printed := capsys.readouterr().out) and "4 of 4: tasks/3" in printed


def test_a_trial_that_kills_every_worker_ends_the_sweep(address, tmp_path):
    deadly = tmp_path / "deadly"
    deadly.touch()
    with pytest.raises(InputError, match="tasks/1 killed every worker"):
        sweep([Task(0), Task(1, str(deadly), every_time=True)], tmp_path, address)
    assert Task(0).is_recorded(tmp_path)


def test_a_killed_process_of_this_machine_is_replaced(tmp_path, capsys):
    deadly = tmp_path / "deadly"
    deadly.touch()
    tasks = [Task(0), Task(1, str(deadly)), Task(2), Task(3)]
    sweep(tasks, tmp_path)
    assert all(task.is_recorded(tmp_path) for task in tasks)
    assert "a worker was killed" in capsys.readouterr().out
    deadly.touch()
    with pytest.raises(InputError, match="--jobs"):
        sweep([Task(4, str(deadly), every_time=True)], tmp_path)


def test_workers_of_several_threads_are_refused(tmp_path):
    with cluster(tmp_path, threads=2, workers=1) as address:
        done = run_script("benchmark_anomaly.py", *FLAGS, "--dask", address, "--out", tmp_path)
        assert_one_line_error(done, address, "[2] threads", "--nthreads 1")


def test_workers_of_another_version_are_refused(address, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "SCRIPTS", {})
    with pytest.raises(InputError, match="another version"):
        sweep([Task(0)], tmp_path, address)


def test_workers_without_this_machines_cifar10_are_refused(address, data_folder, monkeypatch):
    sweeps.fetch_cifar10(argparse.Namespace(data=data_folder, dask=address))
    monkeypatch.setenv("HYPERSPHERE_DATA", str(data_folder))
    with pytest.raises(InputError, match="CIFAR-10"):
        sweeps.fetch_cifar10(argparse.Namespace(data=None, dask=address))


@pytest.mark.parametrize("outside", ["scheduler", "worker"])
def test_what_runs_outside_a_clone_is_refused(outside, tmp_path):
    with cluster(tmp_path, workers=1, **{outside: []}) as address:
        done = run_script("benchmark_anomaly.py", *FLAGS, "--dask", address, "--out", tmp_path)
        assert_one_line_error(done, address, outside, "PYTHONPATH=.")


def test_a_scheduler_that_is_not_there_is_named(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed")
    done = run_script("benchmark_anomaly.py", *FLAGS, "--dask", "tcp://127.0.0.1:9", "--out", tmp_path)
    assert_one_line_error(done, "tcp://127.0.0.1:9", "dask scheduler")


def test_a_killed_script_of_article_1_runs_again(tmp_path, monkeypatch):
    commands = []

    def killed(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, -signal.SIGKILL, "", "")

    monkeypatch.setattr(seeds.subprocess, "run", killed)
    with pytest.raises(InputError, match="was killed"):
        seeds.run(seeds.Trial(0, "float32", True), None, tmp_path)
    assert len(commands) == sweeps.ATTEMPTS and commands[0] == commands[-1]


def test_seeds_of_article_1(tmp_path, data_folder):
    flags = ["--smoke", "--seeds", 1, "--data", data_folder, "--out", tmp_path]
    done = run_script("benchmark_seeds.py", *flags)
    assert done.returncode == 0 and "1 of 1: seeds/seed0" in done.stdout, done.stderr
    folder = tmp_path / "results" / "seeds" / "seed0"
    assert sorted(path.name for path in folder.iterdir()) == sorted(seeds.RECORDS)
    assert "| the sphere " in done.stdout
    again = run_script("benchmark_seeds.py", *flags)
    assert again.returncode == 0 and "1 trials, 0 of them to run" in again.stdout
    (folder / "l2softmax.json").unlink()
    done = run_script("benchmark_seeds.py", *flags, "--data", tmp_path / "nowhere")
    assert_one_line_error(done, "nowhere")

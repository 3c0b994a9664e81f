"""Flags, files written whole, and records."""

import json
import subprocess
import sys
import time
from pathlib import Path

from hypersphere import runs
from hypersphere.errors import InputError

import numpy as np
import pytest


def parse(monkeypatch, *flags):
    monkeypatch.setattr("sys.argv", ["script.py", *map(str, flags)])
    parser = runs.Parser("What it does.")
    parser.add_argument("--seed", type=runs.seed_number, default=0)
    parser.add_argument("--epochs", type=runs.positive_int, default=1)
    parser.add_argument("--alpha", type=runs.positive_float, default=16.0)
    parser.add_argument("--weight-decay", type=runs.non_negative_float, default=0.1)
    return parser.parse()


def test_flags(monkeypatch, tmp_path):
    args = parse(monkeypatch, "--seed", 3, "--alpha", "2.5", "--weight-decay", 0, "--out", tmp_path / "run")
    assert (args.seed, args.epochs, args.alpha, args.weight_decay) == (3, 1, 2.5, 0)
    assert sorted(path.name for path in args.out.iterdir()) == ["figures", "models", "results"]
    assert not list(args.out.rglob(".*"))


def test_a_smoke_run_never_lands_on_a_real_one(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "PROJECT", tmp_path)
    assert parse(monkeypatch, "--smoke").out == tmp_path / "runs" / "smoke"
    assert parse(monkeypatch).out == tmp_path


@pytest.mark.parametrize(
    "flags",
    [
        ["--alph", "3"],
        ["--alpha", "-1"],
        ["--alpha", "nan"],
        ["--alpha", "inf"],
        ["--alpha", "x"],
        ["--epochs", "0"],
        ["--epochs", "1.5"],
        ["--epochs", "-2"],
        ["--weight-decay", "-0.1"],
        ["--seed", "-1"],
        ["--seed", "2147483648"],
    ],
)
def test_bad_flags_are_named_in_one_line(flags, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(monkeypatch, *flags)
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert message.count("\n") == 1 and flags[0] in message


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(InputError, match="cannot write"), runs.replacing(path) as beside:
        beside.write_text("half of the n")
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyboardInterrupt), runs.replacing(path) as beside:
        beside.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with runs.replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_noticed_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "LEAST_FREE", 10**18)
    with pytest.raises(InputError, match=f"{tmp_path}.* MB free .*--out"):
        parse(monkeypatch, "--out", tmp_path)


def test_processes_do_not_get_in_each_others_way(tmp_path):
    code = (
        "import sys; from pathlib import Path; from hypersphere import runs\n"
        "for _ in range(500):\n"
        "    runs.make_writable(Path(sys.argv[1]))\n"
        "    with runs.replacing(Path(sys.argv[1]) / 'file') as beside:\n"
        "        beside.write_text('whole')\n"
    )
    command = [sys.executable, "-c", code, tmp_path]
    processes = [subprocess.Popen(command, cwd=runs.PROJECT, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in processes] == [b"", b""]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_record(monkeypatch, tmp_path):
    args = parse(monkeypatch, "--out", tmp_path, "--data", tmp_path)
    runs.resume_folder(args, "x").mkdir()
    record = json.loads(runs.write_record(args, "x", {"accuracy": 0.5}, time.perf_counter(), more=1).read_text())
    assert record["metrics"] == {"accuracy": 0.5} and record["more"] == 1
    assert set(record["flags"]) == {"seed", "epochs", "alpha", "weight_decay", "smoke"}
    assert record["machine"]["cpu"] and set(runs.PACKAGES) < set(record["versions"])
    assert str(tmp_path) not in json.dumps(record)
    assert not runs.resume_folder(args, "x").exists()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it")
def test_peak_memory_is_the_processs_own():
    code = "from hypersphere import runs; print(runs.peak_memory_mb())"
    held = np.ones(10**9, np.uint8)
    assert runs.peak_memory_mb() > 1000
    child = subprocess.run([sys.executable, "-c", code], cwd=runs.PROJECT, capture_output=True, text=True, check=True)
    del held
    assert 10 < int(child.stdout) < 900


def test_embeddings_round_trip(tmp_path):
    label = np.arange(4)
    runs.save_arrays(tmp_path / "e.npz", {"label_test": label, "embedding_test": np.ones((4, 2), np.float32)})
    arrays = runs.load_embeddings(tmp_path / "e.npz", "train.py", label)
    np.testing.assert_array_equal(arrays["embedding_test"], 1)
    with pytest.raises(InputError, match="other test images"):
        runs.load_embeddings(tmp_path / "e.npz", "train.py", label + 1)
    (tmp_path / "e.npz").write_bytes((tmp_path / "e.npz").read_bytes()[:200])
    with pytest.raises(InputError, match="damaged"):
        runs.load_embeddings(tmp_path / "e.npz", "train.py", label)

"""Flags, one-line errors, progress, files that appear whole, and records."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common import cli, records
from conftest import run_python
from hypersphere import files
from hypersphere.errors import InputError

HOOK = """
import os, signal, sys
from pathlib import Path
from common import cli
from hypersphere.errors import InputError
parser = cli.Parser("What it does.")
parser.add_argument("--run")
code = parser.parse().run
print("at work")
exec(code)
"""
INPUT = 'raise InputError("x.npz: missing;\\n run train_x.py first")'
DISK_ERRORS = [f"raise OSError(errno.{name}, 'what', 'x.npz')" for name in ["ENOSPC", "EROFS", "EDQUOT", "EACCES"]]
TRACEBACK = "Traceback (most recent call last)"


def parse(monkeypatch, *flags):
    monkeypatch.setattr(cli, "install_error_hook", lambda debug: None)  # the hook is the test runner's own
    monkeypatch.setattr(sys, "argv", ["script.py", *map(str, flags)])
    parser = cli.Parser("What it does.")
    parser.add_argument("--seed", type=cli.seed_number, default=0)
    parser.add_argument("--epochs", type=cli.positive_int, default=1)
    parser.add_argument("--alpha", type=cli.positive_float, default=16.0)
    parser.add_argument("--weight-decay", type=cli.non_negative_float, default=0.1)
    return parser.parse()


def test_flags(monkeypatch, tmp_path):
    args = parse(monkeypatch, "--seed", 2**31 - 1, "--alpha", "2.5", "--weight-decay", 0, "--out", tmp_path / "run")
    assert sorted(path.name for path in args.out.iterdir()) == ["figures", "models", "results"]
    expected = {"seed": 2**31 - 1, "epochs": 1, "alpha": 2.5, "weight_decay": 0, "smoke": False}
    assert cli.settings_of(args) == expected, "where to look and write decides no number"
    assert args.changed == f"--seed {2**31 - 1} --alpha 2.5 --weight-decay 0.0"
    monkeypatch.setattr(cli, "PROJECT", tmp_path)
    assert parse(monkeypatch, "--smoke").out == tmp_path / "runs" / "smoke"


@pytest.mark.parametrize(
    "flags",
    [
        ["--alph", "3"],
        *(["--alpha", value] for value in ["0", "-1", "nan", "inf", "x"]),
        *(["--epochs", value] for value in ["0", "1.5", "x"]),
        *(["--weight-decay", value] for value in ["-0.1", "nan"]),
        *(["--seed", value] for value in ["-1", "2147483648", "0.5"]),
    ],
    ids=" ".join,
)
def test_bad_flags_are_named_in_one_line(flags, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        parse(monkeypatch, *flags, "--out", tmp_path / "new")
    message = capsys.readouterr().err
    assert stop.value.code == 2 and not (tmp_path / "new").exists()
    assert message.startswith("error: script.py: ") and message.endswith("; see --help\n")
    assert message.count("\n") == 1 and all(word in message for word in flags)


def test_a_folder_that_cannot_be_written_is_noticed_before_the_work(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=f"{tmp_path / 'file'}.*: cannot write"):
        parse(monkeypatch, "--out", tmp_path / "file")
    monkeypatch.setattr(files, "LEAST_FREE", 10**18)
    with pytest.raises(InputError, match=f"{tmp_path}.* MB free .*choose another folder"):
        parse(monkeypatch, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("flags", "code", "start", "end"),
    [
        ([INPUT], 2, "error: ", "error: x.npz: missing; run train_x.py first\n"),
        ([INPUT, "--debug"], 2, TRACEBACK, "\nerror: x.npz: missing; run train_x.py first\n"),
        *(([f"import errno; {error}"], 2, "error: ", "what: 'x.npz'\n") for error in DISK_ERRORS),
        (["0 / 0"], 1, TRACEBACK, "ZeroDivisionError: division by zero\n"),
        (["Path('no-such-file').read_text()", "--debug"], 1, TRACEBACK, "'no-such-file'\n"),
        (["os.kill(os.getpid(), signal.SIGTERM)"], 130, "\ninterrupted", "run the command again\n"),
    ],
)
def test_how_a_program_ends(flags, code, start, end, tmp_path):
    command = [sys.executable, "-c", HOOK, "--out", tmp_path, "--run", *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (code, "at work\n")
    assert done.stderr.startswith(start) and done.stderr.endswith(end)
    assert done.stderr.count("Traceback") == (start == TRACEBACK)
    assert start != "error: " or done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("description", "stage", "start"),
    [(None, None, "x.py  trial 3/3"), (None, "[2/4]", "[2/4] x.py  trial 3/3"), ("own", "[2/4]", "own  trial 3/3")],
)
def test_progress_is_one_line(description, stage, start, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/some/where/x.py", "--smoke"])
    monkeypatch.setenv("HYPERSPHERE_STAGE", stage or "")
    with cli.progress(3, "trial", description) as line:
        for _ in range(3):
            line.update()
    printed, errors = capsys.readouterr()
    assert printed.count("\n") == 1 and printed.split("\r")[-1].startswith(start) and not errors


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "file.txt"
    with files.replacing(path) as beside:
        beside.write_text("old")
    for error, raised in [(OSError(28, "No space left"), InputError), (KeyboardInterrupt(), KeyboardInterrupt)]:
        with pytest.raises(raised), files.replacing(path) as beside:
            beside.write_text("half of the n")
            raise error
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_processes_do_not_get_in_each_others_way(tmp_path):
    code = """
import sys
from pathlib import Path
from common import records
from hypersphere import files
folder = Path(sys.argv[1])
for number in range(300):
    files.make_writable(folder)
    with files.replacing(folder / "file") as beside:
        beside.write_text("whole")
    records.append_record(folder / "x.jsonl", {"settings": {"number": number}, "metrics": {"long": "x" * 2000}})
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.jsonl"]
    numbers = [record["settings"]["number"] for record in records.read_records(tmp_path / "x.jsonl")]
    assert sorted(numbers) == sorted([*range(300)] * 2)


def test_arrays_round_trip_and_name_what_is_wrong(tmp_path):
    path, label = tmp_path / "e.npz", np.arange(4)
    with pytest.raises(InputError, match=r"e\.npz: missing; train again"):
        files.load_arrays(path, "train again")
    files.save_arrays(str(path), {"label_test": label, "embedding_test": np.eye(4, dtype=np.float32)})
    arrays = files.load_arrays(path, "train again", {"label_test": label})
    assert list(arrays) == ["label_test", "embedding_test"] and arrays["embedding_test"].dtype == np.float32
    np.testing.assert_array_equal(arrays["embedding_test"], np.eye(4))
    with pytest.raises(InputError, match="another label_test"):
        files.load_arrays(path, "train again", {"label_test": label + 1})
    content = path.read_bytes()
    encrypted = re.sub(rb"(?s)(PK\x01\x02....)\x00", b"\\1\x01", content)  # a flag of each entry in the archive
    for damaged in [encrypted, content[:200], b"", content.replace(b"\x93NUMPY", b"\x93NUMPI")]:
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"e\.npz: damaged; train again"):
            files.load_arrays(path, "train again")


def test_a_record_has_what_its_numbers_depend_on(tmp_path):
    settings, metrics = {"seed": 3, "precision": "float32"}, {"accuracy": 0.5}
    record = records.new_record("x", settings, metrics, time.perf_counter() - 2, history=[1])
    assert (record["name"], record["settings"], record["metrics"]) == ("x", settings, metrics)
    assert record["seconds"] >= 2 and record["peak_memory_mb"] > 0 and record["history"] == [1]
    assert {"python", "keras", "scikit-learn", "numpy"} <= set(record["versions"]) and "revision" in record
    assert record["machine"]["cpu"] and record["machine"]["cores"] >= 1 and record["machine"]["system"]
    records.write_record(tmp_path / "x.json", record)
    assert records.read_record(tmp_path / "x.json", "") == record


def test_records_are_appended_and_read_in_order(tmp_path):
    path = tmp_path / "x.jsonl"
    assert records.read_records(path) == []
    written = [{"settings": {"seed": seed}, "metrics": {"name": "é\u2028\n"}} for seed in range(3)]
    for record in written:
        records.append_record(path, record)
    assert records.read_records(path) == written
    with pytest.raises(InputError, match="cannot write"):
        records.append_record(path / "under-a-file.jsonl", {})


@pytest.mark.parametrize(
    "damaged", [b'{"settings": {}, "metr', b"", b"[1]", b'{"settings": {}}', b'{"settings": 1, "metrics": {}}', b"\xff"]
)
def test_a_missing_or_damaged_record_is_named(damaged, tmp_path):
    path, good = tmp_path / "x.jsonl", json.dumps({"settings": {}, "metrics": {}}).encode()
    with pytest.raises(InputError, match=r"x\.jsonl: missing; train again"):
        records.read_record(path, "train again")
    path.write_bytes(b"\n".join([good, damaged, good]) + b"\n")
    with pytest.raises(InputError, match=r"x\.jsonl, line 2: damaged; delete the line"):
        records.read_records(path)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"x\.jsonl: damaged; train again"):
        records.read_record(path, "train again")


@pytest.mark.skipif(not shutil.which("git"), reason="needs Git")
def test_the_revision_is_that_of_the_clone(tmp_path, monkeypatch):
    (tmp_path / "hypersphere").mkdir()
    (tmp_path / "hypersphere" / "x.py").write_text("one")
    monkeypatch.setattr(records, "PROJECT", tmp_path)
    assert records.revision() is None, "no clone"
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in [["init"], ["add", "."], ["commit", "--message", "first"]]:
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "README.md").write_text("not code")
    head = records.revision()
    assert re.fullmatch("[0-9a-f]{12}", head)
    (tmp_path / "hypersphere" / "x.py").write_text("two")
    assert records.revision() == head + "+"
    monkeypatch.setenv("PATH", "")
    assert records.revision() is None, "no Git"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it")
def test_peak_memory_is_the_processs_own():
    assert np.ones(500 * 10**6, np.uint8).any() and records.peak_memory_mb() > 500
    assert 5 < int(run_python("from common import records; print(records.peak_memory_mb())")) < 400

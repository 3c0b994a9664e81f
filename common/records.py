"""Records: what a run was, what it measured, and with which code on which machine, as JSON.

A single run leaves one file, `NAME.json`. An experiment leaves one file of lines, `NAME.jsonl`, a line a trial.
"""

import contextlib
import errno
import importlib.metadata
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from common.cli import PROJECT
from hypersphere.errors import InputError
from hypersphere.files import cannot_write, replacing

CIFAR10_SETTINGS = {"train": "cifar10_train_sha256", "test": "cifar10_sha256"}  # by split: which copy was used
# Every package that decides a number: networks, neighbours, maps, outlier images.
PACKAGES = ["tensorflow", "tensorflow-cpu", "keras", "scikit-learn", "numpy", "scipy", "pillow", "matplotlib", "skops"]


def portable(settings):
    """The settings with the name of a weights file in place of its path: where a file lies decides no number."""
    return settings | {key: Path(settings[key]).name for key in ["weights"] if key in settings}


def new_record(name, settings, metrics, started, **more):
    """A record, ready for JSON.

    settings : all that decides the numbers; metrics : what was measured; started : time.perf_counter() at the start.
    """
    return {
        "name": name,
        "settings": portable(settings),
        "metrics": metrics,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mb": peak_memory_mb(),
        "versions": versions(),
        "revision": revision(),
        "machine": {"cpu": _cpu_name(), "cores": os.cpu_count(), "system": platform.system()},
    } | more


def write_record(path, record):
    """Write a single run's record."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def append_record(path, record):
    """Add a trial's record to a study's file, whole or not at all: a full disk leaves the lines that were there."""
    line = json.dumps(record).encode() + b"\n"
    try:
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        raise InputError(cannot_write(path, error)) from None


def read_record(path, remedy):
    """A single run's record; raises InputError, which ends with the remedy, if the file is missing or no record."""
    if not path.is_file():
        raise InputError(f"{path}: missing; {remedy}")
    return _parse(path.read_bytes(), path, remedy)


def read_records(path):
    """An experiment's records, in the order in which they were made: [] if there is no file.

    Raises InputError, which names the line, if one is damaged.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines()
    return [_parse(line, f"{path}, line {n}", "delete the line and run again") for n, line in enumerate(lines, 1)]


def _parse(text, where, remedy):
    with contextlib.suppress(ValueError, KeyError, TypeError):
        record = json.loads(text)
        if isinstance(record["settings"], dict) and isinstance(record["metrics"], dict):
            return record
    raise InputError(f"{where}: damaged; {remedy}")


def versions():
    """Python's version and those of `PACKAGES`, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def revision():
    """The Git revision of the code, with "+" behind it if a Python file differs from it; None outside a clone."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        if (PROJECT / ".git").exists():
            git = {"cwd": PROJECT, "text": True}
            head = subprocess.check_output(["git", "rev-parse", "--short=12", "HEAD"], **git)
            changed = subprocess.check_output(["git", "status", "--porcelain", "-uno", "--", "*.py"], **git)
            return head.strip() + ("+" if changed else "")
    return None


def _cpu_name():
    if sys.platform == "darwin":
        return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    with contextlib.suppress(OSError, TypeError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        widest = [f" ({name})" for name in ["amx", "avx512", "avx2"] if f" {name}" in text]  # which decides the speed
        return "".join([re.search(r"model name\s*:\s*(.+)", text)[1].strip(), *widest[:1]])
    return platform.machine()


def peak_memory_mb():
    """The process's largest resident memory so far, in MB."""
    with contextlib.suppress(OSError):  # ru_maxrss is that of the process that started this one, if that was larger
        return round(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1]) / 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))  # bytes on macOS, else KiB

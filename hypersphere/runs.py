"""A run: its flags, its folder, files written whole, and the JSON record that it leaves."""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from hypersphere import errors
from hypersphere.errors import InputError

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ["tensorflow", "keras", "scikit-learn", "scikit-learn-intelex", "numpy", "scipy", "matplotlib", "pillow"]
LEAST_FREE = 300 * 10**6  # bytes; a whole run writes about 180 MB
PLACES = ["data", "out", "outliers"]  # flags that say where, not what: kept out of the records


def in_notebook():
    """Whether the code runs in a notebook's kernel."""
    return "ipykernel" in sys.modules


class Parser(argparse.ArgumentParser):
    """An argument parser whose help is a script's docstring and whose errors are one line."""

    def __init__(self, docstring, **kwargs):
        errors.show_in_one_line()
        super().__init__(
            description=docstring,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **kwargs,
        )

    def error(self, message):
        self.exit(2, f"error: {self.prog}: {message}; see --help\n")

    def parse(self):
        """The flags of the command line; in a notebook's kernel, their defaults.

        Makes the run's folders and raises InputError if they cannot be written.
        """
        self.add_argument("--data", metavar="DIR", help="look for the data sets here first, then in data/")
        self.add_argument(
            "--out",
            type=Path,
            metavar="DIR",
            help="folder of the run, with its models/, figures/ and results/ "
            "(default: the project's folder; runs/smoke with --smoke)",
        )
        self.add_argument("--smoke", action="store_true", help="a try of seconds on a small slice of the data")
        args = self.parse_args([] if in_notebook() else None)
        args.out = args.out or (PROJECT / "runs" / "smoke" if args.smoke else PROJECT)
        for name in ["models", "figures", "results"]:
            make_writable(args.out / name)
        return args


def make_writable(folder):
    """Make a folder; raises InputError if it cannot be made or written to, or its disk is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(cannot_write(folder, error)) from None
    if shutil.disk_usage(folder).free < LEAST_FREE:
        raise InputError(cannot_write(folder, f"less than {LEAST_FREE // 10**6} MB free on its disk"))


def positive_int(text):
    """The type of a flag that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def seed_number(text):
    """The type of --seed: what NumPy and TensorFlow both take as one."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {2**31 - 1}")
    return int(text)


def positive_float(text):
    """The type of a flag that measures something."""
    return _finite(text, at_least=np.nextafter(0, 1), words="above 0")


def non_negative_float(text):
    """The type of a flag that measures something which may be absent."""
    return _finite(text, at_least=0, words="of at least 0")


def _finite(text, at_least, words):
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not at_least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number {words}")
    return value


def cannot_write(path, error):
    """The sentence for an error while writing."""
    reason = os.strerror(error.errno) if getattr(error, "errno", None) else error
    return f"{path}: cannot write ({reason}); free some space or choose another --out"


@contextlib.contextmanager
def replacing(path):
    """Gives a path beside `path` to write to, and renames it into place once that has succeeded.

    Raises InputError if the disk is full or the folder unwritable; the old file then stays.
    """
    beside = path.with_name(f".partial-{os.getpid()}-{path.name}")  # another process may write the same file
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise InputError(cannot_write(path, error)) from None
    finally:
        beside.unlink(missing_ok=True)


def resume_folder(args, name):
    """Where the training of a run keeps its state until the run's record is written."""
    return args.out / "models" / f".resume-{name}"


def save_arrays(path, arrays):
    """Write {name: array} to an `.npz` file."""
    with replacing(path) as beside:
        np.savez(beside, **arrays)


def load_embeddings(path, made_by, label_test):
    """What a training script, `made_by`, wrote to its `.npz` file: {name: array}.

    Raises InputError if the file is missing or damaged, or if its test labels are not `label_test`.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; run {made_by} first")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        label = arrays["label_test"]
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError):
        raise InputError(f"{path}: damaged, or not written by {made_by}; run {made_by} again") from None
    if not np.array_equal(label, label_test):
        raise InputError(f"{path}: made from other test images; run {made_by} again with the same flags")
    return arrays


def write_record(args, name, metrics, started, **more):
    """Write the run's record, `results/NAME.json`, and remove the state kept for resuming.

    metrics : what was measured; started : time.perf_counter() at the start; more : further entries.
    """
    record = {
        "script": name,
        "flags": {key: value for key, value in vars(args).items() if key not in PLACES},
        "metrics": metrics,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_memory_mb": peak_memory_mb(),
        "versions": versions(),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "system": platform.system()},
    } | more
    path = args.out / "results" / f"{name}.json"
    with replacing(path) as beside:
        beside.write_text(json.dumps(record, indent=1) + "\n")
    shutil.rmtree(resume_folder(args, name), ignore_errors=True)
    return path


def versions():
    """Python's version and those of `PACKAGES`, as far as they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def read_record(path, remedy):
    """A record; raises InputError, which ends with the remedy, if the file is none."""
    try:
        record = json.loads(path.read_text())
        complete = isinstance(record["flags"], dict) and isinstance(record["metrics"], dict)
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise InputError(f"{path}: damaged; {remedy}")
    return record


def peak_memory_mb():
    """The process's largest resident memory so far, in MB."""
    with contextlib.suppress(OSError):  # ru_maxrss is that of the process that started this one, if that was larger
        return round(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3))  # bytes on macOS, else KiB


def fastest_precision():
    """ "bfloat16" where the processor multiplies matrices in it (AMX), twice as fast; else "float32"."""
    with contextlib.suppress(OSError):
        if "amx_bf16" in Path("/proc/cpuinfo").read_text().split():
            return "bfloat16"
    return "float32"


def add_precision(parser):
    """The flag --precision, that of a training."""
    help = "of the convolutions in training, on this machine %(default)s"
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default=fastest_precision(), help=help)


def cpu_name():
    """The processor's name as the system tells it."""
    if sys.platform == "darwin":
        return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()

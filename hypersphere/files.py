"""Files that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from hypersphere.errors import InputError

# The clone that this package is in; where it is installed by itself, the current folder.
_CLONE = Path(__file__).resolve().parent.parent
PROJECT = _CLONE if (_CLONE / "pyproject.toml").is_file() else Path.cwd()
LEAST_FREE = 300 * 10**6  # bytes; a whole run writes about 180 MB


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


def cannot_write(path, error):
    """The sentence for an error while writing."""
    reason = os.strerror(error.errno) if getattr(error, "errno", None) else error
    return f"{path}: cannot write ({reason}); free some space or choose another folder"


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


def save_arrays(path, arrays):
    """Write {name: array} to an `.npz` file."""
    with replacing(path) as beside:
        np.savez(beside, **arrays)


def load_arrays(path, remedy, label_test=None):
    """The arrays of an `.npz` file, {name: array}.

    Raises InputError, which ends with the remedy, if the file is missing or damaged, or if `label_test` is given
    and the file's array of that name is another one.
    """
    if not path.is_file():
        raise InputError(f"{path}: missing; {remedy}")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, RuntimeError):
        raise InputError(f"{path}: damaged; {remedy}") from None
    if label_test is not None and not np.array_equal(arrays.get("label_test"), label_test):
        raise InputError(f"{path}: made from other test images; {remedy} with the same flags")
    return arrays

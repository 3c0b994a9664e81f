"""Files that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from hypersphere.errors import InputError

LEAST_FREE = 300 * 10**6  # bytes; a whole run writes about 180 MB


def make_writable(folder):
    """Make a folder; raises InputError if it cannot be made or written to, or its disk is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
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
    path = Path(path)
    beside = path.with_name(f".partial-{os.getpid()}-{path.name}")  # another process may write the same file
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise InputError(cannot_write(path, error)) from None
    finally:
        with contextlib.suppress(OSError):  # it was not written, or cannot be removed from a read-only disk
            beside.unlink()


@contextlib.contextmanager
def reading(path, problem, remedy):
    """Around what reads a file, which can be damaged in any way.

    Raises InputError with the problem, or "missing", and the remedy.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: missing; {remedy}")
    try:
        yield
    except Exception as error:
        raise InputError(f"{path}: {problem}; {remedy}") from error


def save_arrays(path, arrays):
    """Write {name: array} to an `.npz` file."""
    with replacing(path) as beside:
        np.savez(beside, **arrays)


def load_arrays(path, remedy, equal=None):
    """The arrays of an `.npz` file, {name: array}.

    equal : arrays that the file must hold, {name: array}. Raises InputError, which ends with the remedy, if the file is
    missing or damaged, or holds others.
    """
    with reading(path, "damaged", remedy), np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    for name, expected in (equal or {}).items():
        if not np.array_equal(arrays.get(name), expected):
            raise InputError(f"{path}: another {name}, so made from other data; {remedy}")
    return arrays

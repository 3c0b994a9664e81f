"""One-line errors: bad input ends a script with a sentence and exit code 2, not a traceback."""

import os
import signal
import sys


class InputError(Exception):
    """The user's input (a flag, a file, a folder) is wrong; the message says what to do."""


def show_in_one_line() -> None:
    """Make uncaught input and file errors end the program with one line and exit code 2; SIGTERM acts as Ctrl-C."""
    sys.excepthook = _excepthook
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _excepthook(kind, error, traceback):
    if issubclass(kind, BrokenPipeError):
        os._exit(1)  # the reader of our output has gone: nobody is left to tell
    if issubclass(kind, (InputError, OSError)):
        _end(f"error: {' '.join(str(error).split())}", 2)
    if issubclass(kind, KeyboardInterrupt):
        _end("\ninterrupted: repeat the command to continue", 130)
    sys.__excepthook__(kind, error, traceback)


def _end(message, code):
    print(message, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # not sys.exit: after a failed write, HDF5 crashes when Python closes its files

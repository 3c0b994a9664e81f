"""One-line errors: bad input ends a script with a sentence and exit code 2, not a traceback."""

import sys


class InputError(Exception):
    """The user's input (a flag, a file, a folder) is wrong; the message says what to do."""


def show_in_one_line() -> None:
    """Make uncaught input and file errors end the program with one line and exit code 2."""
    sys.excepthook = _excepthook


def _excepthook(kind, error, traceback):
    if issubclass(kind, (InputError, OSError)):
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    if issubclass(kind, KeyboardInterrupt):
        print("\ninterrupted: repeat the command to continue", file=sys.stderr)
        sys.exit(130)
    sys.__excepthook__(kind, error, traceback)

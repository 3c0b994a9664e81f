"""The command line that scripts share: flags, one-line errors, and progress in one line."""

import argparse
import contextlib
import errno
import logging
import math
import os
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from hypersphere.errors import InputError
from hypersphere.files import make_writable

PROJECT = Path(__file__).resolve().parent.parent  # the clone, where the scripts are
MENDABLE = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES}  # by the user: a full or read-only disk


def in_notebook():
    """Whether the code runs in a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


def start(keras=True):
    """Prepare a script, before it imports Keras, scikit-learn or matplotlib: how these start.

    keras : load Keras on TensorFlow, without the messages that TensorFlow's libraries print on loading, with Keras's
    own defaults for data whatever the user's keras.json says.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster kernels, off by default on some processors
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait actively are much slower beside other work
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no messages on GPUs that are not there
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # that a second network is traced anew is no news
    import matplotlib.style  # here and not above: NumPy must not start before the variables are set

    if not in_notebook():
        matplotlib.use("agg")  # files only: no display is needed
    if keras:
        backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        if backend != "tensorflow":
            sys.stderr.write(f"error: KERAS_BACKEND={backend}: the scripts need TensorFlow; unset it\n")
            sys.exit(2)
        with contextlib.nullcontext() if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0" else _silent_stderr():
            import keras
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
    matplotlib.style.use("petroff10")  # ten colours chosen to be told apart with colour-blindness too


@contextlib.contextmanager
def _silent_stderr():
    try:
        kept = os.dup(2)
    except OSError:  # there is none: nothing will be shown
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Parser(argparse.ArgumentParser):
    """An argument parser whose help is a script's docstring and whose errors are one line.

    out : the folder to write to by default; with --smoke it is always `runs/smoke` in the project's folder.
    """

    def __init__(self, docstring, out=PROJECT):
        options = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(description=docstring, **options)
        self.out = out

    def error(self, message):
        self.exit(2, f"error: {self.prog}: {message}; see --help\n")

    def parse(self):
        """Start the script: its flags, or in a notebook's kernel their defaults; errors from now on are one line.

        Makes the folders to write to and raises InputError if they cannot be written. `changed` has, as words, the
        flags that decide numbers and are not at their defaults.
        """
        self.add_argument("--data", metavar="DIR", help="look for the data sets here first")
        self.add_argument("--out", type=Path, metavar="DIR", help="write models/, figures/ and results/ here")
        self.add_argument("--smoke", action="store_true", help="try it in seconds, on a small slice of the data")
        self.add_argument("--verbose", action="store_true", help="show what the libraries print, too")
        self.add_argument("--debug", action="store_true", help="show an error's traceback")
        args = self.parse_args([] if in_notebook() else None)
        if not in_notebook():
            install_error_hook(args.debug)
        changed = {name: value for name, value in settings_of(args).items() if value != self.get_default(name)}
        words = [f"--{name.replace('_', '-')} {value}".removesuffix(" True") for name, value in changed.items()]
        args.changed = " ".join(words)
        args.out = args.out or (PROJECT / "runs" / "smoke" if args.smoke else self.out)
        for name in ["models", "figures", "results"]:
            make_writable(args.out / name)
        return args


def settings_of(args):
    """The flags that decide numbers, {name: value}: what a record keeps. Where to look and write is left out."""
    left_out = {"data", "out", "outliers", "verbose", "debug", "strict", "layered", "changed"}
    return {name: value for name, value in vars(args).items() if name not in left_out}


def _number(kind, fits, words):
    """The type of a flag: a number of a kind, int or float, that fits."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if fits(kind(text)):
                return kind(text)
        raise argparse.ArgumentTypeError(f"{text} is not a {words}")

    return parse


whole_number = _number(int, lambda value: value >= 0, "whole number of at least 0")
positive_int = _number(int, lambda value: value >= 1, "whole number of at least 1")
seed_number = _number(int, lambda value: 0 <= value < 2**31, f"whole number from 0 to {2**31 - 1}")  # as NumPy's
positive_float = _number(float, lambda value: 0 < value < math.inf, "number above 0")
non_negative_float = _number(float, lambda value: 0 <= value < math.inf, "number of at least 0")


def progress(total, unit, description=None, shown=True):
    """A `tqdm` line that counts units to `total`; in a log it is written every half minute, in a terminal as it moves.

    description : by default the script's name, behind what HYPERSPHERE_STAGE says, as "[2/4]".
    """
    if description is None:
        script = "" if in_notebook() else Path(sys.argv[0]).name
        description = f"{os.environ.get('HYPERSPHERE_STAGE', '')} {script}".strip()
    interval = 0.2 if sys.stdout.isatty() else 30
    text = "{desc} {n_fmt}/{total_fmt}{postfix}  {elapsed}, {remaining} left"
    options = {"mininterval": interval, "bar_format": text, "disable": not shown}
    return tqdm(total=total, desc=f"{description}  {unit}", file=sys.stdout, **options)


def install_error_hook(debug=False):
    """Uncaught errors that the user can mend end the program with one line and exit code 2; SIGTERM acts as Ctrl-C.

    These are InputError and a full or read-only disk; any other error is a bug and keeps its traceback.
    debug : show the traceback as well.
    """

    def hook(kind, error, traceback):
        message, code = None, 2
        if issubclass(kind, BrokenPipeError):
            os._exit(1)  # the reader of our output has gone: nobody is left to tell
        if issubclass(kind, InputError) or (issubclass(kind, OSError) and error.errno in MENDABLE):
            message = f"error: {' '.join(str(error).split())}"
        if issubclass(kind, KeyboardInterrupt):
            message, code = "\ninterrupted: run the command again", 130
        if debug or not message:
            sys.__excepthook__(kind, error, traceback)
        if message:
            print(message, file=sys.stderr, flush=True)
            sys.stdout.flush()
            os._exit(code)  # not sys.exit: after a failed write, HDF5 crashes when Python closes its files

    sys.excepthook = hook
    signal.signal(signal.SIGTERM, signal.default_int_handler)

"""Imports TensorFlow without its start-up messages: no log level hides those that its libraries print on loading.

Modules that use Keras import this one first. TF_CPP_MIN_LOG_LEVEL=0 shows all messages.
"""

import contextlib
import os


@contextlib.contextmanager
def _silent_stderr():
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with contextlib.nullcontext() if os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0" else _silent_stderr():
    import tensorflow  # noqa: F401

"""Deep metric learning on the hypersphere: heads for Keras, and a calibrated detector of out-of-distribution images.

    from hypersphere import AdaCos, ArcFace, CosFace, Enrolment, L2Softmax, LayeredLOF

The heads load Keras and TensorFlow, the rest does not.
"""

import importlib
import os

# Read when Keras, TensorFlow and scikit-learn start, so this package is imported before them.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster kernels, off by default on some processors
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait actively are much slower beside other work
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no messages on GPUs that are not there

HOMES = {
    "AdaCos": "heads",
    "ArcFace": "heads",
    "CosFace": "heads",
    "Enrolment": "enrolment",
    "L2Softmax": "heads",
    "Softmax": "heads",
    "LayeredLOF": "detectors",
}
__all__ = list(HOMES)


def __getattr__(name):
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__():
    return __all__

"""Deep metric learning on the hypersphere: heads for Keras, and a calibrated detector of out-of-distribution images.

    from hypersphere import AdaCos, ArcFace, CosFace, Enrolment, L2Softmax, LayeredDetector

The heads load Keras and TensorFlow, the rest does not.
"""

import importlib

HOMES = {
    "AdaCos": "heads",
    "ArcFace": "heads",
    "CosFace": "heads",
    "Enrolment": "enrolment",
    "L2Softmax": "heads",
    "Softmax": "heads",
    "LayeredDetector": "detectors",
}
__all__ = list(HOMES)


def __getattr__(name):
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__():
    return __all__

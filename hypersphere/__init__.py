"""Deep metric learning on the hypersphere: heads for Keras, and a calibrated detector of out-of-distribution images.

    from hypersphere import AdaCos, ArcFace, CosFace, L2Softmax, MetricModel, SubClusterAdaCos
    from hypersphere import Enrolment, LayeredDetector

The first line loads Keras, on whichever backend it is set to; the second does not.
"""

import importlib

MODULES = dict.fromkeys(["AdaCos", "ArcFace", "CosFace", "L2Softmax", "SubClusterAdaCos"], "heads")
MODULES |= {"MetricModel": "model", "Enrolment": "enrolment", "LayeredDetector": "detectors"}
__all__ = list(MODULES)


def __getattr__(name):
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{MODULES[name]}"), name)


def __dir__():
    return __all__

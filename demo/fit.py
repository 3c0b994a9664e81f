"""Fit the demo's detector. The demo does this at its first start, in a process of its own, whose memory goes with it.

    python -m demo.fit detector.skops

Reads   models/demo/network.keras, rotation1.keras, rotation2.keras; data/mnist
Writes  the file that is named
"""

import hashlib
import json
import sys
from pathlib import Path

import sklearn

from common import cli
from experiments import rotation
from hypersphere import datasets, detectors, features, networks

FOLDER = cli.PROJECT / "models" / "demo"
REMEDY = "take the committed one, or run python -m demo.build again"
BATCH = 250  # images at a time
# Of the code that fits: raise it with a change of this module or of one that it imports which changes the detector. A
# test says when. Detectors that were kept, and the signs that visitors have taught, are given up with it.
VERSION = 1


def network_paths(folder=FOLDER):
    """The files of the classifier and of the rotation-prediction networks."""
    return [folder / "network.keras", folder / "rotation1.keras", folder / "rotation2.keras"]


def load_model(folder=FOLDER):
    """`rotation.feature_model` of all networks; raises InputError if one is missing or damaged."""
    needed = [*features.BLOCKS, "embedding"]
    classifier, *others = (networks.load_network(path, REMEDY, needed) for path in network_paths(folder))
    return rotation.feature_model(classifier, others)


def fitted(model, x_train, x_val):
    """The detector of all networks, fitted to training images and calibrated on validation images."""
    train, calibration = (model.predict(x, BATCH, verbose=0) for x in [x_train, x_val])
    rows, calibration_rows = (detectors.side_by_side(found, rotation.LAYERS) for found in [train, calibration])
    return rotation.detector_for(train).fit(rows, X_calibration=calibration_rows)


def detector_key(networks_sha256):
    """A short hash of what decides a fitted detector: networks, layers, options, data and versions."""
    parts = [networks_sha256, rotation.LAYERS, rotation.OPTIONS, datasets.N_TRAIN, sklearn.__version__, VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def main(path, folder=FOLDER):
    cli.install_error_hook()
    (x_train, _), (x_val, _), _ = datasets.load_mnist()
    detectors.save_detector(fitted(load_model(Path(folder)), x_train, x_val), Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Fit the demo's detector. The demo does this at its first start, in a process of its own, whose memory goes with it.

    python -m demo.fit detector.skops

Reads   models/demo/network.keras, turns1.keras, turns2.keras; data/mnist
Writes  the file that is named
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import sklearn

from common import cli
from common.cli import PROJECT
from experiments import rotation
from hypersphere import datasets, detectors, features, layers, networks, scores

FOLDER = PROJECT / "models" / "demo"
REMEDY = "take the committed one, or run python -m demo.build again"
BATCH = 250  # images at a time


def network_paths(folder=FOLDER):
    """The classifier's file and the rotation-prediction networks'."""
    return [folder / "network.keras", folder / "turns1.keras", folder / "turns2.keras"]


def load_model(folder=FOLDER):
    """`rotation.feature_model` of all networks; raises InputError if one is missing or damaged."""
    needed = [*features.BLOCKS, "embedding"]
    classifier, *others = (networks.load_network(path, REMEDY, needed) for path in network_paths(folder))
    return rotation.feature_model(classifier, others)


def fitted(model, x_train, x_val):
    """The detector of all networks, fitted to training images and calibrated on validation images."""
    train, calibration = (model.predict(x, BATCH, verbose=0) for x in [x_train, x_val])
    detector = rotation.detector_for(train)
    rows, calibration_rows = (detectors.side_by_side(of, rotation.LAYERS) for of in [train, calibration])
    return detector.fit(rows, X_calibration=calibration_rows)


def detector_key(networks_sha256):
    """A short hash of what decides a fitted detector: the networks, the code and scikit-learn's version."""
    modules = [layers, features, rotation, detectors, scores, datasets, sys.modules[__name__]]
    code = b"".join(Path(module.__file__).read_bytes() for module in modules)
    return hashlib.sha256(networks_sha256.encode() + code + sklearn.__version__.encode()).hexdigest()[:12]


def fit_elsewhere(path, folder, data_folder=None):
    """Run this module in a process of its own; raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "demo.fit", path, "--models", folder.resolve()]
    command += ["--data", Path(data_folder).resolve()] if data_folder else []
    subprocess.run(command, cwd=PROJECT, check=True)


def main():
    parser = cli.Parser(__doc__)
    parser.add_argument("file", type=Path, help="the file to write")
    parser.add_argument("--models", type=Path, default=FOLDER, metavar="DIR", help="has the networks")
    parser.add_argument("--data", metavar="DIR", help="look for the data sets here first")
    args = parser.parse_args()
    cli.install_error_hook()
    (x_train, _), (x_val, _), _ = datasets.load_mnist(args.data)
    detectors.save_detector(fitted(load_model(args.models), x_train, x_val), args.file)


if __name__ == "__main__":
    main()

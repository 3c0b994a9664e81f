"""The trained networks and their calibrated detector, ready to judge one image at a time."""

import hashlib
import json

import numpy as np
import sklearn
import tensorflow as tf
from scipy.special import softmax

from common.cli import PROJECT
from demo.signs import LAYER, SignNamer
from experiments import rotation
from hypersphere import datasets, detectors, features, networks
from hypersphere.errors import InputError
from hypersphere.files import load_arrays

FOLDER = PROJECT / "models" / "demo"
REMEDY = "take the committed one, or run python -m demo.build again"
BATCH = 250  # images at a time
N_NEAREST, N_PLACES = 5, 10  # training digits shown, and points of the map that a drawing's place is made of
# Of the code that fits the detector: raise it with a change of that code which changes the detector. A test says when.
# Detectors that were kept, and the signs that visitors have taught, are given up with it.
VERSION = 1


def network_paths(folder=FOLDER):
    """The files of the classifier and of the rotation-prediction networks."""
    return [folder / "network.keras", folder / "rotation1.keras", folder / "rotation2.keras"]


def detector_key(networks_sha256):
    """A short hash of what decides a fitted detector: networks, layers, options, data and versions."""
    parts = [networks_sha256, rotation.LAYERS, rotation.OPTIONS, datasets.N_TRAIN, sklearn.__version__, VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


class Predictor:
    """Names a digit, and says whether it is one.

    folder : has what `demo.build` writes; the detector is fitted once and kept there. smoke : fit it to a small slice
    of the data, and keep nothing. Raises InputError if one of the files is missing or damaged.
    """

    def __init__(self, folder=FOLDER, smoke=False):
        needed = [*features.BLOCKS, "embedding"]
        classifier, *others = (networks.load_network(path, REMEDY, needed) for path in network_paths(folder))
        self.model = rotation.feature_model(classifier, others)
        self.map = load_arrays(folder / "map.npz", REMEDY)
        content = b"".join(path.read_bytes() for path in network_paths(folder))
        self.key = detector_key(hashlib.sha256(content).hexdigest())
        x, y = datasets.read_labelled("mnist", "train")  # as bytes, a quarter of the memory
        self.train_images, self.train_labels = x[: datasets.N_TRAIN, ..., 0], y[: datasets.N_TRAIN]
        x_val, y_val = x[datasets.N_TRAIN :, ..., 0], y[datasets.N_TRAIN :]
        if smoke:
            self.detector = self._fitted(self.train_images[: datasets.SMOKE["train"]], x_val[: datasets.SMOKE["val"]])
        else:
            self.detector = self._kept_detector(folder / f"detector-{self.key}.skops", x_val)
        mapped = self.extract(datasets.to_float(x_val[: len(self.map["place"])]))
        self.map_embedding = mapped["embedding"]
        self.sign_namer = SignNamer(self.detector.transforms_[LAYER], mapped[LAYER], y_val[: len(mapped[LAYER])])
        # One traced function for one image: `predict`, and calling the model, prepare anew at each call.
        self._extract = tf.function(self.model, input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32)])
        self.predict(datasets.to_float(x_val[0]), explain=True)  # traced and warm before the first request

    def _fitted(self, x_train, x_val):
        """The detector fitted to training images and calibrated on validation images, (n, 28, 28) bytes."""
        train, calibration = (self.extract(datasets.to_float(x)) for x in [x_train, x_val])
        rows, calibration_rows = (detectors.side_by_side(found, rotation.LAYERS) for found in [train, calibration])
        return rotation.detector_for(train).fit(rows, X_calibration=calibration_rows)

    def _kept_detector(self, path, x_val):
        """The detector of these networks: the one that was kept, or fitted anew."""
        try:
            return detectors.load_detector(path, "it is fitted now, only once, which takes up to a minute")
        except InputError as error:
            print(error, flush=True)
        detector = self._fitted(self.train_images, x_val)
        print("The detector is fitted", flush=True)
        try:
            detectors.save_detector(detector, path)
            for stale in set(path.parent.glob("*detector-*.skops")) - {path}:
                stale.unlink(missing_ok=True)
        except InputError as error:
            print(f"{error}; the next start fits the detector again", flush=True)
        return detector

    def extract(self, x):
        """What `rotation.feature_model` gives for images, (n, 28, 28), with all networks."""
        return self.model.predict(x[..., np.newaxis], BATCH, verbose=0)

    def predict(self, image, explain=False, with_features=False, signs=None):
        """What a prepared image, (28, 28), 0 to 1, light on dark, is taken for: a dictionary for JSON.

        explain : with the image, the nearest training digits and the place on the map; with_features : with what an
        example of a sign is remembered by; signs : {name: [features, ...]}, with the "sign" that it is, or None.
        """
        tensors = self._extract(tf.constant(image[None, :, :, None], tf.float32))
        found = {name: tensor.numpy() for name, tensor in tensors.items()}
        probabilities = softmax(found["log_probabilities"][0].astype(np.float64))
        p_value = float(self.detector.p_values(detectors.side_by_side(found, rotation.LAYERS))[0])
        result = {
            "empty": False,
            "digit": int(probabilities.argmax()),
            "probabilities": [round(p, 6) for p in probabilities.tolist()],
            "p_value": round(p_value, 6),
            "level": self.detector.level,
            "is_digit": p_value > self.detector.level,
        }
        direction = self.sign_namer.directions(found[LAYER])[0]
        if with_features:
            result["features"] = direction.round(4).tolist()
        if signs is not None:
            result["sign"] = self.sign_namer.name(direction, signs, result["is_digit"])
        return result | self._explanation(image, found["embedding"]) if explain else result

    def _explanation(self, image, embedding):
        """The image's pixels, the nearest training digits, and the place of an embedding, (1, 64), on the map.

        The place is the mean of the embedding's nearest points, the nearer the heavier.
        """
        transform, measure = self.detector.transforms_["embedding"], self.detector.measures_["embedding"]
        nearest = measure.kneighbors(transform.transform(embedding), N_NEAREST, return_distance=False)[0]
        digits = zip(self.train_labels[nearest].tolist(), self.train_images[nearest].tolist(), strict=True)
        distances = np.linalg.norm(self.map_embedding - embedding, axis=1)
        points = np.argsort(distances)[:N_PLACES]
        place = np.average(self.map["place"][points], axis=0, weights=1 / (distances[points] + 1e-6))
        return {
            "pixels": np.round(image * 255).astype(int).tolist(),
            "nearest": [{"label": label, "pixels": pixels} for label, pixels in digits],
            "place": place.round(4).tolist(),
        }

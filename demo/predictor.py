"""The trained networks and their calibrated detector, ready to judge one image at a time."""

import hashlib
import json
import shutil
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from demo.fit import BATCH, FOLDER, REMEDY, detector_key, fit_elsewhere, fitted, load_model, network_paths
from demo.signs import LAYER, SignNamer
from experiments import rotation
from hypersphere import datasets, detectors
from hypersphere.errors import InputError
from hypersphere.files import replacing

N_MAPPED = 5000  # validation images on the map, the first ones
N_NEAREST = 5  # training digits shown
N_PLACES = 10  # points of the map that a drawing's place is made of


class Predictor:
    """Names a digit, and says whether it is one.

    folder : has network.keras, turns1.keras, turns2.keras (the networks of a trial of `experiments.ensemble`),
    network.json (their record there) and map.npz; the detector is fitted once and kept there. smoke : fit it to a small
    slice of the data, and keep nothing. wait : else the detector is fitted in a thread, and nothing can be predicted
    until `state`, at first "fitting", is "ready"; it is "failed" if that could not be done. Raises InputError if one of
    the files is missing or damaged.
    """

    def __init__(self, folder=FOLDER, data_folder=None, smoke=False, wait=True, log=print):
        self.folder, self.data_folder = folder, data_folder
        self.model = load_model(folder)
        self.record = _read(folder / "network.json", lambda path: json.loads(path.read_text(encoding="utf-8")))
        self.map = _read(folder / "map.npz", lambda path: dict(np.load(path, allow_pickle=False)))
        self.sha256 = hashlib.sha256(b"".join(path.read_bytes() for path in network_paths(folder))).hexdigest()
        self.key = detector_key(self.sha256)
        x, y = datasets.read_labelled("mnist", "train", data_folder)  # as bytes, a quarter of the memory
        self.train_images, self.train_labels = x[: datasets.N_TRAIN, ..., 0], y[: datasets.N_TRAIN]
        self.state = "fitting"
        arguments = [datasets.to_float(x[datasets.N_TRAIN :]), y[datasets.N_TRAIN :], smoke, log]
        if wait:
            self._prepare(*arguments)
        else:
            threading.Thread(target=self._prepare_or_fail, args=arguments, daemon=True).start()

    def _prepare_or_fail(self, *arguments):
        try:
            self._prepare(*arguments)
        except BaseException:
            self.state = "failed"
            raise

    def _prepare(self, x_val, y_val, smoke, log):
        if smoke:
            few = datasets.to_float(self.train_images[: datasets.SMOKE["train"], ..., np.newaxis])
            self.detector = fitted(self.model, few, x_val[: datasets.SMOKE["val"]])
        else:
            self.detector = self._kept_detector(log)
        mapped = self.extract(x_val[:N_MAPPED, ..., 0])
        self.map_embedding = mapped["embedding"]
        transform = self.detector.transforms_[LAYER]
        self.sign_namer = SignNamer(transform, mapped[LAYER], y_val[:N_MAPPED])
        # One traced function for one image: `predict`, and calling the model, prepare anew at each call.
        self._extract = tf.function(self.model, input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32)])
        self.predict(x_val[0, ..., 0], explain=True)  # traced and warm before the first request
        self.state = "ready"

    def _kept_detector(self, log):
        """The detector of these networks: the one that was kept, or fitted anew."""
        path = self.folder / f"detector-{self.key}.skops"
        if path.is_file():
            try:
                return detectors.load_detector(path, "it is fitted anew")
            except InputError as error:
                log(error)
        log("The detector is being fitted (only once), which takes up to a minute", flush=True)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as temporary:
            made = Path(temporary) / path.name
            fit_elsewhere(made, self.folder, self.data_folder)
            detector = detectors.load_detector(made, "start the demo again")
            log(f"The detector is fitted, {time.perf_counter() - started:.0f} s", flush=True)
            try:
                with replacing(path) as beside:
                    shutil.copy(made, beside)
            except InputError as error:
                log(f"{error}; the next start fits the detector again", flush=True)
            else:
                for stale in set(path.parent.glob("*detector-*.skops")) - {path}:
                    stale.unlink(missing_ok=True)
        return detector

    def features(self, image):
        """What `rotation.feature_model` gives for one image, (28, 28), with all networks."""
        tensors = self._extract(tf.constant(image[None, :, :, None], tf.float32))
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def extract(self, x):
        """The same for many images, (n, 28, 28)."""
        return self.model.predict(x[..., np.newaxis], BATCH, verbose=0)

    def predict(self, image, explain=False, with_features=False, signs=None):
        """What a prepared image, (28, 28), 0 to 1, light on dark, is taken for: a dictionary for JSON.

        explain : with the image, the nearest training digits and the place on the map; with_features : with what an
        example of a sign is remembered by; signs : {name: [features, ...]}, with the "sign" that it is, or None.
        """
        found = self.features(image)
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
        if with_features or signs is not None:
            direction = self.sign_namer.directions(found[LAYER])[0]
        if with_features:
            result["features"] = direction.round(4).tolist()
        if signs is not None:
            result["sign"] = self.sign_namer.name(direction, signs, result["is_digit"])
        return result | self._explanation(image, found["embedding"]) if explain else result

    def _explanation(self, image, embedding):
        nearest = self._nearest_training_digits(embedding)
        return {
            "pixels": np.round(image * 255).astype(int).tolist(),
            "nearest": [
                {"label": int(self.train_labels[row]), "pixels": self.train_images[row].tolist()} for row in nearest
            ],
            "place": self._place(embedding[0]),
        }

    def _nearest_training_digits(self, embedding):
        """The rows of the training digits nearest to an embedding, (1, 64), the nearest first."""
        transform, measure = self.detector.transforms_["embedding"], self.detector.measures_["embedding"]
        return measure.kneighbors(transform.transform(embedding), N_NEAREST, return_distance=False)[0]

    def _place(self, embedding):
        """Where an embedding, (64,), falls on the map: the mean of its nearest points, the nearer the heavier."""
        distances = np.linalg.norm(self.map_embedding - embedding, axis=1)
        nearest = np.argsort(distances)[:N_PLACES]
        weights = 1 / (distances[nearest] + 1e-6)
        return np.average(self.map["place"][nearest], axis=0, weights=weights).round(4).tolist()

    def about(self):
        """Which model this is, how accurate, and how its detector is calibrated: a dictionary for JSON."""
        metrics = self.record["metrics"]
        return {
            "network": network_paths()[0].name,
            "sha256": self.sha256,
            "parameters": sum(metrics["parameters"]),
            "recipes": self.record["settings"]["recipes"],
            "seed": self.record["settings"]["seed"],
            "test_accuracy": metrics["accuracy"]["test"],
            "detector": {
                "layers": {name: {"measure": m, "truncation": t} for name, (m, t) in rotation.LAYERS.items()},
                "n_neighbors": self.detector.n_neighbors,
                "level": self.detector.level,
                "calibration_images": len(self.detector.calibration_scores_),
                "test_rejection_rate": metrics["calibration"]["rejected_at_1_percent"],
            },
            "versions": {"keras": keras.__version__, "tensorflow": tf.__version__},
        }


def _read(path, read):
    try:
        return read(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise InputError(f"{path}: missing or damaged; {REMEDY}") from None

"""The trained networks and their calibrated detector, ready to judge one image at a time."""

import atexit
import contextlib
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from common import cli

cli.start()  # before Keras is loaded

import keras
import numpy as np
import sklearn
import tensorflow as tf
from scipy.special import softmax
from sklearn.neighbors import KNeighborsRegressor, LocalOutlierFactor

from demo.signs import LAYER, SignNamer
from hypersphere import datasets, detectors, features, networks, rotation, scores
from hypersphere.errors import InputError
from hypersphere.files import load_arrays, reading

FOLDER = cli.PROJECT / "models" / "demo"
NETWORKS = ["network.keras", "rotation1.keras", "rotation2.keras"]  # the classifier, the rotation-prediction networks
ARTICLE = "article1.keras"  # article 1's network, in whose embedding its LOF looks; the detector does not depend on it
N_LOF, CONTAMINATION = 10_000, 0.01  # training images and their share above the threshold, as docs/article1.md found
REMEDY = "take the committed one, or run python -m demo.build again"
BATCH = 250  # images at a time
# Of the code that fits the detector: raise it with a change of that code which changes the detector. A test says when.
# Detectors that were kept, and the signs that visitors have taught, are given up with it.
VERSION = 1
# The process that fits ends when its input does, which the server holds open: also if the server is killed.
FIT = """
import os, sys, threading
threading.Thread(target=lambda: os._exit(len(os.read(0, 1)) + 1), daemon=True).start()  # imports take seconds
from demo import predictor
predictor.fit_detector(*sys.argv[1:])
"""


def detector_key(networks_sha256):
    """A short hash of what decides a fitted detector: networks, layers, options, data and versions."""
    parts = [networks_sha256, rotation.LAYERS, rotation.OPTIONS, datasets.N_TRAIN, sklearn.__version__, VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def load_model(folder):
    """`rotation.feature_model` of all networks; raises InputError if one is missing, damaged or for other images."""
    needed = [*features.BLOCKS, "embedding"]
    classifier, *others = loaded = [networks.load_network(folder / name, REMEDY, needed) for name in NETWORKS]
    if {network.input_shape for network in loaded} != {(None, 28, 28, 1)} or classifier.output_shape != (None, 10):
        raise InputError(f"{folder}: not the networks of a detector of digits; {REMEDY}")
    return rotation.feature_model(classifier, others)


def load_record(path):
    """Test accuracy and rejection rate, of the networks' record; raises InputError if it is missing or lacks them."""
    with reading(path, "damaged", REMEDY):
        metrics = json.loads(path.read_bytes())["metrics"]
        number = metrics["calibration"]["levels"].index(detectors.LayeredDetector().level)
        shares = metrics["accuracy"]["test"], metrics["calibration"]["rejected"][number]
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(shares)
        return shares


def load_map(path):
    """The map's arrays, "place", (n, 2), and "label", (n,); raises InputError if it is missing or lacks one."""
    arrays = load_arrays(path, REMEDY)
    place, label = (arrays.get(name, np.empty(0)) for name in ["place", "label"])
    is_whole = (place.dtype.kind, label.dtype.kind, place.shape) == ("f", "u", (label.size, 2)) and label.ndim == 1
    if not is_whole or not np.isfinite(place).all() or not 100 <= label.size <= 60_000 - datasets.N_TRAIN:
        raise InputError(f"{path}: damaged; {REMEDY}")
    return arrays


def fitted(model, smoke=False):
    """The detector of all networks, fitted to MNIST's training images and calibrated on its validation images."""
    (x_train, _), (x_val, _), _ = datasets.load_mnist(smoke=smoke)
    train, calibration = (features.outputs(model, x, BATCH) for x in [x_train, x_val])
    return detectors.fit_on_layers(rotation.LAYERS, train, calibration, **rotation.OPTIONS)


def fit_detector(path, folder):
    """Write the detector of a folder's networks to a file; the 2 GB of memory that it takes go with its process."""
    cli.install_error_hook()
    detectors.save_detector(fitted(load_model(Path(folder))), path)


class Predictor:
    """Names a digit, and says whether it is one.

    folder : has what `demo.build` writes; the detector is fitted once and kept there. wait : else the detector is
    fitted in a thread, and nothing can be predicted until `state`, at first "fitting", is "ready"; it is "failed" if
    that could not be done. Raises InputError if one of the files is missing or damaged.
    """

    def __init__(self, folder=FOLDER, wait=True):
        self.folder, self.state = folder, "fitting"
        self.accuracy, self.rejection_rate = load_record(folder / "network.json")
        self.map = load_map(folder / "map.npz")
        self.model = load_model(folder)
        article = networks.load_network(folder / ARTICLE, REMEDY, ["embedding"])
        self.article = keras.Model(article.input, article.get_layer("embedding").output)
        self.sha256 = hashlib.sha256(b"".join((folder / name).read_bytes() for name in NETWORKS)).hexdigest()
        self.key = detector_key(self.sha256)
        x, y = datasets.read_labelled("mnist", "train")  # as bytes, a quarter of the memory
        self.train_images, self.train_labels = x[: datasets.N_TRAIN, ..., 0], y[: datasets.N_TRAIN]
        mapped = slice(datasets.N_TRAIN, datasets.N_TRAIN + len(self.map["place"]))
        arguments = [datasets.to_float(x[mapped, ..., 0]), y[mapped]]
        if wait:
            self._prepare(*arguments)
        else:
            threading.Thread(target=self._prepare, args=arguments, daemon=True).start()

    def _prepare(self, x_mapped, y_mapped):
        try:
            self.detector = self.kept_detector()
            found = self.extract(x_mapped)
            self.sign_namer = SignNamer(self.detector.transforms_[LAYER], found[LAYER], y_mapped)
            self.placer = KNeighborsRegressor(10, weights="distance").fit(found["embedding"], self.map["place"])
            lof_images = datasets.to_float(self.train_images[:N_LOF, ..., np.newaxis])
            lof = LocalOutlierFactor(n_neighbors=20, algorithm="brute", novelty=True)
            self.lof = lof.fit(self.article.predict(lof_images, BATCH, verbose=0))
            self.lof_threshold = float(scores.contamination_threshold(self.lof, CONTAMINATION))
            # One traced function for one image: `predict`, and calling a model, prepare anew at each call.
            signature = [tf.TensorSpec((1, 28, 28, 1), tf.float32)]
            self._extract = tf.function(lambda x: (self.model(x), self.article(x)), input_signature=signature)
            self.predict(x_mapped[0], ["explain"])  # traced and warm before the first request
            self.state = "ready"
        except BaseException:
            self.state = "failed"
            raise

    def kept_detector(self):
        """The detector of these networks: the one that was kept, or fitted anew, by another process."""
        path = self.folder / f"detector-{self.key}.skops"
        try:
            return detectors.load_detector(path, "it is fitted now, only once, which takes about a minute")
        except InputError as error:
            print(error, flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            made = Path(temporary) / path.name
            command = [sys.executable, "-c", FIT, made, self.folder.resolve()]
            with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, cwd=cli.PROJECT) as process:
                atexit.register(process.kill)  # sooner than by its input: this process takes seconds to end
                if process.wait():
                    print(f"The process that fits the detector ended with code {process.returncode}", flush=True)
                    sys.exit(2)  # no traceback where this is a thread
            detector = detectors.load_detector(made, "start the demo again")
        print("The detector is fitted", flush=True)
        try:
            detectors.save_detector(detector, path)
        except InputError as error:
            print(f"{error}; the next start fits the detector again", flush=True)
        for stale in set(path.parent.glob("*detector-*.skops")) - {path}:
            with contextlib.suppress(OSError):
                stale.unlink()
        return detector

    def extract(self, x):
        """What `rotation.feature_model` gives for images, (n, 28, 28), with all networks."""
        return self.model.predict(x[..., np.newaxis], BATCH, verbose=0)

    def predict(self, image, wanted=(), signs=None):
        """What a prepared image, (28, 28), 0 to 1, light on dark, is taken for: a dictionary for JSON.

        wanted : "features" for what an example of a sign is remembered by; "explain" for the image's pixels, the five
        nearest training digits, and the place on the map, which is the mean of the ten nearest points', the nearer the
        heavier. signs : {name: [features, ...]}, with the "sign" that it is, or None.
        """
        tensors, article_embedding = self._extract(tf.constant(image[None, :, :, None], tf.float32))
        found = {name: tensor.numpy() for name, tensor in tensors.items()}
        probabilities = softmax(found["log_probabilities"][0].astype(np.float64))
        p_value = float(self.detector.p_values(detectors.side_by_side(found, rotation.LAYERS))[0])
        lof_score = float(scores.novelty_score(self.lof, article_embedding.numpy())[0])
        result = {
            "empty": False,
            "digit": int(probabilities.argmax()),
            "probabilities": [round(p, 6) for p in probabilities.tolist()],
            "p_value": round(p_value, 6),
            "level": self.detector.level,
            "is_digit": p_value > self.detector.level,
            "calibration_images": len(self.detector.calibration_scores_),
            "lof": {
                "score": round(lof_score, 4),
                "threshold": round(self.lof_threshold, 4),
                "is_digit": lof_score <= self.lof_threshold,
            },
        }
        direction = self.sign_namer.directions(found[LAYER])[0]
        if "features" in wanted:
            result["features"] = direction.round(4).tolist()
        if signs is not None:
            result["sign"] = self.sign_namer.name(direction, signs, result["is_digit"])
        if "explain" in wanted:
            embedding = found["embedding"]
            transform, measure = self.detector.transforms_["embedding"], self.detector.measures_["embedding"]
            nearest = measure.kneighbors(transform.transform(embedding), 5, return_distance=False)[0]
            digits = zip(self.train_labels[nearest].tolist(), self.train_images[nearest].tolist(), strict=True)
            result["pixels"] = np.round(image * 255).astype(int).tolist()
            result["nearest"] = [{"label": label, "pixels": pixels} for label, pixels in digits]
            result["place"] = self.placer.predict(embedding)[0].round(4).tolist()
        return result

    def about(self):
        """Which model this is, how accurate, and how its detector is calibrated: a dictionary for JSON."""
        return {
            "sha256": self.sha256,
            "test_accuracy": self.accuracy,
            "detector": {
                "layers": list(rotation.LAYERS),
                "level": self.detector.level,
                "calibration_images": len(self.detector.calibration_scores_),
                "test_rejection_rate": self.rejection_rate,
            },
        }

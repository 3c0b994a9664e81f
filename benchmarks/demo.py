"""Measure the demo: what pictures are taken for, latency, a minute of load, and memory.

    make bench-demo                          # about 5 minutes on two cores
    python -m benchmarks.demo --smoke        # few requests

Reads   models/demo, data/mnist, data/fashion-mnist
Writes  results/demo.json     the numbers, versions, machine

The server runs in a process of its own and tells in its Server-Timing header how long each answer took inside. The
alternatives in the table of latencies take turns with ours, in this process, forty images at a time: one at a time, the
threads that one library leaves waiting would slow down the next.
"""

# %% Settings
import http.client
import io
import json
import socket
import subprocess
import sys
import threading
import time

from demo.predictor import Predictor
from hypersphere import data, detectors, networks, outlier_sets, runs
from hypersphere.errors import InputError

import numpy as np
import psutil
from PIL import Image
from sklearn.neighbors import LocalOutlierFactor

HOST = "127.0.0.1"
RATE = 50  # requests a second
TURN, WARM_UP = 40, 5  # images in a row that a variant gets, and those at first that do not count


class Server:
    """`python -m demo` in a process of its own, on a free port."""

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "demo", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if not any("Open http" in line for line in self.process.stdout):
            self.process.wait()
            raise InputError("the demo did not start; run `python -m demo` to see why")
        return self

    def __exit__(self, *args):
        self.process.terminate()
        self.process.wait()

    def connect(self):
        return http.client.HTTPConnection(HOST, self.port, timeout=30)

    def memory_mb(self):
        """The process's resident memory."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


def png(image, dark_on_light=False):
    """A 28x28 image, 0 to 1, as a PNG file of 280x280."""
    picture = Image.fromarray(np.uint8(255 * (1 - image if dark_on_light else image)))
    content = io.BytesIO()
    picture.resize((280, 280), Image.Resampling.BICUBIC).save(content, "PNG", compress_level=1)
    return content.getvalue()


def post(connection, content):
    """Post a picture; returns the status, the answer and the milliseconds inside the server."""
    connection.request("POST", "/api/predict", content, {"Content-Type": "image/png"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    inside = response.headers["Server-Timing"]
    return response.status, answer, float(inside.split("dur=")[1]) if inside else None


def answers_to(server, contents):
    connection = server.connect()
    return [post(connection, content) for content in contents]


def quantiles(milliseconds):
    """Median and 99th percentile, as a dictionary for JSON."""
    return {"median": float(np.median(milliseconds)), "p99": float(np.quantile(milliseconds, 0.99))}


def milliseconds_of(call, i):
    started = time.perf_counter()
    call(i)
    return 1000 * (time.perf_counter() - started)


# %% Data: every tenth MNIST test image, and as many outliers
parser = runs.Parser(__doc__)
args = parser.parse()
started = time.perf_counter()
n = 50 if args.smoke else 1000
(x_train, _), _, (x_test, y_test) = data.load_mnist(args.data)
digits, labels = x_test[::10][:n, ..., 0], y_test[::10][:n]
clothes, letters = data.load_labelled("fashion-mnist", "t10k", args.data)[0], outlier_sets.draw_letters()
strangers = {
    "Fashion-MNIST": clothes[::10][:n, ..., 0],
    "printed letters": letters[:: len(letters) // 520][: min(520, n), ..., 0],
}

# %% In this process: ours beside the alternatives
predictor = Predictor()
network = networks.load_network(predictor.network_path, "make outliers")
metrics = {"own_accuracy": float(np.mean(networks.embed(network, digits[..., None])[1] == labels))}
print("scikit-learn's LOF is fitted on the three layers", end="", flush=True)
known = networks.extract(network, x_train[:5000] if args.smoke else x_train)
columns = {name: known[name] for name in detectors.LAYERS}
lof_started = time.perf_counter()
lofs = {name: LocalOutlierFactor(novelty=True).fit(layer) for name, layer in columns.items()}
metrics["scikit_learn_fit_seconds"] = time.perf_counter() - lof_started
print(f", {metrics['scikit_learn_fit_seconds']:.0f} s")
of_digits = networks.extract(network, digits[..., None])
rows = detectors.side_by_side(of_digits)
variants = {
    "network and detector, ours": lambda i: predictor.predict(digits[i]),
    "network alone, ours": lambda i: predictor.features(digits[i]),
    "network alone, model.predict": lambda i: network.predict(digits[i : i + 1, ..., None], verbose=0),
    "detector alone, ours": lambda i: predictor.detector.p_values(rows[i : i + 1]),
    "detector alone, scikit-learn's LOF on the same layers": lambda i: [
        lof.score_samples(of_digits[name][i : i + 1]) for name, lof in lofs.items()
    ],
}
taken = {name: [] for name in variants}
for first in range(0, n // 5, TURN):
    for name, call in variants.items():
        images = range(first, min(first + TURN, n // 5))
        taken[name] += [milliseconds_of(call, i) for i in images][WARM_UP:]
metrics["variants"] = {name: quantiles(values) for name, values in taken.items()}
own_away = {
    name: float(
        np.mean(predictor.detector.predict(detectors.side_by_side(networks.extract(network, x[..., None]))) < 0)
    )
    for name, x in strangers.items()
}

# %% Over HTTP
with Server() as server:
    answers = {
        polarity: answers_to(server, [png(image, polarity == "dark on light") for image in digits])
        for polarity in ["light on dark", "dark on light"]
    }
    metrics["digits"] = {
        polarity: {
            "accuracy": float(
                np.mean([answer["digit"] == label for (_, answer, _), label in zip(sent, labels, strict=True)])
            ),
            "turned_away": float(np.mean([not answer["is_digit"] for _, answer, _ in sent])),
        }
        for polarity, sent in answers.items()
    }
    metrics["turned_away"] = {
        name: {
            "posted": float(np.mean([not answer.get("is_digit") for _, answer, _ in answers_to(server, map(png, x))])),
            "as_they_are": own_away[name],
        }
        for name, x in strangers.items()
    }
    metrics["inside_ms"] = quantiles([inside for sent in answers.values() for _, _, inside in sent])
    print(json.dumps(metrics, indent=1))

    contents = [png(image) for image in digits[:100]]
    statuses, waits, lock = [], [], threading.Lock()
    start = time.perf_counter() + 0.5
    seconds = 3 if args.smoke else 60

    def knock(number, clients=10):
        """Post at this client's share of the times, whether or not the others have been answered."""
        connection = server.connect()
        for turn in range(number, RATE * seconds, clients):
            due = start + turn / RATE
            time.sleep(max(0, due - time.perf_counter()))
            status, _, _ = post(connection, contents[turn % len(contents)])
            with lock:
                statuses.append(status)
                waits.append(1000 * (time.perf_counter() - due))

    clients = [threading.Thread(target=knock, args=(number,)) for number in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    metrics["load"] = {
        "rate": RATE,
        "seconds": seconds,
        "requests": RATE * seconds,
        "errors": RATE * seconds - statuses.count(200),
        "answered_ms": quantiles(waits),
    }
    print(json.dumps(metrics["load"]))

    metrics["memory_mb"] = {}
    connection = server.connect()
    for number in range(300 if args.smoke else 10_000):
        if number % (100 if args.smoke else 2000) == 0:
            metrics["memory_mb"][str(number)] = server.memory_mb()
        post(connection, contents[number % len(contents)])
    metrics["memory_mb"][str(number + 1)] = server.memory_mb()
    print(json.dumps(metrics["memory_mb"]))

# %% Save
print(f"wrote {runs.write_record(args, 'demo', metrics, started)}")

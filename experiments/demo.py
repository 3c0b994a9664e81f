"""Measure the demo: what posted pictures are taken for, latency, a minute of load, and memory.

    python -m experiments.demo              # some 9 minutes on two cores
    python -m experiments.demo --smoke      # few requests

The server runs in a process of its own, on loopback, and tells in its Server-Timing header how long each answer took
inside. The variants of a single prediction take turns in this process, forty images at a time: one at a time, the
threads that one library leaves waiting would slow down the next.

Reads   models/demo, data/mnist, data/fashion-mnist
Writes  runs/results/demo.jsonl     a line a run
"""

import http.client
import io
import json
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
from PIL import Image

from common import cli, records
from demo.predictor import Predictor
from experiments import made_outliers, rotation
from hypersphere import datasets, detectors
from hypersphere.errors import InputError

HOST = "127.0.0.1"
RATE = 40  # requests a second
TURN, WARM_UP = 40, 5  # images in a row that a variant gets, and those at first that do not count


class Server:
    """`python -m demo` in a process of its own, on a free port."""

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "demo", "--port", str(self.port)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(command, cwd=cli.PROJECT, **pipes)
        if not any("Open http" in line for line in self.process.stdout):
            self.process.wait()
            raise InputError("the demo did not start; run `python -m demo` to see why")
        while self.get("/api/model").status == 503:  # the detector is still being fitted
            time.sleep(1)
        return self

    def __exit__(self, *args):
        self.process.terminate()
        self.process.wait()

    def connect(self):
        """A connection to it."""
        return http.client.HTTPConnection(HOST, self.port, timeout=30)

    def get(self, path):
        """The response to a question without a body."""
        connection = self.connect()
        connection.request("GET", path)
        return connection.getresponse()

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
    """The answers to pictures, one after the other, with the milliseconds inside the server."""
    connection, answers = server.connect(), []
    for content in contents:
        status, *answer = post(connection, content)
        if status != 200:
            raise InputError(f"the demo answered {status}: {answer[0]}")
        answers.append(answer)
    return answers


def quantiles(milliseconds):
    """Median and 99th percentile, as a dictionary for JSON."""
    return {"median": float(np.median(milliseconds)), "p99": float(np.quantile(milliseconds, 0.99))}


def rejection_rate(answers):
    """The share of answers that are no digit, or nothing drawn."""
    return float(np.mean([not answer.get("is_digit") for answer, _ in answers]))


def in_this_process(digits, labels, ood):
    """Accuracy, rejection rates and milliseconds of a prediction without a server."""
    predictor = Predictor()
    of_digits = predictor.extract(digits)
    rows = detectors.side_by_side(of_digits, rotation.LAYERS)
    variants = {
        "the networks and detector, ours": lambda i: predictor.predict(digits[i]),
        "the networks alone, ours": lambda i: predictor.features(digits[i]),
        "the networks alone, model.predict": lambda i: predictor.model.predict(digits[i : i + 1, ..., None], verbose=0),
        "detector alone, ours": lambda i: predictor.detector.p_values(rows[i : i + 1]),
    }
    taken = {name: [] for name in variants}
    for first in range(0, len(digits) // 5, TURN):
        for name, call in variants.items():
            for number, i in enumerate(range(first, min(first + TURN, len(digits) // 5))):
                started = time.perf_counter()
                call(i)
                if number >= WARM_UP:
                    taken[name].append(1000 * (time.perf_counter() - started))
    of_ood = {name: detectors.side_by_side(predictor.extract(x), rotation.LAYERS) for name, x in ood.items()}
    return {
        "own_accuracy": float(np.mean(of_digits["logits"].argmax(axis=1) == labels)),
        "variants": {name: quantiles(values) for name, values in taken.items()},
        "as_they_are": {name: float(np.mean(predictor.detector.predict(x) < 0)) for name, x in of_ood.items()},
    }


def load(server, contents, seconds):
    """Post at a fixed rate from ten clients, whether or not the others have been answered."""
    statuses, waits, lock, start = [], [], threading.Lock(), time.perf_counter() + 0.5

    def knock(number, clients=10):
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
    errors = RATE * seconds - statuses.count(200)
    counted = {"rate": RATE, "seconds": seconds, "requests": RATE * seconds, "errors": errors}
    return counted | {"answered_ms": quantiles(waits)}


def memory(server, contents, requests):
    """Resident memory as requests go by, {number of requests: MB}."""
    found, connection = {}, server.connect()
    for number in range(requests):
        if number % (requests // 5) == 0:
            found[str(number)] = server.memory_mb()
        post(connection, contents[number % len(contents)])
    return found | {str(requests): server.memory_mb()}


def main():
    args = cli.Parser(__doc__, out=cli.PROJECT / "runs").parse()
    started, n = time.perf_counter(), 50 if args.smoke else 1000
    _, _, (x_test, y_test) = datasets.load_mnist(args.data)
    digits, labels = x_test[::10][:n, ..., 0], y_test[::10][:n]  # every tenth, and as many OOD images
    clothes, letters = datasets.load_labelled("fashion-mnist", "t10k", args.data)[0], made_outliers.draw_letters()
    ood = {"Fashion-MNIST": clothes[::10][:n, ..., 0], "printed letters": letters[::2][: min(520, n), ..., 0]}
    with cli.stage("predictions in this process"):
        metrics = in_this_process(digits, labels, ood)
    as_they_are = metrics.pop("as_they_are")
    with Server() as server:
        with cli.stage("pictures over HTTP"):
            polarities = {"light on dark": False, "dark on light": True}
            sent = {name: answers_to(server, [png(x, dark) for x in digits]) for name, dark in polarities.items()}
            metrics["digits"] = {
                name: {
                    "accuracy": float(np.mean([a["digit"] == y for (a, _), y in zip(of, labels, strict=True)])),
                    "rejected": rejection_rate(of),
                }
                for name, of in sent.items()
            }
            metrics["rejected"] = {
                name: {"posted": rejection_rate(answers_to(server, map(png, x))), "as_they_are": as_they_are[name]}
                for name, x in ood.items()
            }
            metrics["inside_ms"] = quantiles([inside for of in sent.values() for _, inside in of])
        contents = [png(image) for image in digits[:100]]
        with cli.stage(f"load, {RATE} requests a second"):
            metrics["load"] = load(server, contents, seconds=3 if args.smoke else 60)
        with cli.stage("memory"):
            metrics["memory_mb"] = memory(server, contents, 300 if args.smoke else 10_000)
    print(json.dumps(metrics, indent=1))
    record = records.new_record("demo", {"smoke": args.smoke}, metrics, started)
    records.append_record(args.out / "results" / "demo.jsonl", record)


if __name__ == "__main__":
    main()

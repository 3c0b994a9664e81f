"""What does the demo take posted pictures for, how fast, and does it recognise signs that it is taught?

    python -m experiments.demo              # some 4 minutes on two cores

"demo" : pictures of digits, clothes and printed letters are posted to the application, which tells how long each took.
"signs" : five drawings of each of ten signs teach, ten others test. One group of ten signs was used for tuning the
layer, the threshold's quantile and the margin; the other was drawn afterwards. The scribbles are random walks.

Reads   models/demo, data/mnist, data/fashion-mnist; tests/signs.json, made by tests/draw_signs.py
Writes  runs/results/demo.jsonl     two lines a run
"""

import io
import json
import time

import numpy as np
from PIL import Image, ImageDraw

from common import cli, records
from demo import images
from demo.app import create_app
from demo.predictor import Predictor
from demo.signs import LAYER, MAX_EXAMPLES
from experiments import near_outliers
from experiments.tables import caption, markdown
from hypersphere import datasets, detectors, rotation

SIDE, BRUSH = 560, 44  # pixels, twice those of the page
GROUPS = {"seen while choosing": "ten signs used for tuning", "test": "ten others"}


def post(client, x):
    """The answers to images, (n, 28, 28) in [0, 1], posted as PNG files of 280x280, and the milliseconds of each."""
    answers, milliseconds = [], []
    for image in x:
        content, picture = io.BytesIO(), Image.fromarray(np.uint8(255 * image))
        picture.resize((280, 280), Image.Resampling.BICUBIC).save(content, "PNG", compress_level=1)
        response = client.post("/api/predict", data=content.getvalue())
        answers.append(response.json)
        milliseconds.append(float(response.headers["Server-Timing"].split("dur=")[1]))
    return answers, milliseconds


def rejection_rate(answers):
    """The share of answers that are no digit, or nothing drawn."""
    return float(np.mean([not answer.get("is_digit") for answer in answers]))


def measure_pictures(predictor, data, smoke):
    """What posted pictures are taken for and how fast; beside it, what the images are taken for as they are."""
    client, n = create_app(predictor).test_client(), 50 if smoke else 1000
    _, _, (x_test, y_test) = datasets.load_mnist(data)
    digits, labels = x_test[::10][:n, ..., 0], y_test[::10][:n]  # every tenth, and as many OOD images
    clothes, letters = datasets.load_labelled("fashion-mnist", "test", data)[0], near_outliers.draw_letters()
    ood = {"Fashion-MNIST": clothes[::10][:n, ..., 0], "printed letters": letters[::2][:n, ..., 0]}
    own = predictor.extract(digits)["logits"].argmax(axis=1)
    metrics, milliseconds = {"own_accuracy": float(np.mean(own == labels)), "digits": {}, "rejected": {}}, []
    for polarity, x in {"light on dark": digits, "dark on light": 1 - digits}.items():
        answers, taken = post(client, x)
        accuracy = np.mean([answer["digit"] == label for answer, label in zip(answers, labels, strict=True)])
        metrics["digits"][polarity] = {"accuracy": float(accuracy), "rejected": rejection_rate(answers)}
        milliseconds += taken
    for name, x in ood.items():
        _, accepted = directions_and_accepted(predictor, x)
        posted = rejection_rate(post(client, x)[0])
        metrics["rejected"][name] = {"posted": posted, "as_they_are": float(np.mean(~accepted))}
    return metrics | {"inside_ms": {"median": np.median(milliseconds), "p99": np.quantile(milliseconds, 0.99)}}


def rendered(strokes):
    """A drawing as the page sends it, made ready for the network, (28, 28)."""
    picture = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        points = [(SIDE * x, SIDE * y) for x, y in stroke]
        draw.line(points, fill=255, width=BRUSH)
        for x, y in points:
            draw.ellipse([x - BRUSH / 2, y - BRUSH / 2, x + BRUSH / 2, y + BRUSH / 2], fill=255)
    return images.prepare(np.asarray(picture.resize((SIDE // 2, SIDE // 2), Image.Resampling.BOX), np.float32) / 255)


def directions_and_accepted(predictor, x):
    """What signs are compared by, (n, width), and whether the detector accepts the images, (n,), of (n, 28, 28)."""
    found = predictor.extract(x)
    accepted = predictor.detector.predict(detectors.side_by_side(found, rotation.LAYERS)) > 0
    return predictor.sign_namer.directions(found[LAYER]), accepted


def measure_signs(predictor, data, smoke):
    """Shares of each group's drawings that are recognised, and of other images that are taken for one of its signs.

    The first drawings of each sign teach it.
    """
    drawn = json.loads((cli.PROJECT / "tests" / "signs.json").read_text(encoding="utf-8"))
    _, _, (x_test, _) = datasets.load_mnist(data)
    scribbles = np.stack([rendered(strokes) for strokes in drawn.pop("scribbles")])
    others = {"digits": x_test[: 500 if smoke else None, ..., 0], "scribbles": scribbles}
    others = {name: directions_and_accepted(predictor, x) for name, x in others.items()}
    metrics = {"threshold": predictor.sign_namer.threshold}
    for group, signs in drawn.items():
        rows = {sign: np.stack([rendered(strokes) for strokes in drawings]) for sign, drawings in signs.items()}
        found = {sign: directions_and_accepted(predictor, x) for sign, x in rows.items()}
        taught = {sign: directions[:MAX_EXAMPLES] for sign, (directions, _) in found.items()}
        answers = {
            title: [predictor.sign_namer.name(row, taught, is_digit) for row, is_digit in zip(*both, strict=True)]
            for title, both in (found | others).items()
        }
        pairs = [(sign, name) for sign in found for name in answers[sign][MAX_EXAMPLES:]]
        metrics[group] = {
            "recognised": np.mean([name == sign for sign, name in pairs]),
            "taken for another sign": np.mean([name not in [sign, None] for sign, name in pairs]),
        } | {f"{title} taken for a sign": np.mean([name is not None for name in answers[title]]) for title in others}
    return metrics


def tables(records):
    """The tables of the last "demo" and of the last "signs", {marker: Markdown}."""
    makers = {"demo": ("demo_pictures", pictures_table), "signs": ("demo_signs", signs_table)}
    made = [(makers[record["name"]], record) for record in records]
    return {marker: make(record) for (marker, make), record in made}


def pictures_table(record):
    metrics, inside = record["metrics"], record["metrics"]["inside_ms"]
    rows = [
        [f"MNIST test images, {polarity}", f"{shares['accuracy']:.1%}", f"{shares['rejected']:.1%}"]
        for polarity, shares in metrics["digits"].items()
    ]
    rows += [[name, "", f"{shares['posted']:.1%}"] for name, shares in metrics["rejected"].items()]
    as_they_are = ", ".join(f"{name} {shares['as_they_are']:.1%}" for name, shares in metrics["rejected"].items())
    sentence = (
        f"The classifier alone names {metrics['own_accuracy']:.1%} of these digits. Given the 28x28 images "
        f"directly, not cropped and fitted again, the detector rejects: {as_they_are}. One answer takes "
        f"{inside['median']:.1f} ms (99th percentile {inside['p99']:.1f} ms), with reading and preparing the picture."
    )
    header = ["posted as PNG of 280x280", "right digit", "rejected"]
    return markdown(header, rows, sentence, caption([record], 1, "network"))


def signs_table(record):
    groups = [record["metrics"][group] for group in GROUPS]
    rows = [[title, *(f"{shares[title]:.1%}" for shares in groups)] for title in groups[0]]
    return markdown(["share", *GROUPS.values()], rows, caption([record], 1, "network"))


def main():
    args = cli.Parser(__doc__, out=cli.PROJECT / "runs").parse()
    predictor = Predictor()
    for name, measure in {"demo": measure_pictures, "signs": measure_signs}.items():
        started = time.perf_counter()
        metrics = measure(predictor, args.data, args.smoke)
        record = records.new_record(name, {"smoke": args.smoke}, metrics, started)
        records.append_record(args.out / "results" / "demo.jsonl", record)


if __name__ == "__main__":
    main()

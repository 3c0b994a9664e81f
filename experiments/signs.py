"""Measure the demo's taught signs: five drawings of ten signs teach, ten others test.

    python -m experiments.signs         # a minute and a half

Two groups of ten signs: those that were looked at while the layer, the threshold's quantile and the margin were
chosen, and others, drawn afterwards. The scribbles are random walks.

Reads   models/demo, data/mnist, tests/signs.json, made by tests/draw_signs.py
Writes  runs/results/signs.jsonl     a line a run
"""

import json
import time

import numpy as np
from PIL import Image, ImageDraw

from common import cli, records
from demo import images
from demo.predictor import Predictor
from demo.signs import LAYER, MAX_EXAMPLES
from experiments import rotation
from hypersphere import datasets, detectors

SIDE, BRUSH = 560, 44  # pixels, twice those of the page


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


class Looked:
    """Images as the predictor sees them: features for signs, and what the detector says."""

    def __init__(self, predictor, x):
        found = predictor.extract(x)
        self.directions = predictor.sign_namer.directions(found[LAYER])
        self.is_digit = predictor.detector.predict(detectors.side_by_side(found, rotation.LAYERS)) > 0

    def named(self, predictor, signs):
        """Each image's sign, or None."""
        both = zip(self.directions, self.is_digit, strict=True)
        return [predictor.sign_namer.name(direction, signs, is_digit) for direction, is_digit in both]


def measure(predictor, drawn, others, look):
    """Shares of test drawings recognised, and of other images taken for a sign, with ten signs taught."""
    looked = {name: look(np.stack([rendered(strokes) for strokes in drawings])) for name, drawings in drawn.items()}
    signs = {name: one.directions[:MAX_EXAMPLES] for name, one in looked.items()}
    named = {name: one.named(predictor, signs)[MAX_EXAMPLES:] for name, one in looked.items()}
    pairs = [(name, found) for name, every in named.items() for found in every]
    metrics = {
        "recognised": np.mean([found == name for name, found in pairs]),
        "taken for another sign": np.mean([found not in [name, None] for name, found in pairs]),
    }
    metrics |= {
        name: np.mean([found is not None for found in one.named(predictor, signs)]) for name, one in others.items()
    }
    return {name: float(share) for name, share in metrics.items()}


def main():
    args = cli.Parser(__doc__, out=cli.PROJECT / "runs").parse()
    started = time.perf_counter()
    drawn = json.loads((cli.PROJECT / "tests" / "signs.json").read_text(encoding="utf-8"))
    _, _, (x_test, _) = datasets.load_mnist(args.data)
    predictor = Predictor(data_folder=args.data)

    def look(x):
        return Looked(predictor, x)

    others = {
        "digits taken for a sign": look(x_test[: 500 if args.smoke else None, ..., 0]),
        "scribbles taken for a sign": look(np.stack([rendered(strokes) for strokes in drawn.pop("scribbles")])),
    }
    metrics = {group: measure(predictor, signs, others, look) for group, signs in drawn.items()}
    metrics["threshold"] = predictor.sign_namer.threshold
    print(json.dumps(metrics, indent=1))
    record = records.new_record("signs", {"smoke": args.smoke}, metrics, started)
    records.append_record(args.out / "results" / "signs.jsonl", record)


if __name__ == "__main__":
    main()

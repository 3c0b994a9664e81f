"""Draw tests/signs.json: variants of hand-written paths, and scribbles. Run it from the repository's root."""

import json
from pathlib import Path

import numpy as np

VARIANTS, POINTS = 15, 20


def arc(x, y, width, height, start, end):
    angle = np.radians(np.linspace(start, end, POINTS))
    return np.column_stack([x + width * np.cos(angle), y + height * np.sin(angle)]).tolist()


def heart():
    t = np.linspace(0, 2 * np.pi, 41)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.column_stack([0.5 + 0.36 * np.sin(t) ** 3, 0.47 - 0.0225 * height]).tolist()


SIGNS = {
    "seen while choosing": {
        "heart": [heart()],
        "star": [[[0.5 + 0.38 * np.sin(4 * np.pi * i / 5), 0.5 - 0.38 * np.cos(4 * np.pi * i / 5)] for i in range(6)]],
        "triangle": [[[0.5, 0.15], [0.85, 0.82], [0.15, 0.82], [0.5, 0.15]]],
        "arrow": [[[0.12, 0.5], [0.86, 0.5]], [[0.62, 0.27], [0.86, 0.5], [0.62, 0.73]]],
        "house": [[[0.22, 0.85], [0.22, 0.45], [0.5, 0.15], [0.78, 0.45], [0.78, 0.85], [0.22, 0.85]]],
        "smile": [arc(0.5, 0.5, 0.36, 0.36, 0, 360), arc(0.5, 0.55, 0.18, 0.14, 10, 170)]
        + [[[x, 0.38], [x, 0.42]] for x in [0.38, 0.62]],
        "A": [[[0.2, 0.85], [0.5, 0.15], [0.8, 0.85]], [[0.31, 0.58], [0.69, 0.58]]],
        "E": [[[0.75, 0.16], [0.28, 0.16], [0.28, 0.84], [0.75, 0.84]], [[0.28, 0.5], [0.66, 0.5]]],
        "M": [[[0.18, 0.85], [0.22, 0.17], [0.5, 0.6], [0.78, 0.17], [0.82, 0.85]]],
        "R": [[[0.28, 0.86], [0.28, 0.15], *arc(0.45, 0.33, 0.22, 0.18, -90, 90), [0.28, 0.51], [0.74, 0.86]]],
    },
    "test": {
        "crescent": [[*arc(0.5, 0.5, 0.36, 0.36, 60, 300), *arc(0.68, 0.5, 0.31, 0.31, 270, 90)]],
        "lightning": [[[0.6, 0.1], [0.3, 0.52], [0.52, 0.52], [0.4, 0.9], [0.74, 0.4], [0.52, 0.4], [0.6, 0.1]]],
        "fish": [[[0.88, 0.3], *arc(0.4, 0.5, 0.3, 0.2, 20, 340)[::-1], [0.88, 0.7], [0.88, 0.3]], [[0.26, 0.45]] * 2],
        "tree": [[[0.5, 0.9], [0.5, 0.66], [0.2, 0.66], [0.5, 0.12], [0.8, 0.66], [0.5, 0.66]]],
        "flag": [[[0.28, 0.9], [0.28, 0.14], [0.8, 0.2], [0.8, 0.52], [0.28, 0.48]]],
        "diamond": [[[0.5, 0.12], [0.84, 0.5], [0.5, 0.88], [0.16, 0.5], [0.5, 0.12]]],
        "cross": [[[0.5, 0.12], [0.5, 0.88]], [[0.14, 0.5], [0.86, 0.5]]],
        "H": [[[0.24, 0.15], [0.24, 0.85]], [[0.76, 0.15], [0.76, 0.85]], [[0.24, 0.5], [0.76, 0.5]]],
        "K": [[[0.28, 0.15], [0.28, 0.85]], [[0.74, 0.15], [0.28, 0.52], [0.76, 0.85]]],
        "W": [[[0.12, 0.16], [0.3, 0.84], [0.5, 0.36], [0.7, 0.84], [0.88, 0.16]]],
    },
}


def dense(stroke):
    """A stroke's points at equal distances, (POINTS, 2); the corners go."""
    stroke = np.array(stroke)
    along = np.r_[0, np.hypot(*np.diff(stroke, axis=0).T).cumsum()]
    places = np.linspace(0, along[-1], POINTS)
    return np.column_stack([np.interp(places, along, stroke[:, axis]) for axis in [0, 1]])


def varied(strokes, rng):
    """The strokes turned, stretched, slanted, bent and moved against each other."""
    turn, slant = np.radians(rng.uniform(-12, 12)), rng.uniform(-0.15, 0.15)
    width, height = rng.uniform(0.75, 1.05, 2)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[width, slant], [0, height]]
    rate, phase, size = rng.uniform(6, 14, 2), rng.uniform(0, 2 * np.pi, 2), rng.normal(0, 0.025, 2)
    moved = []
    for stroke in strokes:
        points = dense(stroke)
        bent = points - 0.5 + size * np.sin(rate * points[:, ::-1] + phase)
        moved.append((bent @ matrix.T + 0.5 + rng.normal(0, 0.015, 2)).clip(0.03, 0.97).round(3).tolist())
    return moved


def scribbled(rng):
    walks = [rng.normal(0, 0.09, (rng.integers(6, 25), 2)).cumsum(axis=0) for _ in range(rng.integers(1, 4))]
    return [(walk + rng.uniform(0.25, 0.75, 2)).clip(0.04, 0.96).round(3).tolist() for walk in walks]


if __name__ == "__main__":
    rng = np.random.default_rng(1)
    drawn = {}
    for group, signs in SIGNS.items():
        drawn[group] = {name: [varied(strokes, rng) for _ in range(VARIANTS)] for name, strokes in signs.items()}
    drawn["scribbles"] = [scribbled(rng) for _ in range(100)]
    Path(__file__).with_name("signs.json").write_text(json.dumps(drawn, separators=(",", ":")) + "\n")

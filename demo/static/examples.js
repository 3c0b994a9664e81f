// Drawings to try, as strokes: lists of points, [x, y] from 0 to 1.

import { paint, put } from "./drawing.js";

function arc(x, y, width, height, from, to, points = 24) {
  return Array.from({ length: points + 1 }, (_, i) => {
    const angle = (Math.PI / 180) * (from + ((to - from) * i) / points);
    return [x + width * Math.cos(angle), y + height * Math.sin(angle)];
  });
}

// The curve 16 sin^3 t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t.
function heart() {
  return Array.from({ length: 41 }, (_, i) => {
    const t = (2 * Math.PI * i) / 40;
    const height = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
    return [0.5 + 0.36 * Math.sin(t) ** 3, 0.47 - 0.0225 * height];
  });
}

const EXAMPLES = {
  "a seven": [[[0.28, 0.2], [0.5, 0.19], [0.72, 0.2], [0.6, 0.42], [0.5, 0.62], [0.43, 0.84]]],
  "a heart": [heart()],
  "a cat": [
    [[0.2, 0.55], [0.2, 0.14], [0.38, 0.31], [0.62, 0.31], [0.8, 0.14], [0.8, 0.55], ...arc(0.5, 0.55, 0.3, 0.3, 0, 180)],
    [[0.38, 0.5]],
    [[0.62, 0.5]],
    [[0.5, 0.62], [0.5, 0.66]],
    [[0.04, 0.6], [0.3, 0.64]],
    [[0.96, 0.6], [0.7, 0.64]],
  ],
};

export function showExamples(place) {
  for (const [name, strokes] of Object.entries(EXAMPLES)) {
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    paint(canvas, 88, { strokes });
    button.type = "button";
    button.setAttribute("aria-label", name);
    button.append(canvas);
    button.addEventListener("click", () => put(strokes));
    place.append(button);
  }
}

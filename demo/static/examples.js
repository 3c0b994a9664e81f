// Drawings to try, as strokes: lists of points, [x, y] from 0 to 1.

import { paint, put } from "./drawing.js";

// The curve 16 sin^3 t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t.
const heart = Array.from({ length: 41 }, (_, i) => {
  const t = (2 * Math.PI * i) / 40;
  const height = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
  return [0.5 + 0.36 * Math.sin(t) ** 3, 0.47 - 0.0225 * height];
});

// Half a circle.
const angles = Array.from({ length: 25 }, (_, i) => (Math.PI * i) / 24);
const chin = angles.map((t) => [0.5 + 0.3 * Math.cos(t), 0.55 + 0.3 * Math.sin(t)]);

const EXAMPLES = {
  "a seven": [[[0.28, 0.2], [0.5, 0.19], [0.72, 0.2], [0.6, 0.42], [0.5, 0.62], [0.43, 0.84]]],
  "a heart": [heart],
  "a cat": [
    [[0.2, 0.55], [0.2, 0.14], [0.38, 0.31], [0.62, 0.31], [0.8, 0.14], [0.8, 0.55], ...chin],
    [[0.38, 0.5]],
    [[0.62, 0.5]],
    [[0.5, 0.62], [0.5, 0.66]],
    [[0.04, 0.6], [0.3, 0.64]],
    [[0.96, 0.6], [0.7, 0.64]],
  ],
};

for (const [name, strokes] of Object.entries(EXAMPLES)) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", name);
  button.append(paint(document.createElement("canvas"), 88, { strokes }));
  button.addEventListener("click", () => put(strokes));
  document.getElementById("examples").append(button);
}

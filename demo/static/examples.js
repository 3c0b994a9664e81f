// Drawings to try, as strokes: lists of points, [x, y] from 0 to 1.

import { paintBackground, paintStroke, put } from "./drawing.js";

// The curve 16 sin^3 t, 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t.
const heart = Array.from({ length: 41 }, (_, i) => {
  const t = (2 * Math.PI * i) / 40;
  const height = 13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t);
  return [0.5 + 0.36 * Math.sin(t) ** 3, 0.47 - 0.0225 * height];
});

// Two fifths of a circle from point to point.
const turns = [0, 1, 2, 3, 4, 5].map((i) => 0.8 * Math.PI * i);
const star = turns.map((t) => [0.5 + 0.42 * Math.sin(t), 0.54 - 0.42 * Math.cos(t)]);

const EXAMPLES = {
  "a seven": [[[0.28, 0.2], [0.5, 0.19], [0.72, 0.2], [0.6, 0.42], [0.5, 0.62], [0.43, 0.84]]],
  "a heart": [heart],
  "a star": [star],
};

for (const [name, strokes] of Object.entries(EXAMPLES)) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", name);
  const context = document.createElement("canvas").getContext("2d");
  paintBackground(context, 88);
  for (const stroke of strokes) paintStroke(context, 88, stroke);
  button.append(context.canvas);
  button.addEventListener("click", () => put(strokes));
  document.getElementById("examples").append(button);
}

// The t-SNE map of the sphere, and where a drawing falls on it.

// Told apart from each other, and from a light and a dark background at a contrast of 3 and more.
const COLORS = ["#1c85ed", "#cf7900", "#e11212", "#09a26f", "#9f46de", "#ad6b55", "#ea1390", "#769a08", "#7c818b", "#0a98b5"];
const RING = 0.07; // radius, of the map from -1 to 1
const CELLS = 40; // a side, of the grid in which an empty place is looked for

const map = document.getElementById("map");
const title = document.getElementById("map-title");
const TITLE = title.textContent;
let points = null; // {place, label}
let middles = []; // of each digit's points
let free = []; // places whose ring would hold no point

export async function loadMap() {
  points = await (await fetch("api/map")).json();
  middles = COLORS.map((_, digit) => middle(points.place.filter((_, i) => points.label[i] === digit)));
  const steps = Array.from({ length: CELLS + 1 }, (_, i) => (2 * i) / CELLS - 1);
  const grid = steps.flatMap((x) => steps.map((y) => [x, y]));
  free = grid.filter((cell) => points.place.every((point) => distance(cell, point) > RING));
}

function middle(list) {
  return [0, 1].map((axis) => list.map((point) => point[axis]).sort((a, b) => a - b)[list.length >> 1]);
}

function distance([x, y], [u, v]) {
  return Math.hypot(x - u, y - v);
}

// What is rejected lies in no cluster: the nearest place outside them, for a ring.
function outside(place) {
  return free.reduce((best, cell) => (distance(cell, place) < distance(best, place) ? cell : best), free[0]);
}

// drawn : {place, labels, isOutside} of the drawing, labels those of the nearest digits; or undefined.
export function drawMap(drawn) {
  if (!points) return;
  const side = (map.width = map.height = Math.round(map.clientWidth * window.devicePixelRatio));
  const context = map.getContext("2d");
  const at = ([x, y]) => [(0.5 + 0.48 * x) * side, (0.5 - 0.48 * y) * side];
  const style = getComputedStyle(map);
  const [text, background] = [style.color, style.backgroundColor];
  points.place.forEach((point, i) => {
    context.fillStyle = COLORS[points.label[i]];
    const [x, y] = at(point);
    context.fillRect(x, y, side / 200, side / 200);
  });
  if (drawn) {
    const place = at(drawn.isOutside ? outside(drawn.place) : drawn.place);
    Object.assign(context, { fillStyle: background, strokeStyle: text, lineWidth: side / 300 });
    for (const label of drawn.isOutside ? drawn.labels : []) {
      context.beginPath();
      context.moveTo(...place);
      context.lineTo(...at(middles[label]));
      context.stroke();
    }
    context.beginPath();
    context.arc(...place, 0.44 * RING * side, 0, 2 * Math.PI);
    if (drawn.isOutside) context.fill(); // no line within
    for (const [strokeStyle, lineWidth] of [[background, side / 60], [text, side / 120]]) {
      Object.assign(context, { strokeStyle, lineWidth });
      context.stroke();
      if (drawn.isOutside) context.setLineDash([side / 60, side / 80]);
    }
    context.setLineDash([]);
  }
  Object.assign(context, { font: `bold ${side / 18}px system-ui, sans-serif`, textAlign: "center", textBaseline: "middle" });
  Object.assign(context, { lineWidth: side / 80, strokeStyle: background, fillStyle: text });
  middles.forEach((place, digit) => {
    context.strokeText(digit, ...at(place));
    context.fillText(digit, ...at(place));
  });
  title.textContent = drawn?.isOutside ? "In no cluster of the map (t-SNE); lines lead to the nearest" : TITLE;
  const falls = drawn?.isOutside ? "falls in no cluster" : "falls on it";
  const words = drawn ? `; the drawing ${falls}; the nearest training digits: ${drawn.labels.join(", ")}` : "";
  map.setAttribute("aria-label", `Map of ${points.place.length} digits on the sphere${words}`);
}

// The t-SNE map of the sphere, and where a drawing falls on it.

// Told apart from each other, and from a light and a dark background at a contrast of 3 and more.
const COLORS = ["#1c85ed", "#cf7900", "#e11212", "#09a26f", "#9f46de", "#ad6b55", "#ea1390", "#769a08", "#7c818b", "#0a98b5"];
const RING = 0.07; // radius, of the map from -1 to 1
const CELLS = 40; // a side, of the grid in which an empty place is looked for

const map = document.getElementById("map");
const title = document.getElementById("map-title");
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

// drawn : {place, label, isRejected} of the drawing, or undefined.
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
  if (drawn?.isRejected) drawRing(context, at(outside(drawn.place)), side, [side / 60, side / 80], text, background);
  else if (drawn) drawRing(context, at(drawn.place), side, [], text, background);
  context.font = `bold ${side / 18}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = side / 80;
  context.strokeStyle = background;
  context.fillStyle = text;
  middles.forEach((place, digit) => {
    context.strokeText(digit, ...at(place));
    context.fillText(digit, ...at(place));
  });
  title.textContent = drawn?.isRejected ? "In no cluster of the map (t-SNE)" : "Where it falls on the map (t-SNE)";
  const where = drawn?.isRejected ? "in no cluster" : "on it";
  const falls = drawn ? `; the drawing falls ${where}; the nearest training digit: ${drawn.label}` : "";
  map.setAttribute("aria-label", `Map of ${points.place.length} digits on the sphere${falls}`);
}

function drawRing(context, [x, y], side, dashes, text, background) {
  for (const [color, width] of [[background, side / 60], [text, side / 120]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, 0.44 * RING * side, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash(dashes);
  }
  context.setLineDash([]);
}

// What is drawn: strokes, or a picture; and what undo brings back. Each change is an event, "changed", of the window.

const BRUSH = 22 / 280; // of the side: about MNIST's stroke on a digit that fills the square
const KEPT = 50; // steps that can be undone

export const drawing = {
  strokes: [], // lists of points, [x, y] from 0 to 1
  stroke: null, // the one being drawn
  picture: null, // {canvas}: what was chosen instead of drawn; its canvas is null if it cannot be read
  touched: false, // whether a pointer is on the pad
  number: 0, // of drawings so far: what belongs to an earlier one is not shown
};
const past = [];

function changed() {
  dispatchEvent(new Event("changed"));
}

function remember() {
  past.push({ strokes: [...drawing.strokes], picture: drawing.picture });
  if (past.length > KEPT) past.shift();
}

function replace(strokes, picture) {
  Object.assign(drawing, { strokes: [...strokes], picture, stroke: null, number: drawing.number + 1 });
  changed();
}

export function isEmpty() {
  return !drawing.picture && !drawing.strokes.length;
}

export function isPenDown() {
  return drawing.touched || drawing.stroke !== null;
}

export function put(strokes, picture = null) {
  remember();
  replace(strokes, picture);
}

export function startStroke(point) {
  remember();
  if (drawing.picture || !drawing.strokes.length) replace([], null);
  drawing.stroke = [point];
  drawing.strokes.push(drawing.stroke);
  changed();
}

export function extendStroke(points) {
  drawing.stroke.push(...points);
  changed();
}

export function clear() {
  if (!isEmpty()) put([]);
}

export function undo() {
  const last = past.pop();
  if (last) replace(last.strokes, last.picture);
}

// As it is sent and saved: light on dark, unless a picture has other colours.
export function paint(canvas, side, { strokes, picture } = drawing) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  if (picture?.canvas) {
    context.fillStyle = "#808080"; // both inks are seen on it, where a picture is transparent
    context.fillRect(0, 0, side, side);
    const longer = Math.max(picture.canvas.width, picture.canvas.height);
    const [width, height] = [picture.canvas.width, picture.canvas.height].map((length) => (length * side) / longer);
    context.drawImage(picture.canvas, (side - width) / 2, (side - height) / 2, width, height);
  }
  context.strokeStyle = "#fff";
  context.lineWidth = BRUSH * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y]) => context.lineTo(x * side, y * side));
    if (stroke.length === 1) context.lineTo(stroke[0][0] * side + 0.01, stroke[0][1] * side);
    context.stroke();
  }
  return canvas;
}

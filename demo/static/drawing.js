// What is drawn: strokes, or a picture; and what undo brings back. Each change is an event, "changed", of the window.

const BRUSH = 22 / 280; // of the side: about MNIST's stroke on a digit that fills the square
const KEPT = 50; // steps that can be undone

export const drawing = {
  strokes: [], // lists of points, [x, y] from 0 to 1
  stroke: null, // the one being drawn
  picture: null, // {canvas}: what was chosen instead of drawn; its canvas is null if it cannot be read
  number: 0, // of drawings so far: what belongs to an earlier one is not shown; strokes are only added to one
};
const past = [];
const painted = new WeakMap(); // canvas: what of which drawing is on it, {number, stroke, point}

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
  return drawing.stroke !== null;
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

export function endStroke() {
  if (!drawing.stroke) return;
  drawing.stroke = null;
  changed();
}

export function clear() {
  if (!isEmpty()) put([]);
}

export function undo() {
  const last = past.pop();
  if (last) replace(last.strokes, last.picture);
}

// As it is sent and saved: light on dark, unless a picture has other colours. Only what is new is painted.
export function paint(canvas, side) {
  const context = canvas.getContext("2d");
  let last = painted.get(canvas);
  if (last?.number !== drawing.number || canvas.width !== side) {
    paintBackground(context, side, drawing.picture?.canvas);
    last = { stroke: 0, point: 0 };
  }
  drawing.strokes.slice(last.stroke).forEach((stroke, i) => paintStroke(context, side, stroke, i ? 0 : last.point));
  const stroke = Math.max(0, drawing.strokes.length - 1);
  painted.set(canvas, { number: drawing.number, stroke, point: drawing.strokes[stroke]?.length ?? 0 });
  return canvas;
}

export function paintBackground(context, side, picture) {
  context.canvas.width = context.canvas.height = side;
  context.fillStyle = picture ? "#808080" : "#000"; // both inks are seen on gray, where a picture is transparent
  context.fillRect(0, 0, side, side);
  if (!picture) return;
  const scale = side / Math.max(picture.width, picture.height);
  const [width, height] = [picture.width * scale, picture.height * scale];
  context.drawImage(picture, (side - width) / 2, (side - height) / 2, width, height);
}

// Its points from a certain one on, each joined to the one before by a line of its own: so it looks however it came.
export function paintStroke(context, side, stroke, from = 0) {
  context.strokeStyle = "#fff";
  context.lineWidth = BRUSH * side;
  context.lineCap = "round";
  for (let i = from; i < stroke.length; i++) {
    const [[x, y], [u, v]] = [stroke[Math.max(0, i - 1)], stroke[i]];
    context.beginPath();
    context.moveTo(x * side, y * side);
    context.lineTo(u * side + 0.01, v * side); // a line without length would not be drawn
    context.stroke();
  }
}

// The pad: drawing with mouse, pen or finger, and with the arrow keys.

import { drawing, extendStroke, isEmpty, paint, startStroke } from "./drawing.js";

const STEP = 0.04; // of the side, that an arrow key moves the pen
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const pad = document.getElementById("pad");
const ghost = document.getElementById("ghost");
const held = new Set(); // arrow keys: two at once go diagonally
let pointer = null; // that draws
let cursor = [0.5, 0.5]; // where the keys' pen is
let cursorShown = false;

function paintPad() {
  paint(pad, Math.round(pad.clientWidth * window.devicePixelRatio));
  ghost.hidden = !isEmpty() || cursorShown;
  if (cursorShown) paintCursor(pad.getContext("2d"), pad.width);
}

// Full while the pen is down; dark and light, so that it is seen on ink too.
function paintCursor(context, side) {
  context.beginPath();
  context.arc(cursor[0] * side, cursor[1] * side, side / 40, 0, 2 * Math.PI);
  for (const [color, width] of [["#000", side / 60], ["#fff", side / 120]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.stroke();
  }
  context.fillStyle = "#e8590c";
  if (drawing.stroke) context.fill();
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

pad.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  cursorShown = false;
  pointer = event.pointerId;
  pad.setPointerCapture(pointer);
  drawing.touched = true;
  startStroke(place(event));
});

pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer || !drawing.stroke) return;
  const events = event.getCoalescedEvents?.() ?? [];
  extendStroke((events.length ? events : [event]).map(place)); // some browsers give an empty list
});

for (const kind of ["pointerup", "pointercancel"]) {
  pad.addEventListener(kind, (event) => {
    if (event.pointerId !== pointer) return;
    pointer = drawing.stroke = null;
    drawing.touched = false;
  });
}

function move() {
  for (const axis of [0, 1]) {
    const step = [...held].reduce((sum, key) => sum + ARROWS[key][axis], 0) * STEP;
    cursor[axis] = Math.min(0.98, Math.max(0.02, cursor[axis] + step));
  }
  if (drawing.stroke) extendStroke([[...cursor]]);
}

pad.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || pointer !== null) return;
  if (event.key in ARROWS) {
    held.add(event.key);
    move();
  } else if (event.key !== " ") return;
  else if (drawing.stroke && !event.repeat) drawing.stroke = null;
  else if (!event.repeat) startStroke([...cursor]);
  event.preventDefault(); // the page does not scroll
  cursorShown = true;
  paintPad();
});
pad.addEventListener("keyup", (event) => held.delete(event.key));
pad.addEventListener("blur", () => {
  held.clear();
  cursorShown = false;
  if (pointer === null) drawing.stroke = null;
  paintPad();
});

addEventListener("changed", paintPad);
new ResizeObserver(paintPad).observe(pad);

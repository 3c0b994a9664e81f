// The pad: drawing with mouse, pen or finger, and with the arrow keys.

import { drawing, endStroke, extendStroke, isEmpty, isPenDown, paint, startStroke } from "./drawing.js";

const STEP = 0.04; // of the side, that an arrow key moves the pen
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const pad = document.getElementById("pad");
const ghost = document.getElementById("ghost");
const cursor = document.getElementById("cursor"); // the keys' pen
const held = new Set(); // arrow keys: two at once go diagonally
let pointer = null; // that draws
const place = [0.5, 0.5]; // of the cursor

function paintPad() {
  paint(pad, Math.round(pad.clientWidth * Math.max(2, window.devicePixelRatio))); // smooth once it is scaled down
  ghost.hidden = !isEmpty() || !cursor.hidden;
  [cursor.style.left, cursor.style.top] = place.map((share) => `${100 * share}%`);
  cursor.classList.toggle("down", isPenDown());
}

function placeOf(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

pad.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  cursor.hidden = true;
  pointer = event.pointerId;
  pad.setPointerCapture(pointer);
  startStroke(placeOf(event));
});

pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer || !drawing.stroke) return;
  const events = event.getCoalescedEvents?.() ?? [];
  extendStroke((events.length ? events : [event]).map(placeOf)); // some browsers give an empty list
});

pad.addEventListener("lostpointercapture", () => {
  pointer = null;
  endStroke();
});

function move() {
  for (const axis of [0, 1]) {
    const step = [...held].reduce((sum, key) => sum + ARROWS[key][axis], 0) * STEP;
    place[axis] = Math.min(0.98, Math.max(0.02, place[axis] + step));
  }
  if (drawing.stroke) extendStroke([[...place]]);
}

pad.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || pointer !== null) return;
  if (event.key in ARROWS) {
    held.add(event.key);
    move();
  } else if (event.key !== " ") return;
  else if (drawing.stroke && !event.repeat) endStroke();
  else if (!event.repeat) startStroke([...place]);
  event.preventDefault(); // the page does not scroll
  cursor.hidden = false;
  paintPad();
});
pad.addEventListener("keyup", (event) => held.delete(event.key));
pad.addEventListener("blur", () => {
  held.clear();
  cursor.hidden = true;
  if (pointer === null) endStroke();
  paintPad();
});

addEventListener("changed", paintPad);
new ResizeObserver(paintPad).observe(pad);

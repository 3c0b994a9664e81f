"use strict";

const SENT = 280; // pixels a side of what is sent
const BRUSH = 22 / SENT; // about MNIST's stroke on a digit that fills the square
const PAUSE = 60; // milliseconds from a change to the question, which later changes join
const COLORS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const LEAST_P = 1e-4; // left end of the scale

const byId = (id) => document.getElementById(id);
const pad = byId("pad");
const LARGEST = 900000; // bytes that are sent
const REDUCED = 1120; // pixels a side, at most

let strokes = []; // lists of points, [x, y] from 0 to 1
let stroke = null; // the one being drawn
let pointer = null; // that draws it
let picture = null; // {bitmap}: what was chosen instead of drawn; null if the browser cannot read it
let drawings = 0; // begun so far, by clearing or choosing a picture: what belongs to an earlier one is not shown
let changes = 0; // so far
let timer = null; // of the question to come
let asking = false;
let answer = null;
let points = null; // the map

// Drawing

function paint(canvas, side) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  if (picture && picture.bitmap) {
    const { width, height } = picture.bitmap;
    context.fillStyle = "#808080"; // both inks are seen on it, where a picture is transparent
    context.fillRect(0, 0, side, side);
    const scale = side / Math.max(width, height);
    context.drawImage(picture.bitmap, (side - width * scale) / 2, (side - height * scale) / 2, width * scale, height * scale);
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
}

function paintPad() {
  paint(pad, Math.round(pad.clientWidth * window.devicePixelRatio));
}

function changed() {
  changes += 1;
  byId("answer").setAttribute("aria-busy", "true");
  paintPad();
  timer ??= setTimeout(ask, PAUSE);
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

pad.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  pad.setPointerCapture(pointer);
  if (picture || !strokes.length) begin();
  stroke = [place(event)];
  strokes.push(stroke);
  changed();
});

pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer || !stroke) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  stroke.push(...(events.length ? events : [event]).map(place));
  changed();
});

for (const kind of ["pointerup", "pointercancel"]) {
  pad.addEventListener(kind, (event) => {
    if (event.pointerId === pointer) pointer = stroke = null;
  });
}

function begin() {
  drawings += 1;
  strokes = [];
  stroke = picture = null;
}

function undo() {
  if (picture) begin();
  else strokes.pop();
  stroke = null;
  changed();
}

function clear() {
  begin();
  changed();
}

byId("undo").addEventListener("click", undo);
byId("clear").addEventListener("click", clear);
pad.addEventListener("keydown", (event) => {
  if (event.altKey || event.shiftKey) return;
  const key = event.key.toLowerCase();
  if (key === "z") undo();
  else if (key === "c" && !event.ctrlKey && !event.metaKey) clear();
});

// Pictures

async function take(file) {
  if (!file) return;
  const mine = ++drawings;
  byId("answer").setAttribute("aria-busy", "true");
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (mine !== drawings) return;
  begin();
  picture = { bitmap };
  changed();
}

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  pad.classList.add("over");
});
document.addEventListener("dragleave", () => pad.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  pad.classList.remove("over");
  take(event.dataTransfer.files[0]);
});

// Asking

function asBlob(canvas, type) {
  return new Promise((resolve) => canvas.toBlob(resolve, type));
}

async function content() {
  const canvas = document.createElement("canvas");
  if (!picture) {
    paint(canvas, SENT);
    return asBlob(canvas, "image/png");
  }
  const { bitmap } = picture;
  const scale = Math.min(1, REDUCED / Math.max(bitmap.width, bitmap.height));
  canvas.width = Math.max(1, bitmap.width * scale);
  canvas.height = Math.max(1, bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const whole = await asBlob(canvas, "image/png"); // keeps what is transparent
  return whole.size <= LARGEST ? whole : asBlob(canvas, "image/jpeg");
}

// The answer to what is drawn; its `retry` says after how many milliseconds to ask again.
async function fetchAnswer() {
  if (!picture && !strokes.length) return { empty: true };
  const isPicture = picture !== null;
  if (isPicture && !picture.bitmap) return { error: "This file is not a picture that the browser can read." };
  try {
    const body = await content();
    const headers = { "Content-Type": body.type || "application/octet-stream" };
    const response = await fetch("api/predict?explain", { method: "POST", body, headers });
    if (response.status === 503) return { retry: 500 };
    return { ...(await response.json()), isPicture };
  } catch {
    return { unreachable: true, retry: 2000 };
  }
}

async function ask() {
  timer = null;
  if (asking) return; // it looks for changes when it has its answer
  asking = true;
  const [asked, drawing] = [changes, drawings];
  const result = await fetchAnswer();
  asking = false;
  if (drawing === drawings && (!result.retry || result.unreachable)) show(result);
  if (asked !== changes) timer ??= setTimeout(ask, 0);
  else if (result.retry) timer ??= setTimeout(ask, result.retry);
  else byId("answer").setAttribute("aria-busy", "false");
}

// Showing

function percent(share) {
  return share >= 0.9995 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

function pixels(canvas, rows) {
  canvas.width = canvas.height = rows.length;
  const context = canvas.getContext("2d");
  const image = context.createImageData(rows.length, rows.length);
  rows.flat().forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function aDigit(digit) {
  return digit === 8 ? "an 8" : `a ${digit}`;
}

function say(verdict, kind, reason) {
  byId("verdict").className = `verdict ${kind}`;
  for (const [id, text] of [["verdict", verdict], ["reason", reason]]) {
    if (byId(id).textContent !== text) byId(id).textContent = text; // a screen reader hears changes alone
  }
}

function show(result) {
  answer = result;
  const known = "digit" in result;
  byId("details").hidden = byId("pictures").hidden = !known;
  if (result.unreachable) say("No answer", "quiet", "The server cannot be reached; trying again.");
  else if (result.error) say("Cannot read this", "quiet", result.error);
  else if (result.empty && result.isPicture) say("An empty picture", "quiet", "There is no contrast in it.");
  else if (result.empty) say("Nothing drawn yet", "quiet", "Draw a digit in the black square.");
  else showVerdict(result);
  if (known) {
    pixels(byId("seen"), result.pixels);
    byId("nearest").replaceChildren(...result.nearest.map(neighbor));
  }
  drawMap();
}

function showVerdict(result) {
  const detect = byId("detect").checked;
  const sure = `${percent(result.probabilities[result.digit])} sure that it is ${aDigit(result.digit)} and no other digit.`;
  if (!detect) say(String(result.digit), "digit", `${sure} Without the detector every scribble is some digit.`);
  else if (result.is_digit) say(String(result.digit), "digit", sure);
  else say("Not a digit", "none", `The network alone would have called it ${aDigit(result.digit)}.`);

  byId("novelty").classList.toggle("faded", !detect);
  const p = result.p_value;
  byId("p-value").textContent = p < 1.5 * LEAST_P ? "more novel than all of them" : `p = ${p.toPrecision(2)}`;
  byId("scale").setAttribute("aria-label", `p-value ${p.toPrecision(2)}; not a digit at ${result.level} or less`);
  byId("level").textContent = result.level;
  byId("marker").style.left = onScale(p);
  byId("threshold").style.left = byId("rejected").style.width = onScale(result.level);

  byId("bars").replaceChildren(...result.probabilities.map((share, digit) => bar(share, digit, digit === result.digit)));
}

function onScale(p) {
  return `${100 * (1 - Math.log(Math.max(p, LEAST_P)) / Math.log(LEAST_P))}%`;
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function bar(share, digit, isFirst) {
  const row = element("li", isFirst ? "first" : "");
  const whole = element("div", "bar");
  const fill = element("div", "fill");
  fill.style.width = `${100 * share}%`;
  whole.append(fill);
  row.append(element("span", "", digit), whole, element("span", "share", percent(share)));
  return row;
}

function neighbor({ label, pixels: rows }) {
  const made = element("div", "");
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `a training digit, ${label}`);
  pixels(canvas, rows);
  made.append(canvas, document.createTextNode(label));
  return made;
}

function drawMap() {
  if (!points) return;
  const map = byId("map");
  const side = (map.width = map.height = Math.round(map.clientWidth * window.devicePixelRatio));
  const context = map.getContext("2d");
  const at = ([x, y]) => [(0.5 + 0.48 * x) * side, (0.5 - 0.48 * y) * side];
  const style = getComputedStyle(document.body);
  points.place.forEach((point, i) => {
    context.fillStyle = COLORS[points.label[i]];
    const [x, y] = at(point);
    context.fillRect(x, y, side / 220, side / 220);
  });
  context.font = `bold ${side / 20}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineWidth = side / 100;
  context.strokeStyle = style.backgroundColor;
  context.fillStyle = style.color;
  for (let digit = 0; digit < 10; digit++) {
    const [x, y] = at(middle(points.place.filter((_, i) => points.label[i] === digit)));
    context.strokeText(digit, x, y);
    context.fillText(digit, x, y);
  }
  const known = answer && answer.place;
  const falls = known ? `; the drawing falls nearest to a ${answer.nearest[0].label}` : "";
  map.setAttribute("aria-label", `Map of ${points.place.length} digits on the sphere${falls}`);
  if (!known) return;
  const [x, y] = at(answer.place);
  for (const [color, width] of [[style.backgroundColor, side / 60], [style.color, side / 120]]) {
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, side / 30, 0, 2 * Math.PI);
    context.stroke();
  }
}

function middle(list) {
  const median = (axis) => list.map((point) => point[axis]).sort((a, b) => a - b)[list.length >> 1];
  return [median(0), median(1)];
}

byId("detect").addEventListener("change", () => answer && show(answer));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
new ResizeObserver(() => {
  paintPad();
  drawMap();
}).observe(document.body);
fetch("api/map")
  .then((response) => response.json())
  .then((sent) => {
    points = sent;
    drawMap();
  })
  .catch(() => {}); // the page works without its map

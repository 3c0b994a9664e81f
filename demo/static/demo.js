"use strict";

const SENT = 280; // pixels a side of what is sent
const BRUSH = 22 / SENT; // about MNIST's stroke on a digit that fills the square
const PAUSE = 60; // milliseconds from a change to the question, which later changes join
const COLORS = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const LEAST_P = 1e-4; // left end of the scale

const byId = (id) => document.getElementById(id);
const pad = byId("pad");
let strokes = []; // lists of points, [x, y] from 0 to 1
let picture = null; // {file, bitmap}: what was chosen instead of drawn
let pointer = null; // the one that draws
let timer = null; // of the question to come
let running = null; // AbortController of the request under way
let changes = 0; // so far; an answer to an earlier state is not shown
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
    const scale = side / Math.max(width, height);
    context.drawImage(picture.bitmap, (side - width * scale) / 2, (side - height * scale) / 2, width * scale, height * scale);
  }
  context.strokeStyle = context.fillStyle = "#fff";
  context.lineWidth = BRUSH * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y]) => context.lineTo(x * side, y * side));
    if (stroke.length === 1) context.lineTo(stroke[0][0] * side + 0.01, stroke[0][1] * side);
    context.stroke();
  }
}

function changed() {
  changes += 1;
  byId("answer").setAttribute("aria-busy", "true");
  paint(pad, Math.round(pad.clientWidth * window.devicePixelRatio));
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
  picture = null;
  strokes.push([place(event)]);
  changed();
});

pad.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  strokes[strokes.length - 1].push(...(events.length ? events : [event]).map(place));
  changed();
});

for (const kind of ["pointerup", "pointercancel"]) {
  pad.addEventListener(kind, (event) => {
    if (event.pointerId === pointer) pointer = null;
  });
}

function undo() {
  if (picture) picture = null;
  else strokes.pop();
  changed();
}

function clear() {
  strokes = [];
  picture = null;
  changed();
}

byId("undo").addEventListener("click", undo);
byId("clear").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") && event.target.type !== "checkbox") return;
  const key = event.key.toLowerCase();
  const plain = !event.altKey && !event.metaKey && !event.ctrlKey;
  if (key === "z" && !event.altKey && !event.shiftKey) undo();
  else if (key === "c" && plain) clear();
});

// Pictures

async function take(file) {
  if (!file) return;
  strokes = [];
  const bitmap = await createImageBitmap(file).catch(() => null);
  picture = { file, bitmap };
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

async function content() {
  if (picture) return picture.file;
  const sent = document.createElement("canvas");
  paint(sent, SENT);
  return new Promise((resolve) => sent.toBlob(resolve, "image/png"));
}

async function ask() {
  timer = null;
  if (running) running.abort();
  const mine = (running = new AbortController());
  const asked = changes;
  let result = { empty: true };
  try {
    if (picture || strokes.length) {
      const body = await content();
      const headers = { "Content-Type": body.type || "application/octet-stream" };
      const response = await fetch("api/predict?explain", { method: "POST", body, headers, signal: mine.signal });
      if (response.status === 503) {
        timer ??= setTimeout(ask, 500);
        return;
      }
      result = await response.json();
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    result = { error: "The server does not answer." };
  }
  if (mine !== running) return;
  show(result);
  if (asked === changes) byId("answer").setAttribute("aria-busy", "false");
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
  byId("verdict").textContent = verdict;
  byId("verdict").className = `verdict ${kind}`;
  byId("reason").textContent = reason;
}

function show(result) {
  answer = result;
  const known = !result.empty && !result.error;
  byId("details").hidden = !known;
  if (result.error) say("Cannot read this", "quiet", result.error);
  else if (result.empty) say("Nothing drawn yet", "quiet", "Draw a digit in the dark square.");
  else showVerdict(result);
  pixels(byId("seen"), known ? result.pixels : [[0]]);
  byId("nearest").replaceChildren(...(known ? result.nearest.map(neighbor) : []));
  drawMap();
}

function showVerdict(result) {
  const detect = byId("detect").checked;
  const sure = `${percent(result.probabilities[result.digit])} sure that it is ${aDigit(result.digit)} and no other digit.`;
  if (!detect) say(String(result.digit), "digit", `${sure} Without the detector every scribble is some digit.`);
  else if (result.is_digit) say(String(result.digit), "digit", sure);
  else say("Not a digit", "none", `The network alone would have called it ${aDigit(result.digit)}.`);

  byId("strangeness").classList.toggle("faded", !detect);
  const p = result.p_value;
  const words = p < 1.5 * LEAST_P ? "stranger than all 10,000" : `p = ${p.toPrecision(2)}`;
  byId("p-value").textContent = words;
  byId("scale").setAttribute("aria-label", `p-value ${p.toPrecision(2)}; not a digit at ${result.level} or less`);
  byId("marker").style.left = `${100 * (1 - Math.log(Math.max(p, LEAST_P)) / Math.log(LEAST_P))}%`;

  byId("bars").replaceChildren(...result.probabilities.map((share, digit) => bar(share, digit, digit === result.digit)));
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
  if (!answer || !answer.place) return;
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
  paint(pad, Math.round(pad.clientWidth * window.devicePixelRatio));
  drawMap();
}).observe(document.body);
fetch("api/map").then((response) => response.json()).then((sent) => {
  points = sent;
  drawMap();
});

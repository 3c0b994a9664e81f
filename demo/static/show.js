// What the answer says, and why.

import { drawMap } from "./map.js";

const LEAST_P = 1e-4; // right end of the scale

const byId = (id) => document.getElementById(id);
const WELCOME = byId("reason").textContent;
export const shown = { answer: { empty: true }, word: "", since: -Infinity }; // since: when the word last changed

function percent(share) {
  return share >= 0.9995 ? "> 99.9 %" : `${(100 * share).toFixed(1)} %`;
}

export function aDigit(digit) {
  return digit === 8 ? "an 8" : `a ${digit}`;
}

function detects() {
  return byId("detect").checked;
}

// The taught sign that the drawing is, or null.
function signOf(answer) {
  return (detects() && answer.sign) || null;
}

export function isRejected(answer = shown.answer) {
  return "digit" in answer && detects() && (!answer.is_digit || signOf(answer) !== null);
}

// The verdict in a word or two, its kind, and the reason.
function verdict(answer) {
  if (answer.fitting) return ["One moment", "quiet", `${answer.error[0].toUpperCase()}${answer.error.slice(1)}.`];
  if (answer.unreachable) return ["No answer", "quiet", "The server cannot be reached; trying again."];
  if (answer.error) return ["Cannot read this", "quiet", answer.error];
  if (answer.empty && answer.isPicture) return ["An empty picture", "quiet", "There is no contrast in it."];
  if (answer.empty) return ["Nothing drawn yet", "quiet", WELCOME];
  const { digit } = answer;
  if (signOf(answer)) return [answer.sign, "sign", "A sign that you have taught, not a digit."];
  if (isRejected(answer)) return ["Not a digit", "none", `The network alone would have called it ${aDigit(digit)}.`];
  const sure = `${percent(answer.probabilities[digit])} sure that it is ${aDigit(digit)} and no other digit.`;
  return [String(digit), "digit", detects() ? sure : `${sure} Without the detector every scribble is some digit.`];
}

// Whether there is something to show, though it may have to be asked for again.
export function isNews(answer) {
  return !answer.retry || answer.unreachable || answer.fitting;
}

export function wordOf(answer) {
  return isNews(answer) ? verdict(answer)[0] : shown.word;
}

export function show(answer) {
  const [word, kind, reason] = verdict(answer);
  if (word !== shown.word) shown.since = performance.now();
  Object.assign(shown, { answer, word });
  byId("verdict").className = `verdict ${kind}`;
  byId("verdict").textContent = word;
  byId("reason").textContent = reason;
  const isAnswered = "digit" in answer;
  byId("save").disabled = byId("teach-button").disabled = !isAnswered;
  byId("details").classList.toggle("blank", !isAnswered);
  showScale(answer);
  showBars(answer);
  showPixels(byId("seen"), isAnswered ? answer.pixels : null);
  byId("nearest").replaceChildren(...(isAnswered ? answer.nearest : Array(5).fill(null)).map(neighbor));
  showMap();
}

// To screen readers, which hear a change of this text alone.
export function announce() {
  const text = `${shown.word}. ${byId("reason").textContent}`;
  if (byId("announced").textContent !== text) byId("announced").textContent = text;
}

function showScale({ p_value: p, level }) {
  const isAnswered = p !== undefined;
  byId("novelty").classList.toggle("faded", !detects());
  for (const id of ["marker", "threshold", "rejected", "tick"]) byId(id).hidden = !isAnswered;
  byId("p-value").textContent = isAnswered ? smallPrint(p, level) : "The share of digits that are at least as strange.";
  byId("scale").setAttribute("aria-label", isAnswered ? `p-value, ${smallPrint(p, level)}` : "no drawing yet");
  if (!isAnswered) return;
  byId("marker").style.left = onScale(p);
  byId("threshold").style.left = byId("rejected").style.left = byId("tick").style.left = onScale(level);
}

function smallPrint(p, level) {
  const share = p < 1.5 * LEAST_P ? "no digit" : `${Number((100 * p).toPrecision(2))} % of digits`;
  return `p = ${p.toPrecision(2)}: ${share} would be as strange. At ${level} or less it is rejected.`;
}

function onScale(p) {
  return `${(100 * Math.log(Math.max(p, LEAST_P))) / Math.log(LEAST_P)}%`;
}

function showBars(answer) {
  const rejected = isRejected(answer);
  byId("bars-title").textContent = rejected ? "If it had to be a digit" : "Which digit?";
  byId("bars").classList.toggle("gray", rejected);
  const shares = answer.probabilities ?? Array(10).fill(null);
  byId("bars").replaceChildren(...shares.map((share, digit) => bar(share, digit, digit === answer.digit)));
}

function element(name, className, ...content) {
  const made = document.createElement(name);
  made.className = className;
  made.append(...content);
  return made;
}

function bar(share, digit, isFirst) {
  const fill = element("div", "fill");
  fill.style.width = `${100 * share}%`;
  const text = element("span", "share", share === null ? "" : percent(share));
  return element("li", isFirst ? "first" : "", element("span", "", digit), element("div", "bar", fill), text);
}

// Gray values, rows of 0 to 255; null empties the canvas.
function showPixels(canvas, rows) {
  canvas.width = canvas.height = rows ? rows.length : 28;
  if (!rows) return;
  const context = canvas.getContext("2d");
  const image = context.createImageData(rows.length, rows.length);
  rows.flat().forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  context.putImageData(image, 0, 0);
}

function neighbor(near) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", near ? `a training digit, ${near.label}` : "none yet");
  showPixels(canvas, near && near.pixels);
  return element("div", "", canvas, near ? near.label : "\u00a0");
}

export function showMap() {
  const { place, nearest } = shown.answer;
  drawMap(place && { place, label: nearest[0].label, isRejected: isRejected() && !shown.answer.is_digit });
}

// What the answer says, and why.

import { drawMap } from "./map.js";

const MODES = { identify: "Identify", lof: "LOF", calibrated: "calibrated" };
const byId = (id) => document.getElementById(id);
const WELCOME = byId("reason").textContent;
const percent = (share) => (share >= 0.9995 ? "> 99.9%" : `${(100 * share).toFixed(1)}%`);
const mode = () => document.querySelector("[name=mode]:checked").value;
export const aDigit = (digit) => (digit === 8 ? "an 8" : `a ${digit}`);
export const asSentence = (text) => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;
export const isSettled = () => byId("answer").getAttribute("aria-busy") === "false"; // the answer is of what is drawn
export const shown = { answer: { empty: true }, word: "", kind: "quiet" };

// A mode's verdict on an answer in a word or two, and its kind.
function wordBy(judge, { digit, sign, is_digit: isDigit, lof }) {
  if (judge === "calibrated" && sign) return [sign, "sign"];
  const isAccepted = { identify: true, lof: lof.is_digit, calibrated: isDigit }[judge];
  return isAccepted ? [String(digit), "digit"] : ["Not a digit", "none"];
}

// The word that is shown, its kind, and the reason.
function verdict(answer) {
  const { digit, error, isPicture } = answer;
  if (error) {
    const word = answer.fitting ? "One moment" : isPicture && !answer.isFailure ? "Cannot read this" : "No answer";
    return [word, "quiet", asSentence(error)];
  }
  if (answer.empty && isPicture) return ["An empty picture", "quiet", "There is no contrast in it."];
  if (answer.empty) return ["Nothing drawn yet", "quiet", WELCOME];
  if (answer.isGuess) return [`looks like ${aDigit(digit)}`, "quiet", "The verdict comes when you lift the pen."];
  const [word, kind] = wordBy(mode(), answer);
  if (kind === "sign") return [word, kind, "A sign that you have taught, not a digit."];
  if (kind === "none") return [word, kind, `The network alone would have called it ${aDigit(digit)}.`];
  const sure = `${percent(answer.probabilities[digit])} sure`;
  if (mode() === "identify") return [word, kind, `${sure}; but without a detector every scribble is some digit.`];
  return [word, kind, `If it is a digit, it is ${aDigit(digit)}: ${sure}.`];
}

export function show(answer) {
  const [word, kind, reason] = verdict(answer);
  const [isAnswered, isJudged] = ["digit" in answer, kind !== "quiet"];
  Object.assign(shown, { answer, word, kind });
  byId("verdict").className = `verdict ${kind}`;
  byId("verdict").textContent = word;
  byId("reason").textContent = reason;
  for (const name in MODES) {
    const [text, own] = isJudged ? wordBy(name, answer) : ["–", "quiet"];
    Object.assign(byId(`by-${name}`), { textContent: text, className: own });
  }
  const canRetry = answer.isFailure && !answer.fitting;
  if (!canRetry && document.activeElement === byId("retry")) byId("pad").focus({ preventScroll: true });
  byId("retry").hidden = !canRetry;
  byId("save").disabled = !isJudged;
  byId("details").classList.toggle("blank", !isAnswered);
  showScale(isJudged ? answer : null);
  showBars(answer);
  showPixels(byId("seen"), isAnswered ? answer.pixels : null);
  byId("nearest").replaceChildren(...(isAnswered ? answer.nearest : Array(5).fill(null)).map(neighbor));
  showMap();
}

// All modes' verdicts side by side.
export function comparison() {
  const words = Object.entries(MODES).map(([name, title]) => `${title}: ${wordBy(name, shown.answer)[0]}`);
  return `${words.join(", ")}.`;
}

// To screen readers, which hear a change of this text alone.
export function announce() {
  const text = `${shown.word}. ${byId("reason").textContent} ${shown.kind === "quiet" ? "" : comparison()}`;
  if (byId("announced").textContent !== text || shown.answer.isFailure) byId("announced").textContent = text;
}

// How strange an answer is: as a share of the scale, in whose middle the threshold is; in words; and in small.
function strangeness({ p_value: p, level, calibration_images: n, lof }) {
  if (mode() === "lof") {
    const [score, threshold] = [lof.score.toFixed(2), lof.threshold.toFixed(2)];
    const words = `Digits near it lie ${score} times as close together.`;
    return [(lof.score - 1) / (lof.threshold - 1) / 2, words, `LOF = ${score}; above ${threshold} it is rejected.`];
  }
  const [less, all] = [n + 1 - Math.round(p * (n + 1)), n].map((number) => number.toLocaleString("en"));
  const limit = mode() === "identify" ? "" : ` At ${level} or less it is rejected.`;
  return [Math.log(p) / Math.log(level) / 2, `Stranger than ${less} of ${all} digits.`, `p = ${p.toPrecision(2)}.${limit}`];
}

function showScale(answer) {
  const [share, words, small] = answer ? strangeness(answer) : [0, "How it compares with other digits.", ""];
  byId("novelty").classList.toggle("unjudged", !answer || mode() === "identify");
  byId("marker").hidden = !answer;
  byId("marker").style.left = `${100 * Math.min(1, Math.max(0, share))}%`;
  byId("strange").textContent = words;
  byId("p-value").textContent = small;
  byId("scale").setAttribute("aria-label", answer ? `${words} ${small}` : "no drawing yet");
}

function showBars(answer) {
  const isRejected = ["none", "sign"].includes(shown.kind);
  byId("bars-title").textContent = isRejected ? "If it had to be a digit" : "Which digit?";
  byId("bars").classList.toggle("gray", shown.kind !== "digit");
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

// Gray values, 28 rows of 0 to 255; null empties the canvas.
function showPixels(canvas, rows) {
  canvas.width = canvas.height = 28;
  const image = new ImageData(28, 28);
  rows?.flat().forEach((value, i) => image.data.set([value, value, value, 255], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
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
  const isOutside = ["none", "sign"].includes(shown.kind);
  const isJudged = shown.kind !== "quiet";
  drawMap(isJudged && place && { place, labels: [...new Set(nearest.map(({ label }) => label))], isOutside });
}

// Asking the server what is drawn: one question at a time, and another as long as the drawing changes.

import { drawing, isEmpty, isPenDown, paint } from "./drawing.js";
import { post } from "./server.js";
import { announce, show, shown } from "./show.js";
import { dropDamaged, taught } from "./signs.js";

const SENT = 280; // pixels a side of what is sent
const LARGEST = 700000; // characters of a picture: with the signs less than the server takes
const PAUSE = 100; // milliseconds from a change to the question, which later changes join
const CALM = 250; // from the last change to the verdict: a stroke that is not finished is not judged
const QUIET = 500; // from the verdict to its announcement
const BUSY = 500; // until a server that is busy is asked again

const answer = document.getElementById("answer");
const sheet = document.createElement("canvas"); // what is drawn, as it is sent
let [changes, changed] = [0, 0]; // how many so far, and when the last one was
let timer = null; // of the question to come
let next = null; // timer of the verdict to come, or of its announcement
let asking = false;

// Ask what is drawn, anew.
function askAnew() {
  changes += 1;
  changed = performance.now();
  answer.setAttribute("aria-busy", "true");
  clearTimeout(next);
  if (isPenDown() && shown.kind !== "quiet") show({ ...shown.answer, isGuess: true }); // the verdict so far goes
  timer ??= setTimeout(ask, PAUSE);
}

addEventListener("changed", askAnew);
document.getElementById("retry").addEventListener("click", askAnew);

// What is drawn, as a data URL.
function content() {
  const canvas = drawing.picture?.canvas ?? paint(sheet, SENT);
  const whole = canvas.toDataURL("image/png"); // keeps what is transparent
  return whole.length <= LARGEST ? whole : canvas.toDataURL("image/jpeg");
}

async function fetchAnswer() {
  if (isEmpty()) return { empty: true };
  const isPicture = drawing.picture !== null;
  const error = "This file is not a picture that the browser can read.";
  if (isPicture && !drawing.picture.canvas) return { error, isPicture };
  const found = await post("api/predict?explain&features", { picture: content(), signs: taught() });
  if (found.isRefusal) await dropDamaged(); // which are asked about anew
  return { ...found, isPicture };
}

async function ask() {
  timer = null;
  if (asking) return; // it looks for changes when it has its answer
  asking = true;
  const [asked, number] = [changes, drawing.number];
  const result = await fetchAnswer();
  asking = false;
  if (isPenDown() && number === drawing.number && "digit" in result) show({ ...result, isGuess: true });
  if (asked !== changes) timer ??= setTimeout(ask, isPenDown() ? PAUSE : 0);
  else if (!isPenDown()) next = setTimeout(judge, isEmpty() ? 0 : changed + CALM - performance.now(), result);
}

function judge(result) {
  if (result.isBusy) timer ??= setTimeout(ask, result.fitting ? 4 * BUSY : BUSY);
  else answer.setAttribute("aria-busy", "false");
  if (result.isBusy && !result.fitting) return;
  show(result);
  next = setTimeout(announce, QUIET);
}

// Asking the server what is drawn: one question at a time, and another as long as the drawing changes.

import { drawing, isEmpty, isPenDown, paint } from "./drawing.js";
import { announce, isNews, show, shown, wordOf } from "./show.js";
import { taught } from "./signs.js";

const SENT = 280; // pixels a side of what is sent
const LARGEST = 700000; // characters of a picture: with the signs less than the server takes
const PAUSE = 60; // milliseconds from a change to the question, which later changes join
const DWELL = 150; // that a word stands at least
const QUIET = 500; // without a change and with the pen up, until the answer is announced

const answer = document.getElementById("answer");
let changes = 0; // so far
let timer = null; // of the question to come
let announcement = null; // its timer
let asking = false;

// Ask what is drawn, anew.
function askAnew() {
  changes += 1;
  answer.setAttribute("aria-busy", "true");
  clearTimeout(announcement);
  timer ??= setTimeout(ask, PAUSE);
}

addEventListener("changed", askAnew);

// What is drawn, as a data URL.
function content() {
  const canvas = drawing.picture?.canvas ?? paint(document.createElement("canvas"), SENT);
  const whole = canvas.toDataURL("image/png"); // keeps what is transparent
  return whole.length <= LARGEST ? whole : canvas.toDataURL("image/jpeg");
}

// The answer to what is drawn; its `retry` says after how many milliseconds to ask again.
async function fetchAnswer() {
  if (isEmpty()) return { empty: true };
  const isPicture = drawing.picture !== null;
  if (isPicture && !drawing.picture.canvas) return { error: "This file is not a picture that the browser can read." };
  const body = JSON.stringify({ picture: content(), signs: taught() });
  try {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch("api/predict?explain&features", { method: "POST", body, headers });
    return { ...(await response.json()), isPicture, retry: response.status === 503 ? 500 : 0 };
  } catch {
    return { unreachable: true, retry: 2000 };
  }
}

async function ask() {
  timer = null;
  if (asking) return; // it looks for changes when it has its answer
  asking = true;
  const [asked, number] = [changes, drawing.number];
  const result = await fetchAnswer();
  const stays = wordOf(result) === shown.word ? 0 : shown.since + DWELL - performance.now(); // no flicker
  await new Promise((resolve) => setTimeout(resolve, stays));
  asking = false;
  if (number === drawing.number && isNews(result)) show(result);
  if (asked !== changes) timer ??= setTimeout(ask, 0);
  else if (result.retry) {
    timer ??= setTimeout(ask, result.retry);
    if (isNews(result) && !isPenDown()) announce();
  } else {
    answer.setAttribute("aria-busy", "false");
    announcement = setTimeout(announceOnceCalm, QUIET);
  }
}

function announceOnceCalm() {
  if (isPenDown()) announcement = setTimeout(announceOnceCalm, QUIET);
  else announce();
}

// Asking the server what is drawn: one question at a time, and another as long as the drawing changes.

import { drawing, isEmpty, isPenDown, onChange, paint } from "./drawing.js";
import { announce, isNews, show, shown, wordOf } from "./show.js";
import { taught } from "./signs.js";

const SENT = 280; // pixels a side of what is sent
const LARGEST = 500000; // bytes of a picture: with the signs, in base64, less than the server takes
const PAUSE = 60; // milliseconds from a change to the question, which later changes join
const DWELL = 150; // that a word stands at least
const QUIET = 500; // without a change and with the pen up, until the answer is announced

const answer = document.getElementById("answer");
let changes = 0; // so far
let timer = null; // of the question to come
let announcement = null; // its timer
let asking = false;

// Ask what is drawn, anew.
export function askAnew() {
  changes += 1;
  answer.setAttribute("aria-busy", "true");
  clearTimeout(announcement);
  timer ??= setTimeout(ask, PAUSE);
}

onChange(askAnew);

function asBlob(canvas, type) {
  return new Promise((resolve) => canvas.toBlob(resolve, type));
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function content() {
  if (!drawing.picture) {
    const canvas = document.createElement("canvas");
    paint(canvas, SENT);
    return asBlob(canvas, "image/png");
  }
  const { canvas } = drawing.picture;
  const whole = await asBlob(canvas, "image/png"); // keeps what is transparent
  return whole.size <= LARGEST ? whole : asBlob(canvas, "image/jpeg");
}

// The picture as it is; as JSON, with the signs, where some are taught.
async function withSigns(blob) {
  const signs = taught();
  if (!signs.length) return { body: blob, type: blob.type };
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const picture = btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
  return { body: JSON.stringify({ picture, signs }), type: "application/json" };
}

// The answer to what is drawn; its `retry` says after how many milliseconds to ask again.
async function fetchAnswer() {
  if (isEmpty()) return { empty: true };
  const isPicture = drawing.picture !== null;
  if (isPicture && !drawing.picture.canvas) return { error: "This file is not a picture that the browser can read." };
  let sent;
  try {
    sent = await withSigns(await content());
  } catch {
    return { error: "The browser cannot send this picture." };
  }
  try {
    const { body, type } = sent;
    const response = await fetch("api/predict?explain&features", { method: "POST", body, headers: { "Content-Type": type } });
    if (response.status === 503) return { ...(await response.json()), retry: 500 };
    return { ...(await response.json()), isPicture };
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
  if (wordOf(result) !== shown.word) await sleep(shown.since + DWELL - performance.now()); // no flicker
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

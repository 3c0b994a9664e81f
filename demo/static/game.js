// "Fool it": what is accepted and yet not a digit, by the visitor's own word, is counted in this browser alone.

import { drawing } from "./drawing.js";

const KEY = "hypersphere.fooled";
const claimed = new Set(); // the drawings that were counted

function count() {
  try {
    return Number.parseInt(localStorage.getItem(KEY)) || 0;
  } catch {
    return 0; // a browser that keeps nothing
  }
}

function drawn() {
  return drawing.picture ?? JSON.stringify(drawing.strokes);
}

export function isFooled() {
  return claimed.has(drawn());
}

export function showCount() {
  const n = count();
  document.getElementById("fooled").textContent = n ? `You have fooled it ${n === 1 ? "once" : `${n} times`}.` : "";
}

export function claim() {
  if (isFooled()) return;
  claimed.add(drawn());
  try {
    localStorage.setItem(KEY, count() + 1);
  } catch {} // as above
  showCount();
}

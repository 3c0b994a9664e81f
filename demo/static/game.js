// "Fool it": what is accepted and yet no digit, by the visitor's own word, is counted in this browser alone.

import { drawing } from "./drawing.js";

const KEY = "hypersphere.fooled";
let fooling = null; // the number of the drawing that was counted last

function count() {
  try {
    return Number.parseInt(localStorage.getItem(KEY)) || 0;
  } catch {
    return 0; // a browser that keeps nothing
  }
}

export function isFooled() {
  return fooling === drawing.number;
}

export function showCount() {
  const n = count();
  document.getElementById("fooled").textContent = n ? `You have fooled it ${n === 1 ? "once" : `${n} times`}.` : "";
}

export function claim() {
  if (isFooled()) return;
  fooling = drawing.number;
  try {
    localStorage.setItem(KEY, count() + 1);
  } catch {} // as above
  showCount();
}

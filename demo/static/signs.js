// Signs that the visitor teaches: the features of some drawings, kept in this browser and sent with each question.

import { shown } from "./show.js";

const KEY = `hypersphere.signs.${document.body.dataset.detector}`; // features for another would mean nothing
const [MOST_SIGNS, MOST_EXAMPLES, LEAST_EXAMPLES] = [10, 5, 3]; // the server takes no more; fewer are not asked for

const byId = (id) => document.getElementById(id);
let signs = load(); // [{name, examples}, ...]

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return kept.every((sign) => typeof sign.name === "string" && Array.isArray(sign.examples)) ? kept : [];
  } catch {
    return []; // nothing is kept, or something else
  }
}

// The signs with enough examples.
export function taught() {
  return signs.filter((sign) => sign.examples.length >= LEAST_EXAMPLES);
}

// Another example; says what became of it.
function teach(name, features) {
  const sign = signs.find((other) => other.name === name) ?? { name, examples: [] };
  const isNew = !signs.includes(sign);
  if (isNew && signs.length === MOST_SIGNS) return `No more than ${MOST_SIGNS} signs; remove one first.`;
  const isRepeated = sign.examples.some((example) => String(example) === String(features));
  if (isRepeated) return "You have taught this drawing; draw it again.";
  sign.examples = [...sign.examples, features].slice(-MOST_EXAMPLES);
  if (isNew) signs.push(sign);
  const missing = LEAST_EXAMPLES - sign.examples.length;
  return missing > 0 ? `Draw it again, ${missing} more to go.` : "From now on it is recognised.";
}

function changed(text = "") {
  byId("taught").textContent = text;
  try {
    localStorage.setItem(KEY, JSON.stringify(signs));
  } catch {} // it lasts until the page is closed
  showChips();
  dispatchEvent(new Event("changed")); // what is drawn is asked anew
}

function showChips() {
  byId("chips").replaceChildren(
    ...signs.map((sign) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.textContent = `${sign.name} ${sign.examples.length} ×`;
      chip.setAttribute("aria-label", `Remove ${sign.name}, ${sign.examples.length} drawings`);
      chip.addEventListener("click", () => {
        signs = signs.filter((other) => other !== sign);
        changed();
      });
      return chip;
    }),
  );
  byId("forget").hidden = !signs.length;
}

byId("teach").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim();
  const isKnown = byId("answer").getAttribute("aria-busy") === "false" && shown.answer.features;
  if (name && isKnown) changed(teach(name, shown.answer.features));
  else if (name) byId("taught").textContent = "One moment: the answer to this drawing is still to come.";
});
byId("forget").addEventListener("click", () => {
  signs = [];
  changed();
});
showChips();

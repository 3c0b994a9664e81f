// Signs that the visitor teaches: the features of some drawings, kept in this browser and sent with each question.

import { clear } from "./drawing.js";
import { post } from "./server.js";
import { asSentence, isSettled, shown } from "./show.js";

const KEY = `hypersphere.signs.${document.body.dataset.detector}`; // features for another would mean nothing
const [MOST_SIGNS, MOST_EXAMPLES, LEAST_EXAMPLES] = [10, 5, 3]; // the server takes no more; fewer are not asked for
const BLANK = Array(28).fill(Array(28).fill(0));

const byId = (id) => document.getElementById(id);
const givenName = () => byId("name").value.normalize("NFKC").trim(); // as the server compares names
const say = (text) => (byId("taught").textContent = text);
let signs = load(); // [{name, examples}, ...]

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY)) ?? [];
    const whole = kept.filter((sign) => typeof sign?.name === "string" && Array.isArray(sign.examples));
    if (whole.length < kept.length) say("A kept sign was damaged, and is forgotten.");
    const byName = new Map(whole.map(({ name, examples }) => [name.normalize("NFKC"), examples]));
    return Array.from(byName, ([name, examples]) => ({ name, examples }));
  } catch {
    say("The kept signs were damaged, and are forgotten.");
    return [];
  }
}

// The signs with enough examples.
export function taught() {
  return signs.filter((sign) => sign.examples.length >= LEAST_EXAMPLES);
}

// The server's answer to a sign: it has an error if the sign is not one.
const checked = (sign) => post("api/predict", { pixels: BLANK, signs: [sign] });

// Forgets the signs that the server refuses.
export async function dropDamaged() {
  for (const sign of signs) {
    const { isRefusal, error } = await checked(sign);
    if (isRefusal) keep(signs.filter((other) => other !== sign), `A kept sign is forgotten. ${asSentence(error)}`);
  }
}

// Another example of a sign.
async function teach(name, example) {
  const old = signs.find((sign) => sign.name === name);
  if (!old && signs.length === MOST_SIGNS) return say(`No more than ${MOST_SIGNS} signs; remove one first.`);
  const sign = { name, examples: [...(old?.examples ?? []), example].slice(-MOST_EXAMPLES) };
  const { error } = await checked(sign);
  if (error) return say(asSentence(error));
  if (signs.find((sign) => sign.name === name) !== old) return; // sent twice
  const missing = LEAST_EXAMPLES - sign.examples.length;
  const known = old?.examples.length === MOST_EXAMPLES ? "Its five newest drawings count." : "From now on it is recognised.";
  const text = missing > 0 ? `Draw it again, ${missing} more to go.` : `${known} What looks like a digit stays one.`;
  keep(old ? signs.map((other) => (other === old ? sign : other)) : [...signs, sign], text);
  clear();
}

function keep(kept, text) {
  signs = kept;
  say(text);
  try {
    localStorage.setItem(KEY, JSON.stringify(signs));
  } catch {} // it lasts until the page is closed
  showSigns();
  dispatchEvent(new Event("changed")); // what is drawn is asked anew
}

function showSigns() {
  byId("chips").replaceChildren(...signs.map(chip));
  const known = signs.find(({ name }) => name === givenName())?.examples.length ?? 0;
  byId("dots").textContent = "●".repeat(known).padEnd(LEAST_EXAMPLES, "○").slice(0, LEAST_EXAMPLES);
}

function chip(sign, number) {
  const { name, examples } = sign;
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = `${name} (${examples.length}) ×`;
  made.setAttribute("aria-label", `Remove ${name}, ${examples.length} drawings`);
  made.addEventListener("click", () => {
    keep(signs.filter((other) => other !== sign), `${name} is forgotten.`);
    (byId("chips").children[Math.min(number, signs.length - 1)] ?? byId("name")).focus();
  });
  return made;
}

byId("teach").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = givenName();
  const isKnown = isSettled() && shown.answer.features;
  if (!name) say("Give it a name first.");
  else if (!isKnown) say("Draw it first, and wait for the answer.");
  else teach(name, shown.answer.features);
});
byId("name").addEventListener("input", showSigns);
showSigns();

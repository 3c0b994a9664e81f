// Signs that the visitor teaches: the features of some drawings, kept in this browser and sent with each question.

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

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(signs));
  } catch {} // it lasts until the page is closed
}

// The signs with enough examples.
export function taught() {
  return signs.filter((sign) => sign.examples.length >= LEAST_EXAMPLES);
}

// Another example; says what became of it.
function teach(name, features) {
  const taught = signs.find((sign) => sign.name === name);
  if (!taught && signs.length === MOST_SIGNS) return `No more than ${MOST_SIGNS} signs; remove one first.`;
  const sign = taught ?? { name, examples: [] };
  if (sign.examples.some((example) => String(example) === String(features))) return "You have taught this drawing; draw it again.";
  sign.examples = [...sign.examples, features].slice(-MOST_EXAMPLES);
  if (!taught) signs.push(sign);
  const missing = LEAST_EXAMPLES - sign.examples.length;
  return missing > 0 ? `Draw it again, ${missing} more to go.` : "From now on it is recognised.";
}

// features : a function that gives those of the drawing, undefined until they are known; ask : asks anew, with the signs.
export function startTeaching(features, ask) {
  const changed = (text = "") => {
    byId("taught").textContent = text;
    keep();
    showChips(changed);
    ask();
  };
  byId("teach").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("name").value.trim();
    if (!name) return;
    if (features()) changed(teach(name, features()));
    else byId("taught").textContent = "One moment: the answer to this drawing is still to come.";
  });
  byId("forget").addEventListener("click", () => {
    signs = [];
    changed();
  });
  showChips(changed);
}

function showChips(changed) {
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

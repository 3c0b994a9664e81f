// The page: its buttons, keys and files. drawing.js has what is drawn, ask.js asks, show.js shows the answer.

import "./pad.js";
import { askAnew } from "./ask.js";
import { save } from "./card.js";
import { clear, drawing, put, undo } from "./drawing.js";
import { showExamples } from "./examples.js";
import { loadMap } from "./map.js";
import { readPicture } from "./picture.js";
import { announce, show, showMap, shown } from "./show.js";
import { startTeaching } from "./signs.js";

const byId = (id) => document.getElementById(id);
let files = 0; // chosen so far

async function take(file) {
  if (!file) return;
  const [mine, number] = [++files, drawing.number];
  byId("answer").setAttribute("aria-busy", "true");
  const canvas = await readPicture(file);
  if (mine === files && number === drawing.number) put([], { canvas });
}

byId("undo").addEventListener("click", undo);
byId("clear").addEventListener("click", clear);
document.addEventListener("keydown", (event) => {
  if (event.altKey || event.shiftKey || event.target.matches("input[type=text]")) return;
  const key = event.key.toLowerCase();
  if (key === "z") undo();
  else if (key === "c" && event.target.id === "pad" && !event.ctrlKey && !event.metaKey) clear();
});

byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = "";
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("pad").classList.add("over");
});
document.addEventListener("dragleave", () => byId("pad").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("pad").classList.remove("over");
  take(event.dataTransfer.files[0]);
});

byId("detect").addEventListener("change", () => {
  show(shown.answer);
  announce();
});
byId("save").addEventListener("click", save);

showExamples(byId("examples"));
startTeaching(() => (byId("answer").getAttribute("aria-busy") === "false" ? shown.answer.features : undefined), askAnew);
show(shown.answer);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showMap);
new ResizeObserver(showMap).observe(byId("map"));
loadMap().then(showMap, () => {}); // the page works without its map

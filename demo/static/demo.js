// The page: its buttons, keys and files. drawing.js has what is drawn, ask.js asks, show.js shows the answer.

import "./ask.js";
import "./examples.js";
import "./pad.js";
import "./signs.js";
import { save } from "./card.js";
import { clear, drawing, put, undo } from "./drawing.js";
import { loadMap } from "./map.js";
import { announce, isSettled, show, showMap, shown } from "./show.js";

const LARGEST = 1120; // pixels a side, of a picture
const DRAWN = 560; // of the longer side of an SVG, which has no pixels of its own

const byId = (id) => document.getElementById(id);
let files = 0; // chosen so far

// A file as a canvas: whatever the browser can show, also SVG, which it shows without scripts and links; else null.
async function readPicture(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const sides = [image.naturalWidth || DRAWN, image.naturalHeight || DRAWN];
    const longer = Math.max(...sides);
    const scale = (file.type === "image/svg+xml" ? DRAWN : Math.min(LARGEST, longer)) / longer;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = sides.map((side) => Math.max(1, side * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toDataURL(); // fails where the browser forbids to send the picture
    return canvas;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(address);
  }
}

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
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    byId("pad").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}

byId("modes").addEventListener("change", () => {
  show(shown.answer);
  announce();
});
byId("save").addEventListener("click", () => isSettled() && save());

show(shown.answer);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showMap);
new ResizeObserver(showMap).observe(byId("map"));
loadMap().then(showMap, () => {}); // the page works without its map

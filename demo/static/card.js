// The card that "Save" makes: the drawing, the verdict and the digits that come nearest, as a picture.

import { paint } from "./drawing.js";
import { aDigit, comparison, shown } from "./show.js";

const [WIDTH, HEIGHT, EDGE] = [1000, 560, 40];

export function save() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const [card, text, soft, own] = ["card", "text", "soft", shown.kind].map((name) => style.getPropertyValue(`--${name}`));
  context.fillStyle = card;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const side = HEIGHT - 2 * EDGE;
  context.drawImage(paint(document.createElement("canvas"), side), EDGE, EDGE);

  const left = side + 2 * EDGE;
  const room = WIDTH - left - EDGE;
  const write = (text, y, font, color) => {
    context.font = `${font} system-ui, sans-serif`;
    context.fillStyle = color;
    context.fillText(text, left, y, room);
  };
  const { digit, nearest } = shown.answer;
  write(shown.word, 120, "bold 72px", own);
  write(shown.kind === "digit" ? `Taken for ${aDigit(digit)}` : `The network alone: ${aDigit(digit)}`, 180, "28px", text);
  write(document.getElementById("strange").textContent, 225, "24px", soft);
  write(comparison(), 265, "19px", soft);
  write("The nearest training digits", 350, "24px", soft);
  const step = room / nearest.length;
  context.imageSmoothingEnabled = false;
  document.querySelectorAll("#nearest canvas").forEach((near, i) => {
    context.drawImage(near, left + i * step, 370, step - 8, step - 8);
    context.fillText(nearest[i].label, left + (i + 0.4) * step, 370 + step + 20);
  });
  write(document.title, HEIGHT - EDGE, "20px", soft);
  const link = document.createElement("a");
  link.href = canvas.toDataURL();
  link.download = "digit-or-none.png";
  link.click();
}

// The card that "Save" makes: the drawing, the verdict and the digits that come nearest, as a picture.

import { paint } from "./drawing.js";
import { aDigit, isRejected, shown } from "./show.js";

const [WIDTH, HEIGHT, EDGE] = [1000, 560, 40];

export function save() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
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
  const { digit, p_value: p, nearest } = shown.answer;
  write(shown.word, 120, "bold 72px", isRejected() ? "#b3400a" : "#0b63b0");
  write(isRejected() ? `The network alone: ${aDigit(digit)}` : `Taken for ${aDigit(digit)}`, 180, "28px", "#1d1d1f");
  write(`p = ${p.toPrecision(2)}`, 220, "24px", "#5c5c63");
  write("The nearest training digits", 350, "24px", "#5c5c63");
  const step = room / nearest.length;
  context.imageSmoothingEnabled = false;
  document.querySelectorAll("#nearest canvas").forEach((near, i) => {
    context.drawImage(near, left + i * step, 370, step - 8, step - 8);
    context.fillText(nearest[i].label, left + (i + 0.4) * step, 370 + step + 20);
  });
  write(document.title, HEIGHT - EDGE, "20px", "#5c5c63");
  const link = document.createElement("a");
  link.href = canvas.toDataURL();
  link.download = "digit-or-none.png";
  link.click();
}

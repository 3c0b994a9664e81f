// The card that "Save" makes: the drawing, the verdict and the digits that come nearest, as a picture.

import { paint } from "./drawing.js";
import { aDigit, isRejected, shown } from "./show.js";

const [WIDTH, HEIGHT, EDGE] = [1000, 560, 40];

// strokes or picture as `drawing` has them; note : a line more, or "".
export function makeCard(drawing, note) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, WIDTH, HEIGHT);
  const side = HEIGHT - 2 * EDGE;
  const pad = document.createElement("canvas");
  paint(pad, side, drawing);
  context.drawImage(pad, EDGE, EDGE);

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
  write(note, 270, "bold 28px", "#b3400a");
  write("The nearest training digits", 350, "24px", "#5c5c63");
  const step = room / nearest.length;
  nearest.forEach(({ label }, i) => {
    const near = document.querySelectorAll("#nearest canvas")[i];
    context.imageSmoothingEnabled = false;
    context.drawImage(near, left + i * step, 370, step - 8, step - 8);
    context.fillText(label, left + (i + 0.4) * step, 370 + step + 20);
  });
  write(document.title, HEIGHT - EDGE, "20px", "#5c5c63");
  return canvas;
}

export async function save(drawing, note) {
  const blob = await new Promise((resolve) => makeCard(drawing, note).toBlob(resolve, "image/png"));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "digit-or-none.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

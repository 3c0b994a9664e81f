// A file as a canvas: what the browser decodes, and SVG, which it decodes for no canvas without an address.

import { drawSvg } from "./svg.js";

const LARGEST = 1120; // pixels a side

// The picture's canvas; null if it cannot be read.
export async function readPicture(file) {
  try {
    const isSvg = file.type === "image/svg+xml" || file.name.endsWith(".svg");
    return isSvg ? drawSvg(await file.text(), LARGEST / 2) : shrunk(await createImageBitmap(file));
  } catch {
    return null;
  }
}

function shrunk(bitmap) {
  const scale = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, bitmap.width * scale);
  canvas.height = Math.max(1, bitmap.height * scale);
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}

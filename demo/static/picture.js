// A file as a canvas: whatever the browser can show, also SVG, which a browser shows without its scripts and links.

const LARGEST = 1120; // pixels a side
const DRAWN = 560; // of the longer side of an SVG, which has no pixels of its own

// The picture's canvas; null if it cannot be read.
export async function readPicture(file) {
  const address = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const longer = Math.max(image.naturalWidth, image.naturalHeight) || DRAWN;
    const scale = (file.type === "image/svg+xml" ? DRAWN : Math.min(LARGEST, longer)) / longer;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, (image.naturalWidth || DRAWN) * scale);
    canvas.height = Math.max(1, (image.naturalHeight || DRAWN) * scale);
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toDataURL(); // fails where the browser forbids to send the picture
    return canvas;
  } catch {
    return null;
  } finally {
    URL.revokeObjectURL(address);
  }
}

// An SVG picture drawn into a canvas, shape by shape. An <img> would need an address that the page's policy forbids.
// Fills, strokes, transforms, text and style sheets; no gradients (black), clips, filters, symbols or pictures inside.

const INHERITED = ["fill", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "fill-rule", "font-size", "display"];
const DEFAULTS = { fill: "#000", stroke: "none", "stroke-width": "1", "stroke-linecap": "butt", "stroke-linejoin": "miter", "font-size": "16" };
const NOT_DRAWN = ["defs", "symbol", "clipPath", "mask", "marker", "pattern", "sheet", "script", "title", "desc", "metadata"];

// A canvas whose longer side has so many pixels. Throws an error if the text is no SVG.
export function drawSvg(text, longer) {
  // Styles are read below: under the page's policy the parser would complain about them.
  const bare = text.replace(/(<\/?)style\b/g, "$1sheet").replace(/\sstyle\s*=/g, " data-style=");
  const root = new DOMParser().parseFromString(bare, "image/svg+xml").documentElement;
  if (root.nodeName !== "svg") throw new Error("no SVG");
  const [x, y, width, height] = box(root);
  const scale = longer / Math.max(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, width * scale);
  canvas.height = Math.max(1, height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, -x * scale, -y * scale);
  draw(context, root, DEFAULTS, rulesOf(root));
  return canvas;
}

function numbers(text) {
  return (text ?? "").match(/-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/gi)?.map(Number) ?? [];
}

function box(root) {
  const view = numbers(root.getAttribute("viewBox"));
  const sides = ["width", "height"].map((name) => numbers(root.getAttribute(name))[0] ?? 300);
  const found = view.length === 4 ? view : [0, 0, ...sides];
  if (!(found[2] > 0 && found[3] > 0)) throw new Error("no size");
  return found;
}

function rulesOf(root) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync([...root.querySelectorAll("sheet")].map((one) => one.textContent).join("\n"));
  return [...sheet.cssRules].filter((rule) => rule.selectorText);
}

// Attributes, then style sheets, then the element's own style: each before the ones that it overrides.
function styleOf(element, inherited, rules) {
  const own = Object.fromEntries((element.getAttribute("data-style") ?? "").split(";").map((one) => one.split(":").map((s) => s.trim())));
  const matching = rules.filter((rule) => element.matches(rule.selectorText)).reverse();
  const style = {};
  for (const name of INHERITED) {
    const ruled = matching.map((rule) => rule.style.getPropertyValue(name)).find(Boolean);
    style[name] = own[name] || ruled || element.getAttribute(name) || inherited[name];
  }
  return style;
}

function draw(context, element, inherited, rules) {
  if (NOT_DRAWN.includes(element.localName)) return;
  const style = styleOf(element, inherited, rules);
  if (style.display === "none") return;
  context.save();
  const matrix = element.transform?.baseVal.consolidate()?.matrix;
  if (matrix) context.transform(matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f);
  for (const [kind, name] of [["fill", "fillStyle"], ["stroke", "strokeStyle"]]) {
    context[name] = "#000"; // stays where a colour is unknown
    context[name] = style[kind];
  }
  context.lineWidth = numbers(style["stroke-width"])[0] ?? 1;
  context.lineCap = style["stroke-linecap"];
  context.lineJoin = style["stroke-linejoin"];
  if (element.localName === "text") write(context, element, style);
  const path = pathOf(element);
  if (path && style.fill !== "none") context.fill(path, style["fill-rule"] === "evenodd" ? "evenodd" : "nonzero");
  if (path && style.stroke !== "none") context.stroke(path);
  for (const child of element.children) draw(context, child, style, rules);
  context.restore();
}

function write(context, element, style) {
  const [x, y] = ["x", "y"].map((name) => numbers(element.getAttribute(name))[0] ?? 0);
  context.font = `${numbers(style["font-size"])[0] ?? 16}px sans-serif`;
  context.textAlign = { middle: "center", end: "right" }[element.getAttribute("text-anchor")] ?? "left";
  if (style.fill !== "none") context.fillText(element.textContent.trim(), x, y);
  if (style.stroke !== "none") context.strokeText(element.textContent.trim(), x, y);
}

function pathOf(element) {
  const value = (name) => numbers(element.getAttribute(name))[0] ?? 0;
  const path = new Path2D();
  const kind = element.localName;
  if (kind === "path") return new Path2D(element.getAttribute("d") ?? "");
  if (kind === "rect") path.rect(value("x"), value("y"), value("width"), value("height"));
  else if (kind === "circle") path.arc(value("cx"), value("cy"), value("r"), 0, 2 * Math.PI);
  else if (kind === "ellipse") path.ellipse(value("cx"), value("cy"), value("rx"), value("ry"), 0, 0, 2 * Math.PI);
  else if (kind === "line") {
    path.moveTo(value("x1"), value("y1"));
    path.lineTo(value("x2"), value("y2"));
  } else if (kind.startsWith("poly")) {
    const flat = numbers(element.getAttribute("points"));
    for (let i = 0; i + 1 < flat.length; i += 2) path.lineTo(flat[i], flat[i + 1]);
    if (kind === "polygon") path.closePath();
  } else return null;
  return path;
}

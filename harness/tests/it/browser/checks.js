// What a page must hold for every reader: answers with a list of faults, empty where there are none.
const faults = [];
const visible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const named = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""} "${element.textContent.trim().slice(0, 40)}"`;

// Headings: one of the first level, and no level left out.
const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter(visible).map((heading) => Number(heading.tagName[1]));
if (levels.filter((level) => level === 1).length !== 1) faults.push(`headings of the first level: ${levels}`);
levels.forEach((level, index) => { if (index > 0 && level > levels[index - 1] + 1) faults.push(`a heading of level ${level} after one of ${levels[index - 1]}`); });
if (document.documentElement.lang !== "en" || document.title === "") faults.push("no language or no title");

// Landmarks, tables, pictures, controls: each with its role and its label.
for (const landmark of ["header", "main", "footer", "nav[aria-label]"]) if (!document.querySelector(landmark)) faults.push(`no ${landmark}`);
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
if (new Set(ids).size !== ids.length) faults.push("an id stands twice");
for (const section of document.querySelectorAll("section, [aria-labelledby]")) if (!document.getElementById(section.getAttribute("aria-labelledby"))?.textContent) faults.push(`no label: ${named(section)}`);
for (const link of document.querySelectorAll("a")) if (!document.getElementById(link.getAttribute("href").slice(1))) faults.push(`a link to nowhere: ${named(link)}`);
for (const table of document.querySelectorAll("table")) {
  if (!table.closest("[role=region][tabindex='0']")) faults.push("a table that the keyboard can't scroll");
  if (table.querySelectorAll("th:not([scope])").length > 0) faults.push(`a heading without a scope: ${named(table)}`);
}
for (const svg of document.querySelectorAll("svg")) {
  const inside = svg.parentElement.closest("svg[role=img]");
  if (!inside && (svg.getAttribute("role") !== "img" || !svg.getAttribute("aria-label"))) faults.push("a picture without role and label");
}
for (const control of document.querySelectorAll("button, input, summary")) {
  const text = control.labels?.length ? [...control.labels].map((label) => label.textContent).join("") : control.textContent;
  if (text.trim() === "") faults.push("a control without a name");
}
if (document.querySelectorAll("[tabindex]:not([tabindex='0'])").length > 0) faults.push("an order of focus of its own");

// Contrast of every word: 4.5 to 1 at least (WCAG 2.2, 1.4.3), for large letters as well.
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const luminance = (color) => {
  const [red, green, blue] = rgba(color).slice(0, 3).map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (rgba(color)[3] === 255) return color;
  }
  return "white";
};
const seen = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let words = 0;
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement;
  if (walker.currentNode.textContent.trim() === "" || !visible(element) || element.closest("script, style, .skip")) continue;
  words += 1;
  const style = getComputedStyle(element);
  const color = element instanceof SVGElement ? style.fill : style.color;
  const pair = `${color} on ${ground(element)}`;
  if (seen.has(pair)) continue;
  seen.add(pair);
  const [light, dark] = [luminance(color), luminance(ground(element))].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${pair}, ${named(element)}`);
}
if (words < 100 || seen.size < 5) faults.push(`only ${words} texts in ${seen.size} colours were looked at`);

// Nothing reaches out of the page sideways, and no word out of its picture.
const { scrollWidth } = document.documentElement;
if (scrollWidth > innerWidth) {
  const wide = [...document.querySelectorAll("body *")].filter((element) => !element.closest(".box, pre, svg") && element.getBoundingClientRect().right > innerWidth + 1);
  faults.push(`the page is ${scrollWidth} wide in a window of ${innerWidth}: ${wide.slice(0, 3).map(named)}`);
}
for (const text of document.querySelectorAll("svg[role=img] text")) {
  if (!visible(text)) continue;
  const [inner, outer] = [text.getBoundingClientRect(), text.closest("svg[role=img]").getBoundingClientRect()];
  if (inner.width > 0 && (inner.left < outer.left - 1 || inner.right > outer.right + 1)) faults.push(`cut off: ${named(text)} at ${Math.round(inner.left - outer.left)} to ${Math.round(inner.right - outer.left)} of ${Math.round(outer.width)}`);
}
return faults;

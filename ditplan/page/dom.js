"use strict";
// Elements, numbers and tables.

/** An element with properties and children; text children are never read as HTML. */
function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") node.className = value;
    else if (key === "style") node.style.cssText = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  for (const child of children.flat()) if (child !== null && child !== undefined) node.append(child);
  return node;
}

/** Seconds with three or four digits. */
function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  return value.toFixed(value >= 1000 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 3);
}

function gigabytes(bytes) { return (bytes / 1e9).toFixed(1) + " GB"; }

/** How many: "1 GPU", "4 GPUs". */
function count(number, name) { return `${number} ${name}${number === 1 ? "" : "s"}`; }

function percent(share) { return (100 * share).toFixed(1) + " %"; }

/** A table; columns are {name, of: row => value or node, number: true where it is one}. A click sorts. */
function table(columns, rows, most = 200) {
  const body = el("tbody");
  let shown = rows.slice();
  const fill = () => {
    body.replaceChildren(...shown.slice(0, most).map((row) => el("tr", {}, columns.map((column) => {
      const value = column.of(row);
      return el("td", column.number ? { class: "number" } : {}, value instanceof Node ? value : String(value ?? "-"));
    }))));
  };
  let last = null, up = true;
  const sort = (column) => {
    up = last === column ? !up : true;
    last = column;
    const key = column.key || column.of;
    shown = rows.slice().sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return up ? order : -order;
    });
    fill();
  };
  const header = el("tr", {}, columns.map((column) => el("th", {
    class: (column.number ? "number " : "") + "sortable", title: "sort", onclick: () => sort(column),
  }, column.name)));
  fill();
  const more = rows.length > most ? el("p", { class: "soft" }, `${rows.length - most} more rows are in the JSON`) : null;
  return el("div", { class: "scroll" }, el("table", {}, el("thead", {}, header), body), more);
}

function section(title, ...children) { return el("section", {}, el("h2", {}, title), ...children); }

function bullets(sentences) { return el("ul", {}, sentences.map((sentence) => el("li", {}, sentence))); }

const CLASS_COLOURS = {
  linear: "#4272c4", attention: "#e67e22", elementwise: "#7aa874", communication: "#c0504d", encode: "#8064a2",
  decode: "#b28fd0", launch: "#9a9a9a", "text-encoder": "#4bacc6", vae: "#a0783c", other: "#d4a5a5",
};
const COLOURS = ["#4272c4", "#e67e22", "#58a050", "#c0504d", "#8064a2", "#4bacc6", "#a0783c", "#dc8cbe", "#bebe3c", "#777777"];

function legend(entries) {
  return el("div", { class: "legend" }, entries.map(([name, colour]) => el("span", {}, el("i", { style: `background:${colour}` }), name)));
}

const tip = el("div", { class: "tip" });
function showTip(event, text) {
  tip.textContent = text;
  tip.style.display = "block";
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = event.clientY + 14 + "px";
}
function hideTip() { tip.style.display = "none"; }

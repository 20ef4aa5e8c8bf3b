"use strict";
// From a report's JSON to its page.

/** Anything without a page of its own: its figures, nested as they are. */
function anyPage(kind, report) {
  return [el("h1", {}, kind), el("pre", {}, JSON.stringify(report, null, 1))];
}

function show(data) {
  const pages = {
    plan: () => planPage(data.report, data.timeline), simulate: () => planPage(data.report, data.timeline),
    sweep: () => data.report.axes ? sweepPage(data.report) : anyPage(data.kind, data.report),
    validate: () => validatePage(data.report),
    capacity: () => typeof capacityPage === "function" ? capacityPage(data.report) : anyPage(data.kind, data.report),
  };
  const page = (pages[data.kind] || (() => anyPage(data.kind, data.report)))();
  return [...page, section("How to repeat this", el("pre", {}, data.command), el("p", { class: "soft" }, `ditplan ${data.version}`))];
}

function start() {
  document.body.append(tip);
  const data = document.getElementById("data");
  if (data) document.getElementById("page").replaceChildren(...show(JSON.parse(data.textContent)));
  const known = document.getElementById("known");
  if (known) startForm(JSON.parse(known.textContent));
}
document.addEventListener("DOMContentLoaded", start);

"use strict";
// sweep: curves over one number, who wins where over two or three.

function sweepNumber(text) {
  if (typeof text === "number") return text;
  const size = /^(\d+)x(\d+)$/.exec(text);
  if (size) return size[1] * size[2] / 1e6;
  const [digits, unit] = text.split(" ");
  const scale = { "B/s": 1e-9, "kB/s": 1e-6, "MB/s": 1e-3, "TB/s": 1e3, ns: 1e-3, ms: 1e3, s: 1e6 }[unit] || 1;
  return Number(digits) * scale;
}

function sweepUnit(axis) {
  if (axis.startsWith("gpu.")) return axis + ", times";
  if (axis.endsWith("bandwidth")) return axis + ", GB/s";
  if (axis.endsWith("latency")) return axis + ", us";
  return axis === "size" ? "size, megapixels" : axis;
}

/** Strategy without degrees, and whether it compresses; the plan none is one GPU. */
function planKind(row) {
  if (row.strategy === "none") return "one GPU";
  const strategy = row.strategy.split("+").map((part) => part.replace(/\d.*$/, "")).join("+");
  return row.compressor === "raw" ? strategy : strategy + ", compressed";
}

function sweepBest(rows, axes) {
  const best = new Map();
  for (const row of rows) {
    if (!row.plan) continue;
    const key = axes.map((axis) => row[axis]).join("|");
    const known = best.get(key);
    if (!known || row.latency_s < known.latency_s) best.set(key, row);
  }
  return [...best.values()];
}

/** Which kinds of plan win at most points, of [[kind, points]], most first. */
function sweepVerdict(kinds, points) {
  if (!kinds.length) return ["no plan at any point", ""];
  const most = kinds[0][1];
  const first = kinds.filter(([, count]) => count === most).map(([kind]) => kind);
  const share = points === 1 ? " (1 point)" : ` (${most} of ${points} points${first.length > 1 ? " each" : ""})`;
  if (kinds.length === 1) return [`${first[0]} wins everywhere`, share];
  if (first.length === 1) return [`${first[0]} wins most`, share];
  if (first.length > 4) return [`no kind of plan wins most: ${first.length} are level`, share];
  const last = first.pop();
  return [`no kind of plan wins most: ${first.join(", ")} and ${last} are level`, share];
}

function sweepPage(report) {
  const { axes, rows } = report;
  const best = sweepBest(rows, axes);
  const counts = new Map();
  for (const row of best) counts.set(planKind(row), (counts.get(planKind(row)) || 0) + 1);
  const kinds = [...counts.entries()].sort((a, b) => b[1] - a[1]);
  const colour = new Map(kinds.map(([kind], index) => [kind, COLOURS[Math.min(index, COLOURS.length - 1)]]));
  const refused = rows.filter((row) => !row.plan);
  const several = rows.length > best.length + refused.length;
  const [verdict, share] = sweepVerdict(kinds, best.length);
  const parts = [
    el("h1", {}, "What-if: " + axes.join(" x ")),
    report.question ? el("div", { class: "soft" }, `${planTitle(report.question)}; ${planPlace(report.question)}, but for what varies`) : null,
    el("div", { class: "answer" }, el("strong", {}, verdict), share,
      refused.length ? el("div", { class: "soft" }, `${refused.length} rows have no plan, the first: ${refused[0].reason}`) : null),
    // Curves of given plans have names of their own.
    axes.length === 1 && several ? null : legend(kinds.map(([kind, count]) => [`${kind} (${count})`, colour.get(kind)])),
  ];
  if (axes.length === 1) {
    const of = (row) => [sweepNumber(row[axes[0]]), row.latency_s];
    const named = new Map();
    for (const row of rows.filter((one) => several && one.plan)) {
      if (!named.has(row.plan)) named.set(row.plan, []);
      named.get(row.plan).push(of(row));
    }
    const given = [...named.entries()].map(([name, points]) => ({ name, points }));
    const chosen = [{ name: "best plan", points: best.map(of), colour: "#bbb" },
      ...kinds.map(([kind]) => ({ name: kind, points: best.filter((row) => planKind(row) === kind).map(of), colour: colour.get(kind), dots: true }))];
    const series = several ? given : chosen;
    parts.push(lines(series, { x: sweepUnit(axes[0]), y: "latency, s", logX: true, logY: true }));
  } else {
    const [upAxis, acrossAxis] = axes.slice(-2);
    const ordered = (axis) => [...new Set(rows.map((row) => String(row[axis])))].sort((a, b) => sweepNumber(a) - sweepNumber(b));
    const facets = axes.length > 2 ? ordered(axes[0]) : [null];
    for (const facet of facets.slice(0, 6)) {
      const found = new Map(best.filter((row) => facet === null || String(row[axes[0]]) === facet).map((row) => [row[upAxis] + "|" + row[acrossAxis], row]));
      parts.push(section(facet === null ? "Who wins where" : `${axes[0]} = ${facet}`, cells({
        across: ordered(acrossAxis), up: ordered(upAxis), xName: acrossAxis, yName: upAxis,
        at: (column, row) => {
          const one = found.get(row + "|" + column);
          return one && { colour: colour.get(planKind(one)), tip: `${one.plan}\n${upAxis} = ${row}, ${acrossAxis} = ${column}\n${seconds(one.latency_s)} s, ${one.speed_up.toFixed(2)}x one GPU` };
        },
      })));
    }
  }
  parts.push(section("Rows", table([
    ...axes.map((axis) => ({ name: axis, of: (row) => row[axis], key: (row) => sweepNumber(row[axis]) })),
    { name: "plan", of: (row) => row.plan || row.reason },
    { name: "latency, s", number: true, of: (row) => seconds(row.latency_s), key: (row) => row.latency_s ?? Infinity },
    { name: "speed-up", number: true, of: (row) => row.speed_up ? row.speed_up.toFixed(2) + "x" : "-", key: (row) => row.speed_up ?? 0 },
    { name: "exposed, s", number: true, of: (row) => seconds(row.exposed_s), key: (row) => row.exposed_s ?? 0 },
  ], rows)));
  return parts.filter((part) => part !== null);
}

"use strict";
// Charts by uPlot, and cells on a canvas.

/** Round numbers from low to high on a logarithmic axis: 1, 2 and 5 of each decade, over few decades more. */
function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const steps = decades < 1 ? [1, 1.5, 2, 3, 4, 5, 7] : decades < 3 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++) {
    for (const step of steps) ticks.push(Number((step * 10 ** decade).toPrecision(3)));
  }
  return ticks.filter((tick) => low <= tick && tick <= high);
}

/** Lines over one number. series: [{name, points: [[x, y]], colour, dots: true for points without a line}]. */
function lines(series, { x, y, logX = false, logY = false, dots = false, diagonal = false }) {
  const points = series.flatMap((one) => one.points);
  const xs = [...new Set(points.map((point) => point[0]))].sort((a, b) => a - b);
  const columns = series.map((one) => {
    const known = new Map(one.points);
    return xs.map((at) => known.has(at) ? known.get(at) : null);
  });
  const holder = el("div");
  // Zero has no logarithm. An axis ends a little outside its data.
  const isLog = [logX, logY].map((wanted, index) => wanted && points.every((point) => point[index] > 0));
  const fitted = (_, low, high) => [low / 1.1, high * 1.1];
  const scale = (log) => log ? { time: false, distr: 3, range: fitted } : { time: false };
  const whole = [0, 1].map((index) => points.every((point) => Number.isInteger(point[index])));
  const ticks = (index, low, high) => logTicks(low, high).filter((tick) => !whole[index] || Number.isInteger(tick));
  const axis = (log, more) => log ? {
    ...more, splits: (_, index, low, high) => ticks(index, low, high), filter: (_, ticks) => ticks, values: (_, ticks) => ticks.map(String),
  } : more;
  const options = {
    width: Math.min(1060, innerWidth - 60), height: 380,
    scales: { x: scale(isLog[0]), y: scale(isLog[1]) },
    axes: [axis(isLog[0], { label: x }), axis(isLog[1], { label: y, size: 64 })],
    series: [{ label: x }, ...series.map((one, index) => {
      const colour = one.colour || COLOURS[index % COLOURS.length];
      const bare = dots || one.dots;
      return {
        label: one.name, stroke: colour, width: bare ? 0 : 2, spanGaps: true,
        points: { show: bare || xs.length < 40, size: dots ? 4 : one.dots ? 8 : 5, fill: one.dots ? colour : undefined },
        paths: bare ? () => null : undefined,
      };
    })],
  };
  if (diagonal) {
    options.series.push({ label: "equal", stroke: "#999", width: 1, points: { show: false } });
    columns.push(xs);
  }
  new uPlot(options, [xs, ...columns], holder);
  return holder;
}

/** Who wins where over two numbers: cells with a colour and a tip each. */
function cells({ across, up, xName, yName, at }) {
  const [left, bottom, size] = [90, 46, { width: 1000, height: Math.max(180, Math.min(420, 30 * up.length + 60)) }];
  const canvas = el("canvas", { width: size.width, height: size.height, style: "max-width:100%" });
  const paint = canvas.getContext("2d");
  const [w, h] = [(size.width - left - 10) / across.length, (size.height - bottom - 10) / up.length];
  paint.font = "12px sans-serif";
  up.forEach((row, j) => across.forEach((column, i) => {
    const cell = at(column, row);
    if (!cell) return;
    paint.fillStyle = cell.colour;
    paint.fillRect(left + i * w, 10 + (up.length - 1 - j) * h, Math.ceil(w), Math.ceil(h));
  }));
  paint.fillStyle = "#333";
  paint.textAlign = "center";
  const every = Math.ceil(across.length / 12);
  across.forEach((value, i) => { if (i % every === 0) paint.fillText(value, left + (i + 0.5) * w, size.height - bottom + 16); });
  paint.fillText(xName, left + (size.width - left) / 2, size.height - 8);
  paint.textAlign = "right";
  const skip = Math.ceil(up.length * 14 / (size.height - bottom));
  up.forEach((value, j) => { if (j % skip === 0) paint.fillText(value, left - 8, 14 + (up.length - 0.5 - j) * h); });
  paint.textAlign = "left";
  paint.fillText(yName, 4, size.height - 8);
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    const zoom = size.width / box.width;
    const i = Math.floor(((event.clientX - box.left) * zoom - left) / w);
    const j = up.length - 1 - Math.floor(((event.clientY - box.top) * zoom - 10) / h);
    const cell = across[i] !== undefined && up[j] !== undefined ? at(across[i], up[j]) : null;
    if (cell) showTip(event, cell.tip); else hideTip();
  });
  canvas.addEventListener("mouseleave", hideTip);
  return canvas;
}

/** Parts of a whole, side by side. */
function bar(parts, whole) {
  return el("div", { class: "bar", style: "width:520px" }, Object.entries(parts).map(([name, value]) => el("i", {
    style: `width:${100 * value / whole}%;background:${CLASS_COLOURS[name] || "#bbb"}`,
    onmousemove: (event) => showTip(event, `${name}: ${seconds(value)} s`), onmouseleave: hideTip,
  })));
}

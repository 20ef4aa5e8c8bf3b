"use strict";
// What ran where and when: wheel zooms, drag moves.

/** timeline: {streams, classes, devices, spans: [[device, stream, class, step, layer, start_us, end_us, bytes]]}. */
function timelineView(timeline) {
  const lanes = [];
  for (let device = 0; device < timeline.devices; device++) {
    timeline.streams.forEach((name, stream) => {
      if (timeline.spans.some((span) => span[0] === device && span[1] === stream)) lanes.push({ device, stream, name });
    });
  }
  const lane = new Map(lanes.map((one, index) => [one.device + ":" + one.stream, index]));
  const end = Math.max(...timeline.spans.map((span) => span[6]));
  const [row, left] = [18, 130];
  const canvas = el("canvas", { class: "timeline" });
  let [from, to] = [0, end];
  const height = lanes.length * row + 24;
  const draw = () => {
    const width = canvas.clientWidth || 1060;
    const sharp = devicePixelRatio || 1;
    canvas.width = width * sharp;
    canvas.height = height * sharp;
    canvas.style.height = height + "px";
    const paint = canvas.getContext("2d");
    paint.scale(sharp, sharp);
    const x = (time) => left + (time - from) / (to - from) * (width - left);
    paint.font = "12px sans-serif";
    paint.fillStyle = "#555";
    lanes.forEach((one, index) => paint.fillText(`GPU ${one.device} ${one.name}`, 6, index * row + 13));
    paint.save();
    paint.beginPath();
    paint.rect(left, 0, width - left, height);
    paint.clip();
    for (const span of timeline.spans) {
      if (span[6] < from || span[5] > to) continue;
      const index = lane.get(span[0] + ":" + span[1]);
      paint.fillStyle = CLASS_COLOURS[timeline.classes[span[2]]] || "#bbb";
      paint.fillRect(x(span[5]), index * row + 2, Math.max(0.5, x(span[6]) - x(span[5])), row - 4);
    }
    paint.restore();
    paint.fillStyle = "#555";
    for (let tick = 0; tick <= 5; tick++) {
      const time = from + (to - from) * tick / 5;
      paint.textAlign = tick === 5 ? "right" : tick === 0 ? "left" : "center";
      paint.fillText((time / 1000).toFixed(3) + " ms", x(time), height - 6);
    }
    paint.textAlign = "left";
  };
  const time = (event) => {
    const box = canvas.getBoundingClientRect();
    return from + (event.clientX - box.left - left) / (box.width - left) * (to - from);
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [at, zoom] = [time(event), Math.exp(event.deltaY * 0.0015)];
    from = Math.max(0, at - (at - from) * zoom);
    to = Math.min(end, at + (to - at) * zoom);
    if (to - from < 1) to = from + 1;
    draw();
  }, { passive: false });
  let held = null;
  canvas.addEventListener("mousedown", (event) => { held = time(event); });
  addEventListener("mouseup", () => { held = null; });
  canvas.addEventListener("mousemove", (event) => {
    if (held !== null) {
      const move = Math.max(-from, Math.min(end - to, held - time(event)));
      from += move;
      to += move;
      draw();
      return;
    }
    const box = canvas.getBoundingClientRect();
    const index = Math.floor((event.clientY - box.top) / row);
    const at = time(event);
    const span = timeline.spans.find((one) => lane.get(one[0] + ":" + one[1]) === index && one[5] <= at && at <= one[6]);
    if (!span) return hideTip();
    const bytes = span[7] ? `\n${(span[7] / 1e6).toFixed(2)} MB` : "";
    showTip(event, `${timeline.classes[span[2]]}\nstep ${span[3]}, layer ${span[4]}\n${(span[6] - span[5]).toFixed(1)} us${bytes}`);
  });
  canvas.addEventListener("mouseleave", hideTip);
  canvas.addEventListener("dblclick", () => { [from, to] = [0, end]; draw(); });
  addEventListener("resize", draw);
  requestAnimationFrame(draw);
  const known = [...new Set(timeline.spans.map((span) => timeline.classes[span[2]]))];
  return el("div", {}, legend(known.map((name) => [name, CLASS_COLOURS[name] || "#bbb"])), canvas,
    el("p", { class: "soft" }, timeline.note + " Wheel zooms, drag moves, double click shows all."));
}

"use strict";
// plan and simulate.

function planTitle(question) {
  const request = question.request;
  const frames = request.frames > 1 ? ` x ${request.frames} frames` : "";
  return `${question.model} ${request.width}x${request.height}${frames}, ${count(request.steps, "step")}`;
}

function planPlace(question) {
  return `${count(question.gpus, "GPU")} of ${question.machine} (${question.interconnect}), ${question.engine}, ${question.compilation}`;
}

function qualityWords(quality) {
  const figures = [["FID", quality.fid], ["LPIPS", quality.lpips], ["PSNR at least", quality.psnr_lo_db]];
  const known = figures.filter(([, value]) => value !== null && value !== undefined);
  return [quality.fidelity, ...known.map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`)].join(", ");
}

function planColumns(best) {
  return [
    { name: "plan", of: (plan) => plan.plan },
    { name: "latency, s", number: true, of: (plan) => seconds(plan.latency_s), key: (plan) => plan.latency_s },
    { name: "90 % interval", number: true, of: (plan) => `${seconds(plan.latency_lo_s)} to ${seconds(plan.latency_hi_s)}`, key: (plan) => plan.latency_lo_s },
    { name: "speed-up", number: true, of: (plan) => plan.speedup.toFixed(2) + "x", key: (plan) => plan.speedup },
    { name: "exposed, s", number: true, of: (plan) => seconds(plan.exposed_communication_s), key: (plan) => plan.exposed_communication_s },
    { name: "memory", number: true, of: (plan) => gigabytes(plan.peak_memory_bytes), key: (plan) => plan.peak_memory_bytes },
    { name: "output", of: (plan) => qualityWords(plan.quality) },
    { name: "why slower", of: (plan) => plan.why_slower || (plan.plan === best.plan ? "the choice" : "") },
  ];
}

function planPage(report, timeline) {
  const one = report.choice || report;
  const others = report.plans || [one];
  const longest = Math.max(...others.slice(0, 12).map((plan) => plan.latency_s), report.single ? report.single.latency_s : 0);
  const shown = [...others.slice(0, 12), ...(report.single ? [report.single] : [])];
  const parts = [
    el("h1", {}, planTitle(report.question)),
    el("div", { class: "soft" }, planPlace(report.question)),
    el("div", { class: "answer" },
      el("strong", {}, `${one.plan}: ${seconds(one.latency_s)} s`), ` (${seconds(one.latency_lo_s)} to ${seconds(one.latency_hi_s)} s in 9 of 10 cases)`,
      el("div", {}, `${one.speedup.toFixed(2)}x one GPU; ${qualityWords(one.quality)}; ${gigabytes(one.peak_memory_bytes)} on the fullest GPU; waits ${seconds(one.exposed_communication_s)} s for messages.`),
      el("div", { class: "soft" }, `Lower bound ${seconds(one.lower_bound_s)} s, gap ${percent(one.gap)}; ${one.stop_reason}.` +
        (report.considered ? ` ${report.considered} plans considered, ${report.simulated} simulated, ${report.pruned} pruned.` : ""))),
  ];
  const rows = shown.map((plan) => ({ name: plan === report.single ? "one GPU" : plan.plan, plan }));
  parts.push(section("Where the time goes",
    legend(Object.entries(CLASS_COLOURS).filter(([name]) => shown.some((plan) => plan.time_by_class_s[name]))),
    table([
      { name: "plan", of: (row) => row.name },
      { name: "critical path by kind of work", of: (row) => bar(row.plan.time_by_class_s, longest), key: (row) => row.plan.latency_s },
      { name: "s", number: true, of: (row) => seconds(row.plan.latency_s), key: (row) => row.plan.latency_s },
    ], rows)));
  if (report.findings) parts.push(section("Findings", bullets(report.findings)));
  if (report.budget && report.budget.uniform) parts.push(section("Budget", table([
    { name: "one compressor everywhere", of: (row) => row.compressor || "raw" },
    { name: "latency, s", number: true, of: (row) => seconds(row.latency_s), key: (row) => row.latency_s },
    { name: "predicted deviation", number: true, of: (row) => percent(row.deviation), key: (row) => row.deviation },
    { name: "keeps the budget", of: (row) => row.keeps ? "yes" : "no" },
  ], report.budget.uniform)));
  if (timeline) parts.push(section("Timeline", timelineView(timeline)));
  if (report.plans) parts.push(section("Plans", table(planColumns(one), report.plans, 15)));
  parts.push(section("Launch", one.launch.command ? el("pre", {}, one.launch.command) : el("p", {}, `${one.launch.engine}: ${one.launch.reason}`)));
  if (report.illegal && report.illegal.length) parts.push(section("Not legal here", table([
    { name: "plan", of: (row) => row.plan }, { name: "why", of: (row) => row.reason }], report.illegal)));
  if (report.provenance) parts.push(section("Where the numbers come from", bullets(report.provenance)));
  return parts;
}

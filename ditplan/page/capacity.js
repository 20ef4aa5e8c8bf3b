"use strict";
// capacity: the fleet that meets the objective.

function within(figure, digits = 2) {
  return `${figure.value.toFixed(digits)} (${figure.lo.toFixed(digits)} to ${figure.hi.toFixed(digits)})`;
}

function fleetWords(fleet) {
  return fleet.pools.map((pool) => `${pool.replicas} x ${pool.plan}` + (pool.batch > 1 ? ` (batches of ${pool.batch})` : "")).join(" + ");
}

function capacityPage(report) {
  const { question, choice } = report;
  const fleet = choice || report.uniform;
  const rate = question.rate_per_s ? `${Number(question.rate_per_s.toPrecision(3))} requests a second` : "recorded requests";
  const parts = [
    el("h1", {}, `${question.model} at ${rate}, ${question.slo}`),
    el("div", { class: "soft" }, question.mix.map((one) => `${one.shape} (${percent(one.share)})`).join(", ") + "; " +
      question.machines.map((one) => `${one.machine} (${one.gpus} x ${one.gpu})`).join(", ")),
  ];
  if (choice) {
    const money = choice.dollars_per_hour ? `, ${choice.dollars_per_hour.toFixed(2)} dollars an hour` : "";
    parts.push(el("div", { class: "answer" }, el("strong", {}, count(choice.gpus, "GPU")), money,
      el("div", {}, fleetWords(choice)),
      el("div", { class: "soft" }, `At most ${Number((report.saturation_per_s || 0).toPrecision(3))} requests a second keep the objective` +
        (report.overload_per_s ? `; from ${Number(report.overload_per_s.toPrecision(3))} a second on the queue grows without end.` : "."))));
  }
  const quantiles = ["mean", "p50", "p95", "p99"];
  if (fleet) parts.push(section("Latency, s (95 % interval)", table([
    { name: "", of: (row) => row.name },
    ...quantiles.map((name) => ({ name, number: true, of: (row) => row.of(name) })),
  ], [
    { name: "simulated", of: (name) => within(fleet.simulated.latency_s[name]) },
    ...(fleet.closed_form ? [{ name: "closed form", of: (name) => fleet.closed_form[name].toFixed(2) }] : []),
  ]), el("p", {}, `Busy ${percent(fleet.simulated.utilisation.value)} of the time; ${within(fleet.simulated.waiting)} requests wait on average.`)));
  if (report.curve && report.curve.length > 1) {
    const series = quantiles.slice(1).map((name) => ({ name, points: report.curve.map((point) => [point.rate_per_s, point.latency_s[name].value]) }));
    parts.push(section("Latency over the rate of requests", lines(series, { x: "requests a second", y: "latency, s", logY: true })));
  }
  if (report.queue && report.queue.length > 1) {
    parts.push(section("Queue over time", lines([
      { name: "waiting, mean", points: report.queue.map((part) => [part.until_s, part.mean]) },
      { name: "at most", points: report.queue.map((part) => [part.until_s, part.most]) },
    ], { x: "s", y: "requests" })));
  }
  if (report.alternatives) parts.push(section("Equal replicas for all shapes", table([
    { name: "replica", of: (row) => row.plan },
    { name: "machine", of: (row) => row.machine },
    { name: "GPUs each", number: true, of: (row) => row.gpus_per_replica },
    { name: "fleet needs", number: true, of: (row) => row.fleet ? count(row.fleet.gpus, "GPU") : "-", key: (row) => row.fleet ? row.fleet.gpus : Infinity },
    { name: "p95, s", number: true, of: (row) => row.fleet ? within(row.fleet.simulated.latency_s.p95) : "-", key: (row) => row.fleet ? row.fleet.simulated.latency_s.p95.value : Infinity },
    { name: "why not", of: (row) => row.reason || (choice && row.fleet && fleetWords(row.fleet) === fleetWords(choice) ? "the choice" : "") },
  ], report.alternatives)));
  if (report.findings) parts.push(section("Findings", bullets(report.findings)));
  if (report.provenance) parts.push(section("Where the numbers come from", bullets(report.provenance)));
  return parts;
}

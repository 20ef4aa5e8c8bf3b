"use strict";
// validate: how far the predictions are from measurements.

function validatePage(report) {
  const parts = [el("h1", {}, "Predictions against measurements")];
  const errors = [["median, %", "median_pct"], ["p90, %", "p90_pct"], ["mean, %", "mape_pct"], ["max, %", "max_pct"], ["bias, %", "bias_pct"]];
  const columns = [
    { name: "", of: (row) => row.name }, { name: "rows", number: true, of: (row) => row.n },
    ...errors.map(([name, key]) => ({ name, number: true, of: (row) => row[key] === null || row[key] === undefined ? "-" : row[key].toFixed(1), key: (row) => row[key] ?? 0 })),
  ];
  for (const [name, tier] of Object.entries(report.tiers)) {
    if (!tier) continue;
    const rows = [{ name: "ditplan", ...tier }, ...Object.entries(tier.baselines || {}).map(([key, value]) => ({ name: "baseline " + key, ...value }))];
    const page = [table(columns, rows)];
    const said = [["coverage_pct", "% of the rows lie inside their 90 % interval"], ["top1_regret_pct", "% top-1 regret"], ["kendall_tau", "Kendall's tau"]]
      .filter(([key]) => typeof tier[key] === "number").map(([key, words]) => `${tier[key].toFixed(2)} ${words}`);
    if (said.length) page.push(el("p", {}, said.join("; ") + "."));
    const points = tier.rows && tier.rows.filter((row) => row.measured_s && row.predicted_s).map((row) => [row.measured_s, row.predicted_s]);
    if (points && points.length) page.push(lines([{ name: "runs", points }], { x: "measured, s", y: "predicted, s", logX: true, logY: true, dots: true, diagonal: true }));
    if (tier.strata && tier.strata.length) page.push(table(columns, tier.strata));
    if (tier.unmapped && tier.unmapped.length) page.push(el("details", {}, el("summary", {}, `${tier.unmapped.length} rows without a prediction`), table([
      { name: "row", of: (row) => row.row }, { name: "why", of: (row) => row.reason }], tier.unmapped)));
    parts.push(section(name, page));
  }
  return parts;
}

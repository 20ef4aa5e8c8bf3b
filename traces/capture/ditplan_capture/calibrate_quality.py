"""Fits the quality model of a trace to its closed-loop runs with split=fit, and checks it on the others.

    python -m ditplan_capture.calibrate_quality TRACE [--transfer TRACE_OF_OTHER_STEPS] [--check]

Reads manifest.json, errors.csv.gz (of `ditplan replay --save` or `ditplan_capture.replay`) and runs.csv.gz of the
trace directory, and writes its quality.json. Runs of split `test` and `transfer` never enter the fit.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Iterable, Optional, Sequence

from .closed_loop import geometric_mean
from .assignment import PHASES
from .quality import REPRESENTATIVE, TENSORS, Quality, ReplayErrors, family, kendall_tau, median, ordered_share
from .shard import write_atomically
from .tables import RunRow, list_file, read_runs


#: Their one-layer runs deviate by 7e-6 to 1.5e-5, two runs of the same arithmetic in another order by 5e-6: they have
#: their family's sensitivity.
NEAR_NOISE = ("int8",)


class Fit:
    """The runs and replay errors that a calibration reads."""

    def __init__(self, runs: Sequence[RunRow], errors: dict[int, ReplayErrors], ranks: int, steps: int) -> None:
        usable = [r for r in runs if r.split == "fit" and r.steps == steps and r.strategy == "ring"]
        self.here = [r for r in usable if r.ranks == ranks]
        self.elsewhere = [r for r in usable if r.ranks != ranks]
        self.errors, self.ranks = errors, ranks

    def tensor_weight(self) -> dict[str, float]:
        """K's weight over V's from K-only and V-only runs: log-mean over layers, weighted by their part of D^2."""
        per: dict[tuple[int, str], dict[str, float]] = {}
        for run in (r for r in self.here if r.purpose == "kv"):
            for tensor in TENSORS:
                layer, name = only_layer(run, tensor)
                if name:
                    per.setdefault((layer, name), {})[tensor] = run.deviation**2
        total = weight = 0.0
        for (layer, name), d2 in per.items():
            if len(d2) == 2:
                ratio = [d2[t] / self.errors[self.ranks].coherent(layer, t, name) for t in TENSORS]
                part = d2["k"] + d2["v"]
                total += part * math.log(ratio[0] / ratio[1])
                weight += part
        return {"k": math.exp(total / weight) if weight else 1.0, "v": 1.0}

    def sensitivities(self, weight: dict[str, float], phase: Sequence[float]) -> dict[tuple[int, str], float]:
        """s = D^2 / (w_k E_k + w_v E_v) from one-layer runs: a family's by its representative, others' by name."""
        result = {}
        for run in (r for r in self.here if r.purpose == "single"):
            layer, name = only_layer(run, "k")
            if name and name not in NEAR_NOISE:
                key = family(name) if REPRESENTATIVE[family(name)] == name else name
                unit = Quality({(layer, family(name)): 1.0}, weight, tuple(phase))
                result[layer, key] = (run.deviation / unit.predict(run.assignment, self.errors[self.ranks], self.ranks)) ** 2
        return result

    def fitted(self, rounds: int = 4) -> Quality:
        """Sensitivities, and the weight of each phase: log-mean of D^2 over its prediction in runs that compress one
        phase only; in turn, since a weight moves every sensitivity."""
        weight, phase = self.tensor_weight(), [1.0] * PHASES
        quality = Quality(self.sensitivities(weight, phase), weight)
        only = [(only_phase(r), r) for r in self.here if r.purpose == "phase"]
        for _ in range(rounds if only else 0):
            for p in range(PHASES):
                logs = [2 * math.log(r.deviation / quality.predict(r.assignment, self.errors[self.ranks], self.ranks)) for q, r in only if q == p]
                phase[p] *= math.exp(sum(logs) / len(logs))
            quality = Quality(self.sensitivities(weight, phase), weight, tuple(phase))
        return quality

    def prompt_scale(self) -> float:
        """Factor of D^2 from the prompts of the one-layer runs to all prompts: what prompts have in common moves every
        run alike, so uniform runs on many prompts tell it."""
        few = next(r for r in self.here if r.purpose == "single")
        wide = [r for r in self.here if r.purpose == "uniform" and len(r.deviations) > len(few.deviations)]
        logs = [2 * (common(r, r) - common(r, few)) for r in wide]
        return math.exp(sum(logs) / len(logs)) if logs else 1.0

    def gains(self, quality: Quality) -> dict[int, float]:
        """Factor of D^2 at other numbers of ranks: uniform runs there over those here, on the prompts both have."""
        here = {uniform_name(r): r for r in self.here if r.purpose == "uniform"}
        logs: dict[int, list[float]] = {self.ranks: [0.0]}
        for run in (r for r in self.elsewhere if r.purpose == "uniform" and r.ranks in self.errors):
            logs.setdefault(run.ranks, []).append(2 * (self.excess(quality, run, run) - self.excess(quality, here[uniform_name(run)], run)))
        return {n: math.exp(sum(x) / len(x)) for n, x in logs.items()}

    def lossy_own_shard(self, gathers: Sequence[RunRow]) -> float:
        """Factor of D^2 where a rank's own shard is reconstructed too: uniform gathers over uniform rings."""
        here = {uniform_name(r): r for r in self.here if r.purpose == "uniform"}
        logs = [2 * (common(r, r) - common(here[uniform_name(r)], r)) for r in gathers if r.ranks == self.ranks]
        return math.exp(sum(logs) / len(logs)) if logs else self.ranks / (self.ranks - 1)

    def excess(self, quality: Quality, run: RunRow, like: RunRow) -> float:
        """ln(actual / predicted) of a run on the first prompts, as many as another has."""
        return common(run, like) - math.log(quality.predict(run.assignment, self.errors[run.ranks], run.ranks))

    def confidence(self, quality: Quality) -> tuple[int, float, float]:
        """Runs, mean and standard deviation of ln(actual / predicted) over mixed runs on other prompts."""
        mixed = [r for r in self.here if r.purpose == "mixed"]
        logs = [math.log(r.deviation / quality.predict(r.assignment, self.errors[self.ranks], self.ranks)) for r in mixed]
        if len(logs) < 3:
            raise ValueError(f"{len(logs)} mixed runs with split=fit; the confidence factor needs 3 at least, better 16")
        mean = sum(logs) / len(logs)
        return len(logs), mean, math.sqrt(sum((x - mean) ** 2 for x in logs) / (len(logs) - 1))

    def prompt_spread(self) -> float:
        """Standard deviation over prompts of ln D, mean over the uniform runs."""
        spreads = []
        for run in (r for r in self.here if r.purpose == "uniform"):
            logs = [math.log(d) for d in run.deviations]
            mean = sum(logs) / len(logs)
            spreads.append(math.sqrt(sum((x - mean) ** 2 for x in logs) / (len(logs) - 1)))
        return sum(spreads) / len(spreads)

    def run(self, gathers: Sequence[RunRow]) -> Quality:
        """The whole calibration."""
        quality = self.fitted()
        scale = self.prompt_scale()
        quality.sensitivity = {key: scale * s for key, s in quality.sensitivity.items()}
        quality.gain = self.gains(quality)
        quality.lossy_own_shard = self.lossy_own_shard(gathers)
        quality.confidence_runs, quality.mean_ln, quality.sd_ln = self.confidence(quality)
        return quality


def common(run: RunRow, like: RunRow) -> float:
    """Mean ln D of a run over the first prompts, as many as both runs have."""
    logs = [math.log(d) for d in run.deviations[: min(len(run.deviations), len(like.deviations))]]
    return sum(logs) / len(logs)


def only_phase(run: RunRow) -> int:
    """The phase that a run compresses."""
    return next(p for p in range(PHASES) if run.assignment.name("k", 0, p) != "raw")


def only_layer(run: RunRow, tensor: str) -> tuple[int, Optional[str]]:
    """The layer and compressor of a run that leaves all other layers raw; None where this tensor is raw too."""
    entries = run.assignment.k if tensor == "k" else run.assignment.v
    busy = [(layer, entry[0]) for layer, entry in enumerate(entries) if set(entry) != {"raw"}]
    return busy[0] if len(busy) == 1 else (0, None)


def uniform_name(run: RunRow) -> Optional[str]:
    """The one compressor of a run, if there is one."""
    names = {n for e in run.assignment.k + run.assignment.v for n in e}
    return names.pop() if len(names) == 1 else None


def check_lines(quality: Quality, runs: Iterable[RunRow], errors: dict[tuple[int, int], ReplayErrors]) -> list[str]:
    """Predicted against measured for each group of runs outside the fit."""
    groups: dict[tuple, list[tuple[float, float]]] = {}
    for r in runs:
        key = (r.split, r.purpose, r.prompts, r.ranks, r.steps)
        if r.split != "fit" and r.strategy == "ring" and r.purpose in ("mixed", "phase", "uniform") and (r.ranks, r.steps) in errors:
            groups.setdefault(key, []).append((quality.predict(r.assignment, errors[r.ranks, r.steps], r.ranks), r.deviation))
    lines = []
    for key, pairs in sorted(groups.items()):
        predicted, actual = zip(*pairs)
        off = [max(p / a, a / p) - 1 for p, a in pairs]
        ln = [math.log(a / p) for p, a in pairs]
        over = sum(a > quality.upper(p) for p, a in pairs)
        lines.append(
            f"{' '.join(map(str, key))}: {len(pairs)} runs, median error {100 * median([abs(p - a) / a for p, a in pairs]):.1f} %, "
            f"worst x{1 + max(off):.2f}, bias x{math.exp(sum(ln) / len(ln)):.3f}, tau {kendall_tau(predicted, actual):.3f}, "
            f"ordered {100 * ordered_share(predicted, actual):.1f} %, over the 95 % bound {over}"
        )
    return lines


def load_errors(trace: Path, ranks: Iterable[int]) -> dict[int, ReplayErrors]:
    """Replay errors for each number of ranks that the trace has been replayed for."""
    found = {}
    for n in ranks:
        try:
            found[n] = ReplayErrors(trace / "errors.csv.gz", n)
        except ValueError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--runs", type=Path, help="default: runs.csv.gz of the trace")
    parser.add_argument("--ranks", type=int, default=4, help="the number of ranks that is calibrated")
    parser.add_argument("--psnr-at-unit", type=float, help="PSNR in dB of a deviation of 1: 20 log10(peak / rms of the outputs)")
    parser.add_argument("--transfer", type=Path, nargs="*", default=[], help="traces of other numbers of steps, to check")
    parser.add_argument("--check", action="store_true", help="print how the other runs come out")
    parser.add_argument("--out", type=Path, help="default: quality.json of the trace")
    args = parser.parse_args()
    manifest = json.loads((args.trace / "manifest.json").read_text())
    steps, runs = manifest["sampler"]["steps"], read_runs(args.runs or args.trace / "runs.csv.gz")
    counts = sorted({r.ranks for r in runs})
    errors = load_errors(args.trace, counts)
    fit = Fit(runs, errors, args.ranks, steps)
    gathers = [r for r in runs if r.strategy == "gather" and r.split == "fit" and r.purpose == "uniform" and r.steps == steps]
    quality = fit.run(gathers)
    singles = [r for r in fit.here if r.purpose == "single"]
    mixed = [r for r in fit.here if r.purpose == "mixed"]
    record = {"version": 1, "ranks": args.ranks, "steps": steps, "samples": len(singles[0].deviations), **quality.to_dict()}
    record["confidence"]["prompts"] = mixed[0].prompts
    record["sigma_ln_prompt"] = fit.prompt_spread()
    record["psnr_at_unit_db"] = args.psnr_at_unit
    record["source"] = f"ditplan_capture.calibrate_quality: {len(fit.here) + len(fit.elsewhere)} closed-loop runs of {manifest['model']['name']}, split=fit"
    write_atomically(args.out or args.trace / "quality.json", (json.dumps(record, indent=1) + "\n").encode())
    if args.out is None:
        list_file(args.trace, "quality.json")
    if args.check:
        known = {(n, steps): e for n, e in errors.items()}
        for other in args.transfer:
            other_steps = json.loads((other / "manifest.json").read_text())["sampler"]["steps"]
            known |= {(n, other_steps): e for n, e in load_errors(other, counts).items()}
        print("\n".join(check_lines(quality, runs, known)))


if __name__ == "__main__":
    main()

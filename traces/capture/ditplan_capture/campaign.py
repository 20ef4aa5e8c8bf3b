"""The closed-loop runs that calibrate and test the quality model of `dit-digits`; continues where it stopped.

    python -m ditplan_capture.campaign plan --assignments assignments.json      # later: --draws second
    python -m ditplan_capture.campaign run --model model.safetensors --assignments assignments.json --log DIR --worker 0/2
    python -m ditplan_capture.campaign collect --assignments assignments.json --log DIR --out runs.csv.gz

`plan` draws the random assignments once, before anything is run; they and their split are committed.
Prompts A calibrate; B are unseen (split test, transfer); C give the confidence factor (split fit). The second draws,
with prompts D, were made and run after the form of the quality model was settled with B's runs in sight.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from .assignment import PHASES, Assignment
from .closed_loop import Prompts, Run, deviations, geometric_mean, run, sample
from .residual import NonFiniteActivation, Rules
from .shard import write_atomically
from .tables import write_runs

LAYERS = 8
#: Prompts of a run are computed in batches of so many.
BATCH = 16
PROMPTS = {name: Prompts.make(name, count * BATCH, 1000 * (i + 1)) for i, (name, count) in enumerate([("A", 6), ("B", 3), ("C", 3), ("D", 2)])}
FAMILIES = ("1bit", "2bit", "int4", "lowrank-int4(4)", "stale")
#: One-layer runs of these too: a family's sensitivity fits its other members less well than their own.
KIN = ("sparse(1:8)", "2bit-fitted", "int8", "fp8")
UNIFORMS = ("1bit", "2bit", "2bit-fitted", "int8", "int4", "fp8", "lowrank-int4(4)", "lowrank-int4(8)", "sparse(1:8)", "stale")
MIXED = ("raw", "1bit", "2bit", "2bit-fitted", "int4", "int8", "fp8", "lowrank-int4(4)", "sparse(1:8)")
#: (purpose, split, prompts, ranks, steps, count, whether phases differ, how many have K and V apart)
DRAWS = (
    ("mixed", "test", "B", 4, 28, 48, False, 12),
    ("mixed", "fit", "C", 4, 28, 16, False, 4),
    ("mixed", "transfer", "B", 4, 8, 20, False, 5),
    ("mixed", "transfer", "B", 2, 28, 12, False, 3),
    ("mixed", "transfer", "B", 8, 28, 12, False, 3),
    ("phase", "test", "B", 4, 28, 16, True, 0),
)
SECOND_DRAWS = (
    ("mixed", "transfer", "D", 4, 8, 24, False, 6),
    ("mixed", "test", "D", 4, 28, 16, False, 4),
    ("mixed", "transfer", "D", 8, 28, 8, False, 2),
)


@dataclass(frozen=True)
class Spec:
    """One run: what for, on which prompts, how, and with which assignment."""

    id: str
    split: str
    purpose: str
    prompts: str
    assignment: Assignment
    how: Run = field(default_factory=Run)


def draw(rng: random.Random, phases: bool, apart: bool, layers: int = LAYERS) -> Assignment:
    """2 to 4 names of the palette, one at random for each layer (and phase, and tensor); two of them at least occur."""
    while True:
        names = rng.sample(MIXED, rng.randint(2, 4))
        def entry() -> list | str:
            return [rng.choice(names) for _ in range(PHASES)] if phases else rng.choice(names)
        k = [entry() for _ in range(layers)]
        v = [entry() for _ in range(layers)] if apart else k
        if len({name for e in k + v for name in ([e] if isinstance(e, str) else e)}) > 1:
            return Assignment.of(k, v)


def plan(seed: int, layers: int = LAYERS, draws: tuple = DRAWS) -> dict:
    """The random assignments and their split for a model of `layers` layers, as written to assignments.json."""
    rng, runs = random.Random(seed), []
    for purpose, split, prompts, ranks, steps, count, phases, apart in draws:
        for i in range(count):
            name = f"{purpose}-{prompts}-{ranks}r-{steps}s-{i:02d}"
            assignment = json.loads(draw(rng, phases, i >= count - apart, layers).to_json())
            runs.append({"id": name, "split": split, "purpose": purpose, "prompts": prompts, "ranks": ranks, "steps": steps, "assignment": assignment})
    return {"seed": seed, "palette": MIXED, "runs": runs}


def fixed_specs(layers: int = LAYERS) -> list[Spec]:
    """One-layer, uniform and K- or V-only runs on the calibration prompts, uniform ones at 2 and 8 ranks, ablations."""
    specs = [Spec(f"uniform-{n}", "fit", "uniform", "A", Assignment.uniform(n, layers)) for n in UNIFORMS]
    for name in FAMILIES:
        specs += [Spec(f"single-{name}-{l}", "fit", "single", "A", Assignment.single(name, l, layers)) for l in range(layers)]
    for tensors in "kv":
        for name in ("1bit", "2bit"):
            specs += [Spec(f"{tensors}only-{name}-{l}", "fit", "kv", "A", Assignment.single(name, l, layers, tensors)) for l in range(layers)]
    for ranks in (2, 8):
        specs += [Spec(f"uniform-{n}-{ranks}r", "fit", "uniform", "A", Assignment.uniform(n, layers), Run(ranks=ranks)) for n in ("1bit", "2bit")]
    return specs


def ablations(layers: int = LAYERS) -> list[Spec]:
    """Without feedback, without a base, with order 2, coarse bases, gather instead of ring, fewer steps."""
    rules = {"nofeedback": Rules(feedback=False), "naive": Rules(order=0), "order2": Rules(order=2), "base-int8": Rules(base="int8"), "base-int4": Rules(base="int4")}
    specs = [Spec(f"ablation-{n}-{key}", "transfer", "ablation", "A", Assignment.uniform(n, layers), Run(rules=r)) for key, r in rules.items() for n in ("1bit", "2bit")]
    specs += [Spec(f"gather-{n}", "fit", "uniform", "A", Assignment.uniform(n, layers), Run(strategy="gather")) for n in ("1bit", "2bit")]
    for steps in (4, 8):
        specs += [Spec(f"uniform-{n}-{steps}s", "transfer", "uniform", "A", Assignment.uniform(n, layers), Run(steps=steps)) for n in UNIFORMS]
    return specs


def all_specs(assignments: dict) -> list[Spec]:
    """All runs in the order of their importance, for a model of as many layers as the assignments have; of the second
    draws only these."""
    layers = len(assignments["runs"][0]["assignment"]["k"])
    drawn = [
        Spec(r["id"], r["split"], r["purpose"], r["prompts"], Assignment.of(r["assignment"]["k"], r["assignment"]["v"]), Run(ranks=r["ranks"], steps=r["steps"]))
        for r in assignments["runs"]
    ]
    if all(spec.prompts == "D" for spec in drawn):
        return drawn
    kin = [Spec(f"single-{n}-{l}", "fit", "single", "A", Assignment.single(n, l, layers)) for n in KIN for l in range(layers)]
    for phase, word in enumerate(("early", "mid", "late")):
        for name in ("1bit", "2bit", "int4"):
            entry = [name if p == phase else "raw" for p in range(PHASES)]
            kin.append(Spec(f"{word}-{name}", "fit", "phase", "A", Assignment.of([entry] * layers)))
    return fixed_specs(layers) + sorted(drawn, key=lambda s: s.split == "transfer") + ablations(layers) + kin


def batches(spec: Spec) -> int:
    """Batches of prompts wanted of a run: what prompts have in common is settled by many on few uniform runs."""
    if spec.prompts != "A":
        return 3 if spec.how.ranks == 4 and spec.prompts != "D" else 2
    wide = spec.purpose == "uniform" and spec.split == "fit" and spec.how.ranks == 4 and spec.how.strategy == "ring"
    return 6 if wide else 1


def group(spec: Spec) -> tuple:
    """Runs that are compared, and must have the same prompts."""
    return (spec.prompts, batches(spec), spec.split, spec.how.steps, spec.how.ranks)


@dataclass(frozen=True)
class Bounds:
    """How much of the campaign is run: batches of a run at most and samples of a batch, runs at most, splits, seconds
    after which no run is begun."""

    batches: int = 6
    samples: int = BATCH
    most: int = 10**6
    splits: tuple[str, ...] = ("fit", "test", "transfer")
    seconds: float = float("inf")


def execute(model_path: Path, assignments: dict, log: Path, worker: int, workers: int, device: str = "cpu", bounds: Bounds = Bounds()) -> bool:
    """This worker's share of the runs that the log lacks; first one batch of prompts of all runs, then the others.
    Whether all of them are done."""
    from .train_digits import load_weights

    torch.set_num_threads(1)
    model, references, until = load_weights(model_path, device), {}, time.monotonic() + bounds.seconds
    log.mkdir(parents=True, exist_ok=True)
    own = [spec for spec in all_specs(assignments)[worker::workers] if spec.split in bounds.splits][: bounds.most]
    todo = [(spec, BATCH * i) for i in range(bounds.batches) for spec in own if i < batches(spec)]
    todo.sort(key=lambda run: 0 if run[1] == 0 else 1 if run[0].prompts == "A" else 2)
    done = read_log(log)
    for spec, first in (run for run in todo if (run[0].id, run[1]) not in done):
        if time.monotonic() > until:
            return False
        began, key = time.time(), (spec.prompts, spec.how.steps, first)
        prompts = PROMPTS[spec.prompts].part(first, bounds.samples)
        if key not in references:
            references[key] = sample(model, prompts, spec.how.steps)
        try:
            d = deviations(run(model, prompts, spec.assignment, spec.how), references[key])
        except NonFiniteActivation as error:
            print(spec.id, first, "diverged:", error, flush=True)
            d = []
        row = {"id": spec.id, "first": first, "deviations": d, "wall_s": round(time.time() - began, 2)}
        with open(log / f"worker-{worker}.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        print(spec.id, first, f"{geometric_mean(d):.5f}" if d else "", row["wall_s"], flush=True)
    return True


def read_log(log: Path) -> dict[tuple[str, int], list[float]]:
    """Deviations by run and first prompt; a line cut short by a crash is ignored."""
    done = {}
    for file in sorted(log.glob("worker-*.jsonl")):
        for line in file.read_text().splitlines():
            if line.endswith("}"):
                row = json.loads(line)
                done[row["id"], row["first"]] = row["deviations"]
    return done


def collected(specs: list[Spec], done: dict[tuple[str, int], list[float]]) -> dict[str, list[float]]:
    """Deviations of each run that did not diverge; a group's runs have the same prompts, as many as all of them have."""
    complete: dict[tuple, int] = {}
    for s in specs:
        count = next((i for i in range(batches(s)) if (s.id, BATCH * i) not in done), batches(s))
        complete[group(s)] = min(complete.get(group(s), count), max(1, count))
    firsts = {s.id: [BATCH * i for i in range(complete[group(s)])] for s in specs if (s.id, 0) in done}
    result = {run: [d for first in batch for d in done[run, first]] for run, batch in firsts.items()}
    return {run: d for run, d in result.items() if d}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["plan", "run", "collect"])
    parser.add_argument("--assignments", type=Path, nargs="+", required=True, help="collect takes several")
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--worker", default="0/1", help="index/workers")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draws", choices=["first", "second"], default="first", help="plan: which")
    parser.add_argument("--layers", type=int, default=LAYERS, help="plan: layers of the model")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    parser.add_argument("--batches", type=int, default=6, help="run: batches of prompts of a run at most")
    parser.add_argument("--samples", type=int, default=BATCH, help="run: samples of a batch, fewer to try the program out")
    parser.add_argument("--most", type=int, default=10**6, help="run: only the first so many runs")
    parser.add_argument("--splits", nargs="+", choices=["fit", "test", "transfer"], default=["fit", "test", "transfer"])
    parser.add_argument("--until-s", type=float, default=float("inf"), help="run: seconds after which no run is begun")
    args = parser.parse_args()
    if args.command == "plan":
        lines = plan(args.seed, args.layers, SECOND_DRAWS if args.draws == "second" else DRAWS)
        rows = ",\n".join(json.dumps(r, separators=(",", ":")) for r in lines["runs"])
        text = f'{{"seed":{args.seed},"palette":{json.dumps(lines["palette"])},"runs":[\n{rows}\n]}}\n'
        write_atomically(args.assignments[0], text.encode())
        return
    plans = [json.loads(file.read_text()) for file in args.assignments]
    if args.command == "run":
        worker, workers = (int(part) for part in args.worker.split("/"))
        bounds = Bounds(args.batches, args.samples, args.most, tuple(args.splits), args.until_s)
        if not execute(args.model, plans[0], args.log, worker, workers, args.device, bounds):
            print("partial: --until-s is used up; the same command continues")
    else:
        specs = [spec for one in plans for spec in all_specs(one)]
        print(write_runs(args.out, specs, collected(specs, read_log(args.log))), "runs")


if __name__ == "__main__":
    main()

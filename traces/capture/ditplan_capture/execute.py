"""Executes an assignment that the planner emitted on `dit-digits`, and says how far the pictures move.

    ditplan plan --model dit-digits --budget "psnr>=50" --emit assignment > plan.json
    python -m ditplan_capture.execute --model model.safetensors --assignment plan.json --prompts B

The file is what the planner emits (see `hook`), or {"k": [...], "v": [...]} (see `assignment`).
"""

from __future__ import annotations

import argparse
import bisect
import json
from pathlib import Path

import torch

from .assignment import PHASES, Assignment, phase_of, rules_of
from .campaign import BATCH, PROMPTS
from .closed_loop import Run, deviations, geometric_mean, run, sample
from .train_digits import load_weights


def read_assignment(path: Path, steps: int) -> tuple[Assignment, str]:
    """The assignment of a file, and its JSON. A planner's phases must be thirds of the steps."""
    data = json.loads(path.read_text())
    if "layers" in data:
        starts = [next(step for step in range(steps) if phase_of(step, steps) == phase) for phase in range(PHASES)]
        if not set(data["phases"]) <= set(starts):
            raise ValueError(f"{path}: phases start at {data['phases']}, thirds of {steps} steps at {starts}")
        place = [bisect.bisect_right(data["phases"], start) - 1 for start in starts]
        ordered = sorted(data["layers"], key=lambda layer: layer["layer"])
        data = {"k": [[layer["compressors"][at] for at in place] for layer in ordered]}
    text = json.dumps(data)
    return Assignment.from_json(text), text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--assignment", type=Path, required=True)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--strategy", choices=["ring", "gather"], default="ring")
    parser.add_argument("--prompts", choices=sorted(PROMPTS), default="B")
    parser.add_argument("--samples", type=int, default=BATCH)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, prompts = load_weights(args.model), PROMPTS[args.prompts].part(0, args.samples)
    assignment, text = read_assignment(args.assignment, args.steps)
    how = Run(args.ranks, args.steps, args.strategy, rules_of(text))
    d = deviations(run(model, prompts, assignment, how), sample(model, prompts, args.steps))
    print(json.dumps({"deviation": geometric_mean(d), "deviations": d, "prompts": args.prompts, "ranks": args.ranks, "steps": args.steps}))


if __name__ == "__main__":
    main()

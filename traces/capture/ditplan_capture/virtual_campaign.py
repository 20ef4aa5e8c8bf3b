"""Virtual ranks over many plans and shapes, in order of importance; continues where it stopped.

    python -m ditplan_capture.virtual_campaign --out DIR --device cuda --weights model.safetensors --budget-s 300

Each run is a directory of `timeline.json` and `plan.json` (see `virtual`); a run that cannot be done is named in
`failures.json` with its reason, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import torch

from . import virtual
from .calibrate import Progress, Stop, open_device
from .shard import write_atomically

#: Plans of every shape, the most telling first; every strategy at 2, 4 and 8 ranks, and every compressor.
PLANS = (
    "none", "ring4", "allgather-kv4", "ulysses4", "pipefusion4", "distrifusion4", "ring4/1bit", "ring2", "ring8",
    "ulysses2", "allgather-kv2", "pipefusion2", "distrifusion2", "ring4/2bit", "ring4/int8", "ring8/1bit", "ring2/1bit",
    "allgather-kv8", "ulysses8", "distrifusion8", "allgather-kv4/1bit", "pipefusion4(m8)", "ring4/int4", "ring4/fp8",
    "ring4/2bit-fitted", "ring4/sparse(1:8)", "allgather-kv4/2bit", "ring4/lowrank-int4(16)",
)
#: Plans of the trained model, whose messages are small: what the numerics are for.
DIGITS_PLANS = ("none", "ring4", "ring4/1bit", "ring4/2bit", "ring4/int4", "pipefusion4", "distrifusion4", "ulysses4")
TOY_PLANS = ("none", "ring2", "ring4/1bit", "allgather-kv2", "ulysses2", "distrifusion2", "pipefusion2", "ring8/int8")


@dataclass(frozen=True)
class Case:
    """A model at a size, and the plans it is run with; `blocks` is enough for every stage of their pipelines."""

    model: str
    blocks: int
    steps: int
    plans: tuple[str, ...]
    tokens: int | None = None


#: FLUX at 1024 pixels, Wan 1.3B at 480p, SD3 at 1024 pixels, FLUX at 2048 pixels, the trained model.
CASES = (
    Case("flux", 6, 4, PLANS), Case("wan", 4, 4, PLANS), Case("sd3", 6, 4, PLANS),
    Case("FLUX.1-dev-2048", 4, 4, PLANS), Case("dit-digits", 0, 8, DIGITS_PLANS),
)
TOY_CASES = (
    Case("toy", 3, 3, TOY_PLANS), Case("toy-cross", 2, 3, TOY_PLANS), Case("dit-digits", 0, 3, ("none", "ring4", "ring4/1bit", "pipefusion2")),
)


def runs(cases: Sequence[Case]) -> list[tuple[Case, str]]:
    """All runs: the first plans of every shape before the later ones of any."""
    longest = max(len(case.plans) for case in cases)
    return [(case, case.plans[place]) for place in range(longest) for case in cases if place < len(case.plans)]


def directory(case: Case, plan: str) -> str:
    """A run's name: letters, digits, dots, dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{case.model}-{plan}").strip("-")


def possible(case: Case, plan: str) -> bool:
    """Whether the shape allows the plan: heads over Ulysses ranks, blocks over stages."""
    from .virtual_model import NAMED
    from .virtual_plan import read_plan

    read = read_plan(plan)
    if case.model == "dit-digits":
        return True
    if read.strategy == "ulysses":
        return NAMED[case.model].heads % read.ranks == 0
    return read.strategy != "pipefusion" or read.ranks <= case.blocks


def arguments(case: Case, plan: str, args: argparse.Namespace) -> argparse.Namespace:
    """What the command line of `virtual` would be."""
    given = ["--model", case.model, "--plan", plan, "--steps", str(case.steps), "--repeats", str(args.repeats)]
    given += ["--blocks", str(max(1, case.blocks)), "--device", args.device, "--out", str(args.out / directory(case, plan))]
    given += ["--codec", args.codec, "--attention", args.attention] + ["--graph"] * (args.device == "cuda" and not args.eager)
    given += ["--weights", str(args.weights)] if case.model == "dit-digits" else []
    return virtual.parser().parse_args(given)


def attempt(case: Case, plan: str, args: argparse.Namespace) -> dict:
    """One run; where it cannot be captured in a CUDA graph, launched kernel by kernel (`mode` says which)."""
    given = arguments(case, plan, args)
    try:
        return virtual.run(given)
    except RuntimeError as error:
        if not given.graph or isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        print(f"{directory(case, plan)}: not captured: {str(error).strip().splitlines()[0][:160]}", file=sys.stderr)
        torch.cuda.synchronize()
        given.graph = False
        return virtual.run(given)


def execute(args: argparse.Namespace) -> str:
    """Runs what is missing; "complete", "budget" or "stopped"."""
    cases = TOY_CASES if args.toy else CASES
    todo = [(c, p) for c, p in runs(cases) if possible(c, p) and (c.model != "dit-digits" or args.weights)]
    missing = [(c, p) for c, p in todo if not (args.out / directory(c, p) / "plan.json").exists()]
    progress, stop, until = Progress(len(todo), len(todo) - len(missing)), Stop(), time.monotonic() + args.budget_s
    failures = args.out / "failures.json"
    failed: dict[str, str] = json.loads(failures.read_text()) if failures.exists() else {}
    for case, plan in missing:
        if stop.asked or time.monotonic() > until:
            return "stopped" if stop.asked else "budget"
        name = directory(case, plan)
        try:
            content = attempt(case, plan, args)
            failed.pop(name, None)
            if not content["numerics"]["ok"]:
                failed[name] = f"error {content['numerics']['relative_error']:.2e} where {content['numerics']['expected']} was expected"
        except (RuntimeError, ValueError) as error:
            failed[name] = str(error).strip().splitlines()[0][:200]
            torch.cuda.empty_cache() if args.device == "cuda" else None
        write_atomically(failures, (json.dumps(failed, indent=1) + "\n").encode())
        progress.step(name)
    progress.end()
    return "complete"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--weights", type=Path, help="of dit-digits; without them that model is left out")
    parser.add_argument("--toy", action="store_true", help="tiny shapes, to try the program out")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="seconds after which no run is begun")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--codec", choices=["auto", "cuda", "torch"], default="auto")
    parser.add_argument("--attention", default="flash")
    parser.add_argument("--eager", action="store_true", help="launch kernel by kernel; on CUDA runs are captured in a graph otherwise")
    args = parser.parse_args(given)
    try:
        open_device(args.device)
        args.out.mkdir(parents=True, exist_ok=True)
        why = execute(args)
    except (ValueError, OSError) as error:
        print(f"virtual_campaign: {error}", file=sys.stderr)
        sys.exit(2)
    failed = json.loads((args.out / "failures.json").read_text()) if (args.out / "failures.json").exists() else {}
    count = len(list(args.out.glob("*/plan.json")))
    print(f"{count} runs, {len(failed)} failed; " + ("complete" if why == "complete" else "partial: the same command continues"))
    sys.exit(130 if why == "stopped" else 1 if failed else 0)


if __name__ == "__main__":
    main()

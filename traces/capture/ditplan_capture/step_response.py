"""How far the output moves for an error that enters at a step, as a function of the noise level behind that step.

    python -m ditplan_capture.step_response T28 --model model.safetensors     # measures, 30 runs of 16 prompts
    python -m ditplan_capture.step_response T8 --of T28                       # the same sampler in fewer steps

White noise of relative size eps goes into K and V of all layers at one step t only; the final picture then deviates by D_t:

    response(sigma_(t+1)) = (D_t / (eps |sigma_t - sigma_(t+1)|))^2

A step's error is carried by the steps *behind* it, so its noise level is that of the step's end; as a function of it the
response holds for any number of steps. Each point is the mean of itself and its neighbours (one draw of noise a step);
the first step, which goes raw, is left out; the mean over the others is 1. It goes into the manifest's `sampler`, and
replay weighs each step's error with its root: errors replayed before that are taken out of the trace.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from .campaign import BATCH, PROMPTS
from .closed_loop import Prompts, deviations, geometric_mean, sample
from .dit import DigitsDiT
from .replay import Trace
from .sensitivity import Injection
from .shard import write_atomically
from .train_digits import load_weights

#: Replay errors, which depend on the response.
ERRORS = "errors.csv.gz"


@dataclass
class Everywhere:
    """An `attend` that adds noise of relative size `relative` to K and V of all layers at one step."""

    layers: int
    relative: float
    at: int
    parts: list[Injection] = field(init=False)

    def __post_init__(self) -> None:
        self.parts = [Injection(layer, self.relative, steps=frozenset([self.at]), seed=layer) for layer in range(self.layers)]

    @property
    def step(self) -> int:
        return self.parts[0].step

    @step.setter
    def step(self, value: int) -> None:
        for part in self.parts:
            part.step = value

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.parts[layer](layer, q, k, v)


def measured(model: DigitsDiT, prompts: Prompts, sigmas: list[float], relative: float) -> list[float]:
    """(D / (eps dsigma))^2 of an error at each step, geometric mean over prompts."""
    steps = len(sigmas) - 1
    reference, result = sample(model, prompts, steps), []
    for step in range(steps):
        moved = geometric_mean(deviations(sample(model, prompts, steps, Everywhere(model.config.layers, relative, step)), reference))
        result.append((moved / (relative * abs(sigmas[step] - sigmas[step + 1]))) ** 2)
        print(f"step {step + 1} of {steps}: {result[-1]:.3g}", flush=True)
    return result


def response(sigmas: list[float], squares: list[float], warmup: int = 1) -> dict[str, list[float]]:
    """Levels and weights: neighbours averaged, steps that go raw left out, mean 1."""
    steps = range(warmup, len(squares))
    smooth = [squares[max(warmup, t - 1) : t + 2] for t in steps]
    smooth = [sum(near) / len(near) for near in smooth]
    mean = sum(smooth) / len(smooth)
    return {"levels": [sigmas[t + 1] for t in steps], "weights": [float(f"{w / mean:.5g}") for w in smooth]}


def put(trace: Path, found: dict) -> bool:
    """Puts the response into a trace's manifest; whether replayed errors had to go."""
    manifest = json.loads((trace / "manifest.json").read_text())
    manifest["sampler"]["response"] = found
    stale = any(file["name"] == ERRORS for file in manifest["files"])
    manifest["files"] = [file for file in manifest["files"] if file["name"] != ERRORS]
    write_atomically(trace / "manifest.json", (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
    (trace / ERRORS).unlink(missing_ok=True)
    return stale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--model", type=Path, help="measure on this model")
    parser.add_argument("--of", type=Path, help="take what was measured for this trace")
    parser.add_argument("--prompts", choices=sorted(PROMPTS), default="A")
    parser.add_argument("--samples", type=int, default=BATCH)
    parser.add_argument("--relative", type=float, default=0.05, help="size of the noise over that of K and V")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    args = parser.parse_args()
    if (args.model is None) == (args.of is None):
        parser.error("give --model to measure, or --of a trace that was measured")
    if args.of:
        found = Trace.open(args.of).manifest["sampler"].get("response")
        if found is None:
            parser.error(f"{args.of}: its manifest has no sampler.response; measure it with --model")
    else:
        sigmas = Trace.open(args.trace).manifest["sampler"]["sigmas"]
        model, prompts = load_weights(args.model, args.device), PROMPTS[args.prompts].part(0, args.samples)
        found = response(sigmas, measured(model, prompts, sigmas, args.relative))
        found["source"] = (
            f"ditplan_capture.step_response: noise of {args.relative:g} in K and V of all layers at one of {len(sigmas) - 1} steps, "
            f"prompts {args.prompts} ({args.samples}), {args.device}"
        )
    if put(args.trace, found):
        print(f"{args.trace}: {ERRORS} was replayed without this response and is gone; run `ditplan replay {args.trace} --save`")


if __name__ == "__main__":
    main()

"""Records the uncompressed run of `dit-digits` as a trace: K and V of all layers and steps in float16.

    python -m ditplan_capture.record_digits --model traces/data/dit-digits/model.safetensors --out digits28 --steps 28

Statistics are of all layers and samples, also where only some of them are stored.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import manifest as about
from .closed_loop import Prompts, sample
from .campaign import BATCH, PROMPTS
from .dit import DigitsDiT, sigmas
from .ranks import half_attention
from .statistics import Statistics
from .train_digits import load_weights
from .writer import TraceWriter


@dataclass(frozen=True)
class Stored:
    """Which layers and samples of the run are stored; None is all."""

    layers: tuple[int, ...] | None = None
    samples: tuple[int, ...] | None = None


def description(model: DigitsDiT, prompts: Prompts, steps: int, stored: Stored) -> dict:
    """What the manifest says of the model, the sampler and the samples."""
    config = model.config
    layers = list(range(config.layers))
    recorded = {"layers": list(stored.layers or layers), "steps": list(range(steps)), "heads": None, "tokens": None}
    if stored.samples is not None:
        recorded["samples"] = list(stored.samples)
    samples = zip(prompts.labels, prompts.seeds)
    return {
        "model": {
            "name": "dit-digits", "architecture": "DigitsDiT", "layers": config.layers, "heads": config.heads,
            "head_dim": config.head_dim, "image_tokens": config.image_tokens, "text_tokens": config.text_tokens,
            "token_order": "text-first", "layer_names": [f"blocks.{i}" for i in layers], "config": config.to_dict(),
        },
        "sampler": {"name": "euler (rectified flow)", "steps": steps, "sigmas": sigmas(steps).tolist()},
        "samples": [
            {"prompt_sha256": prompts.digest(i), "label": str(label), "seed": seed, "guidance": None}
            for i, (label, seed) in enumerate(samples)
        ],
        "recorded": recorded,
        "dtype": "float16",
        "device": about.device(torch.device("cpu")),
        "libraries": about.libraries(),
        "environment": about.environment(),
        "created": about.today(),
        "license": "Apache-2.0 (model and activations); training pictures: UCI optical digits, CC BY 4.0",
    }


class Tape:
    """An `attend` that hands keys and values to a writer; the writer's step ends when the next one begins."""

    def __init__(self, writer: TraceWriter, stored: Stored) -> None:
        self.writer, self.stored, self.statistics, self._step = writer, stored, Statistics(), 0

    @property
    def step(self) -> int:
        return self._step

    @step.setter
    def step(self, step: int) -> None:
        if step != self._step:
            self.end()
        self._step = step

    def end(self) -> None:
        """Finishes the shard of the step under way."""
        self.writer.end_step(self._step, self.statistics.take(self._step))

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        for name, x in (("k", k.half()), ("v", v.half())):
            self.statistics.add(layer, name, 0, x)
            if self.stored.layers is None or layer in self.stored.layers:
                kept = x if self.stored.samples is None else x[list(self.stored.samples)]
                self.writer.put(self._step, layer, name, kept)
        return half_attention(layer, q, k, v)


def record(model: DigitsDiT, prompts: Prompts, steps: int, out: Path, stored: Stored = Stored()) -> Tensor:
    """Writes the trace directory `out`; returns the final pictures."""
    began = time.perf_counter()
    sample(model, prompts, steps)
    plain = time.perf_counter() - began
    about_run = description(model, prompts, steps, stored)
    tensors = 2 * len(about_run["recorded"]["layers"])
    writer = TraceWriter(out, about_run, range(steps), tensors_per_step=tensors, overwrite=True)
    tape, began = Tape(writer, stored), time.perf_counter()
    pictures = sample(model, prompts, steps, tape)
    tape.end()
    wall = time.perf_counter() - began
    writer.close(capture={"wall_s": wall, "plain_wall_s": plain, "overhead_pct": 100 * (wall / plain - 1)})
    return pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--prompts", choices=sorted(PROMPTS), default="A")
    parser.add_argument("--samples", type=int, default=BATCH, help="the first so many prompts of the set")
    parser.add_argument("--store-layers", type=int, nargs="+", help="default: all")
    parser.add_argument("--store-samples", type=int, nargs="+", help="default: all")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    stored = Stored(*(tuple(x) if x is not None else None for x in (args.store_layers, args.store_samples)))
    record(load_weights(args.model, args.device), PROMPTS[args.prompts].part(0, args.samples), args.steps, args.out, stored)


if __name__ == "__main__":
    main()

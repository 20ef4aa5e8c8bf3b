"""Records the uncompressed run of `dit-digits` as a trace: K and V of all layers and steps in float16.

    python -m ditplan_capture.record_digits --model traces/data/dit-digits/model.safetensors --out digits28 --steps 28
"""

from __future__ import annotations

import argparse
import time
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


def description(model: DigitsDiT, prompts: Prompts, steps: int) -> dict:
    """What the manifest says of the model, the sampler and the samples."""
    config = model.config
    layers = list(range(config.layers))
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
        "recorded": {"layers": layers, "steps": list(range(steps)), "heads": None, "tokens": None},
        "dtype": "float16",
        "device": about.device(torch.device("cpu")),
        "libraries": about.libraries(),
        "environment": about.environment(),
        "created": about.today(),
        "license": "Apache-2.0 (model and activations); training pictures: UCI optical digits, CC BY 4.0",
    }


class Tape:
    """An `attend` that hands keys and values to a writer; the writer's step ends when the next one begins."""

    def __init__(self, writer: TraceWriter) -> None:
        self.writer, self.statistics, self._step = writer, Statistics(), 0

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
            self.writer.put(self._step, layer, name, x)
        return half_attention(layer, q, k, v)


def record(model: DigitsDiT, prompts: Prompts, steps: int, out: Path) -> Tensor:
    """Writes the trace directory `out`; returns the final pictures."""
    began = time.perf_counter()
    sample(model, prompts, steps)
    plain = time.perf_counter() - began
    layers = model.config.layers
    writer = TraceWriter(out, description(model, prompts, steps), range(steps), tensors_per_step=2 * layers, overwrite=True)
    tape, began = Tape(writer), time.perf_counter()
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
    args = parser.parse_args()
    torch.set_num_threads(1)
    record(load_weights(args.model), PROMPTS[args.prompts].part(0, args.samples), args.steps, args.out)


if __name__ == "__main__":
    main()

"""Replays compressors over a recorded trace (open loop): coherent error energies, contraction, message sizes.

    python -m ditplan_capture.replay TRACE --ranks 4 --out errors.csv.gz

A slow second opinion of `ditplan replay`, and what `calibrate_quality` needs where that is not built:
P_p = sum over the steps t of phase p of dsigma_t e_t (times the root of the response at t, where the trace has one:
`step_response`), and G = <P_p^c, P_q^c'> / mean_t ||x_t||^2, averaged over
samples. `stale` is the pseudo-compressor whose error is x_(t-1) - x_t.
"""

from __future__ import annotations

import argparse
import bisect
import csv
import gzip
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterator, Optional, Sequence

import torch
from safetensors import safe_open
from torch import Tensor

from .assignment import PHASES, phase_of
from .codecs import codec
from .ranks import Shards
from .residual import Channel, Rules
from .shard import write_atomically

PALETTE = ("1bit", "2bit", "2bit-fitted", "int8", "int4", "fp8", "lowrank-int4(4)", "lowrank-int4(8)", "sparse(1:8)", "stale")
PHASE_NAMES = ("early", "mid", "late")
COLUMNS = ("kind", "ranks", "layer", "tensor", "phase", "compressor", "phase2", "compressor2", "value")


@dataclass
class Replayed:
    """One layer's K or V under one compressor: vectors summed over each phase, and per-step energies."""

    phases: list[Tensor] = field(default_factory=list)
    incoherent: Tensor | float = 0.0
    lost: float = 0.0
    residual: float = 0.0


def replay(xs: list[Tensor], dsigma: Sequence[float], name: str, rules: Rules = Rules()) -> Replayed:
    """Errors of compressor `name` over steps xs [samples, ranks, rows, channels] with step sizes `dsigma`."""
    steps = len(xs)
    out = Replayed([torch.zeros_like(xs[0]) for _ in range(PHASES)])
    channel, chosen = Channel(rules), None if name == "stale" else codec(name)
    for step, x in enumerate(xs):
        warm = step < rules.warmup
        received = xs[step - 1] if chosen is None and not warm else channel.send(x, None if warm or chosen is None else chosen)
        if warm:
            base = x
            continue
        error = received - x
        residual = x - (xs[step - 1] if chosen is None else base)
        base = received
        out.lost += float(error.double().square().sum())
        out.residual += float(residual.double().square().sum())
        out.incoherent = out.incoherent + dsigma[step] ** 2 * energy(error)
        out.phases[phase_of(step, steps)] += dsigma[step] * error
    return out


def energy(x: Tensor) -> Tensor:
    """Squared norm of each sample, float64."""
    return x.double().square().flatten(1).sum(1)


def interpolated(response: dict, level: float) -> float:
    """The response at a noise level: linear between its points, constant beyond them."""
    points = sorted(zip(response["levels"], response["weights"]))
    at = bisect.bisect_left([x for x, _ in points], level)
    if at == 0 or at == len(points):
        return points[min(at, len(points) - 1)][1]
    (x, a), (y, b) = points[at - 1], points[at]
    return a + (b - a) * (level - x) / (y - x)


@dataclass(frozen=True)
class Trace:
    """A recorded trace: its manifest and where each step's tensors are."""

    path: Path
    manifest: dict

    @staticmethod
    def open(path: Path) -> "Trace":
        return Trace(path, json.loads((path / "manifest.json").read_text()))

    @property
    def dsigma(self) -> list[float]:
        """Step sizes |sigma_t - sigma_(t+1)|, times the root of the response to an error that has entered at sigma_(t+1)."""
        levels = self.manifest["sampler"]["sigmas"]
        response = self.manifest["sampler"].get("response")
        weights = [math.sqrt(interpolated(response, b)) if response else 1.0 for b in levels[1:]]
        return [abs(a - b) * w for a, b, w in zip(levels, levels[1:], weights)]

    def slot(self, layer: int, tensor: str, samples: Optional[int], device: str = "cpu") -> list[Tensor]:
        """All steps of one layer's K or V, [samples, tokens, heads, head_dim], float32."""
        files = sorted((f for f in self.manifest["files"] if "step" in f), key=lambda f: f["step"])
        result = []
        for file in files:
            with safe_open(str(self.path / file["name"]), framework="pt") as tensors:
                result.append(tensors.get_tensor(f"layers.{layer}.{tensor}")[:samples].to(device).float())
        return result


def slot_rows(trace: Trace, ranks: int, layer: int, tensor: str, palette: Sequence[str], samples: Optional[int], device: str = "cpu") -> Iterator[tuple]:
    """The rows of errors.csv.gz of one layer's K or V."""
    model = trace.manifest["model"]
    shards = Shards(ranks, model["text_tokens"], model["image_tokens"])
    xs = [shards.split(x).flatten(3) for x in trace.slot(layer, tensor, samples, device)]
    mean = torch.stack([energy(x) for x in xs]).mean(0)
    runs = {name: replay(xs, trace.dsigma, name) for name in palette}
    labels = [(p, name) for name in palette for p in range(PHASES)]
    vectors = torch.stack([runs[name].phases[p].flatten(1) for p, name in labels], dim=1).double()
    gram = (vectors @ vectors.mT / mean[:, None, None]).mean(0)
    for i, (p, name) in enumerate(labels):
        for j in range(i, len(labels)):
            q, other = labels[j]
            yield "gram", ranks, layer, tensor, PHASE_NAMES[p], name, PHASE_NAMES[q], other, float(gram[i, j])
    rows, channels = xs[0].shape[2:]
    for n, name in enumerate(palette):
        block, r = gram[3 * n : 3 * n + 3, 3 * n : 3 * n + 3], runs[name]
        size = rows * channels * 2 if name == "stale" else codec(name).message_bytes(rows, channels)
        values = {
            "coherent": float(block.sum()), "incoherent": float((r.incoherent / mean).mean()),
            "contraction": 1 - r.lost / r.residual if r.residual else 1.0, "bytes": size,
        }
        for kind, value in values.items():
            yield kind, ranks, layer, tensor, "", name, "", "", value


def write_errors(trace: Trace, ranks: Sequence[int], palette: Sequence[str], samples: Optional[int], out: Path, device: str = "cpu") -> None:
    """errors.csv.gz of all layers, K and V, for each number of ranks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for n in ranks:
        for layer in range(trace.manifest["model"]["layers"]):
            for tensor in "kv":
                for row in slot_rows(trace, n, layer, tensor, palette, samples, device):
                    writer.writerow([f"{x:.7g}" if isinstance(x, float) else x for x in row])
            print(f"{n} ranks, layer {layer}", flush=True)
    write_atomically(out, gzip.compress(text.getvalue().encode(), 9, mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=[4])
    parser.add_argument("--compressors", nargs="+", default=list(PALETTE))
    parser.add_argument("--samples", type=int, help="only the first so many")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    write_errors(Trace.open(args.trace), args.ranks, args.compressors, args.samples, args.out, args.device)


if __name__ == "__main__":
    main()

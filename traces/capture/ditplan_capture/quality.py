"""The quality model: from replay errors of each layer's K and V to the deviation of the final picture.

    D^2 = gain(N) sum over layers l and tensors k of w_k sum_{p,q} a_p a_q G_lk[(p, c_p), (q, c_q)]
    a_p = sqrt(s(l, c_p) phi_p)

G are the coherent replay errors (`replay`); phi_p weighs a phase. A
sensitivity belongs to a compressor where it had one-layer runs of its own, else to its family.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from .assignment import PHASES, Assignment
from .codecs import codec
from .replay import PHASE_NAMES

#: The compressor whose one-layer runs stand for its family.
REPRESENTATIVE = {"1bit": "1bit", "2bit": "2bit", "int": "int4", "low-rank": "lowrank-int4(4)", "stale": "stale"}
TENSORS = ("k", "v")


def family(name: str) -> str:
    """1bit, 2bit, int, low-rank or stale."""
    return "stale" if name == "stale" else codec(name).family


class ReplayErrors:
    """G of errors.csv.gz for one number of ranks."""

    def __init__(self, path: Path, ranks: int) -> None:
        self._gram: dict[tuple, float] = {}
        with gzip.open(path, "rt", newline="") as file:
            for r in csv.DictReader(file):
                if r["kind"] == "gram" and int(r["ranks"]) == ranks:
                    one, two = (PHASE_NAMES.index(r["phase"]), r["compressor"]), (PHASE_NAMES.index(r["phase2"]), r["compressor2"])
                    slot = (int(r["layer"]), r["tensor"])
                    self._gram[slot, one, two] = self._gram[slot, two, one] = float(r["value"])
        if not self._gram:
            raise ValueError(f"{path}: no errors for {ranks} ranks; replay the trace for that number first")

    def gram(self, layer: int, tensor: str, one: tuple[int, str], two: tuple[int, str]) -> float:
        """<P_p^c, P_q^c'> over the mean energy of x."""
        return self._gram[(layer, tensor), one, two]

    def coherent(self, layer: int, tensor: str, name: str) -> float:
        """E of one compressor in all phases."""
        return sum(self.gram(layer, tensor, (p, name), (q, name)) for p in range(PHASES) for q in range(PHASES))


@dataclass
class Quality:
    """What calibration finds, and quality.json holds; sensitivities are by layer and family (or compressor)."""

    sensitivity: dict[tuple[int, str], float]
    weight: dict[str, float]
    phase: tuple[float, ...] = (1.0,) * PHASES
    gain: dict[int, float] = field(default_factory=dict)
    lossy_own_shard: float = 1.0
    mean_ln: float = 0.0
    sd_ln: float = 0.0
    confidence_runs: int = 0

    def amplitude(self, layer: int, name: str, phase: int) -> float:
        """a = sqrt(s phi); 0 for what is sent as it is."""
        if name == "raw":
            return 0.0
        s = self.sensitivity.get((layer, name))
        if s is None:
            s = self.sensitivity[layer, family(name)]
        return math.sqrt(max(0.0, s) * self.phase[phase])

    def predict(self, assignment: Assignment, errors: ReplayErrors, ranks: int) -> float:
        """D of an assignment, geometric mean over prompts."""
        total = 0.0
        for layer in range(assignment.layers()):
            for tensor in TENSORS:
                parts = [(p, assignment.name(tensor, layer, p)) for p in range(PHASES)]
                parts = [(p, n, self.amplitude(layer, n, p)) for p, n in parts if n != "raw"]
                for p, n, a in parts:
                    for q, m, b in parts:
                        total += self.weight[tensor] * a * b * errors.gram(layer, tensor, (p, n), (q, m))
        return math.sqrt(max(0.0, total) * self.gain.get(ranks, 1.0))

    def upper(self, predicted: float, confidence: float = 0.95) -> float:
        """The bound that a new run keeps with this confidence (Student quantile over the held-out mixed runs)."""
        n = self.confidence_runs
        t = student_quantile(confidence, n - 1)
        return predicted * math.exp(self.mean_ln + t * self.sd_ln * math.sqrt(1 + 1 / n))

    def to_dict(self) -> dict:
        """As quality.json holds it, without what says where it comes from."""
        rows = [{"layer": l, "family": f, "s": s} for (l, f), s in sorted(self.sensitivity.items())]
        return {
            "sensitivities": rows, "tensor_weight": self.weight,
            "phase_weight": dict(zip(PHASE_NAMES, self.phase)), "lossy_own_shard": self.lossy_own_shard,
            "gain": {str(n): g for n, g in sorted(self.gain.items())},
            "confidence": {"runs": self.confidence_runs, "mean_ln": self.mean_ln, "sd_ln": self.sd_ln},
        }

    @staticmethod
    def load(path: Path) -> "Quality":
        data = json.loads(path.read_text())
        c = data["confidence"]
        return Quality(
            {(r["layer"], r["family"]): r["s"] for r in data["sensitivities"]}, data["tensor_weight"],
            tuple(data["phase_weight"][name] for name in PHASE_NAMES), {int(n): g for n, g in data["gain"].items()},
            data["lossy_own_shard"], c["mean_ln"], c["sd_ln"], c["runs"],
        )


def student_quantile(p: float, degrees: int) -> float:
    """One-sided quantile of Student's t by bisection of its numerically integrated density."""
    norm = math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)) / math.sqrt(degrees * math.pi)

    def below(t: float) -> float:
        n = 400
        h = t / n
        f = [norm * (1 + (i * h) ** 2 / degrees) ** (-(degrees + 1) / 2) for i in range(n + 1)]
        return 0.5 + h / 3 * (f[0] + f[n] + 4 * sum(f[1:n:2]) + 2 * sum(f[2 : n - 1 : 2]))

    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < p else (low, middle)
    return low


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """(concordant - discordant) / pairs."""
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    signs = [math.copysign(1, (a[i] - a[j]) * (b[i] - b[j])) if (a[i] - a[j]) * (b[i] - b[j]) else 0 for i, j in pairs]
    return sum(signs) / len(pairs)


def ordered_share(predicted: Sequence[float], actual: Sequence[float], ratio: float = 1.3) -> float:
    """Share of the pairs whose actual values differ by more than `ratio` that the prediction orders rightly."""
    pairs = [(i, j) for i in range(len(actual)) for j in range(len(actual)) if actual[i] > ratio * actual[j]]
    return sum(predicted[i] > predicted[j] for i, j in pairs) / len(pairs) if pairs else 1.0


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

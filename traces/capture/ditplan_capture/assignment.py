"""Which compressor each layer's K and V use in each phase of the steps, as JSON.

    {"k": ["2bit", ["int4", "1bit", "1bit"], ...], "v": [...], "rules": {"feedback": false}}

One entry a layer: a name for all steps, or three names for the early, middle and late third of the steps.
Names are those of `codecs.codec`, `raw` (sent as it is) and `stale` (the previous step's tensor). `v` may be left
out where it is as `k`, `rules` (see `residual.Rules`) where they are the usual ones.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from .codecs import codec
from .residual import Rules

PHASES = 3
Entry = tuple[str, str, str]


def phase_of(step: int, steps: int) -> int:
    """0, 1 or 2: the third of the steps that a step is in."""
    return step * PHASES // steps


@dataclass(frozen=True)
class Assignment:
    """One entry per layer for keys and for values."""

    k: tuple[Entry, ...]
    v: tuple[Entry, ...]

    def name(self, tensor: str, layer: int, phase: int) -> str:
        """The compressor of tensor `k` or `v`."""
        return (self.k if tensor == "k" else self.v)[layer][phase]

    def layers(self) -> int:
        return len(self.k)

    def idle(self, layer: int) -> bool:
        """Whether everything of this layer is sent as it is."""
        return {*self.k[layer], *self.v[layer]} == {"raw"}

    def to_json(self, rules: Rules = Rules()) -> str:
        """Shortest form: an entry of three equal names is one name, rules are given where not the usual ones."""
        short = {t: [e[0] if len(set(e)) == 1 else list(e) for e in getattr(self, t)] for t in ("k", "v")}
        unusual = {key: value for key, value in asdict(rules).items() if value != getattr(Rules(), key)}
        return json.dumps(short | ({"rules": unusual} if unusual else {}), separators=(",", ":"))

    @staticmethod
    def of(k: list, v: list | None = None) -> "Assignment":
        """From one name (or three) a layer; values as keys where not given."""
        first = tuple(_entry(e) for e in k)
        second = first if v is None else tuple(_entry(e) for e in v)
        if len(first) != len(second):
            raise ValueError(f"keys of {len(first)} layers, values of {len(second)}")
        return Assignment(first, second)

    @staticmethod
    def from_json(text: str) -> "Assignment":
        data = json.loads(text)
        return Assignment.of(data["k"], data.get("v"))

    @staticmethod
    def uniform(name: str, layers: int) -> "Assignment":
        return Assignment.of([name] * layers)

    @staticmethod
    def single(name: str, layer: int, layers: int, tensors: str = "kv") -> "Assignment":
        """`name` in one layer's K, V or both, all else raw."""
        one = [name if i == layer else "raw" for i in range(layers)]
        raw = ["raw"] * layers
        return Assignment.of(one if "k" in tensors else raw, one if "v" in tensors else raw)


def rules_of(text: str) -> Rules:
    """The rules that an assignment's JSON gives, the usual ones for the rest."""
    return Rules(**json.loads(text).get("rules", {}))


def _entry(value: str | list) -> Entry:
    names = (value,) * PHASES if isinstance(value, str) else tuple(value)
    if len(names) != PHASES:
        raise ValueError(f"{len(names)} names for {PHASES} phases: {names}")
    for name in names:
        if name not in ("raw", "stale"):
            codec(name)
    return names

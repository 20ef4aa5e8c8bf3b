"""The plan lines that virtual ranks execute: one strategy of `ditplan plan`, with a compressor where it has one.

    none   ring4   ring4/1bit warmup=2   allgather-kv4/int8   ulysses2   distrifusion4 warmup=4   pipefusion4(m8)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .codecs import codec

STRATEGIES = ("none", "ring", "allgather-kv", "ulysses", "distrifusion", "pipefusion")
#: Strategies whose messages a compressor can stand in for.
COMPRESSED = ("ring", "allgather-kv")


@dataclass(frozen=True)
class Plan:
    """A strategy over `ranks` ranks; `patches` of a pipeline; raw synchronous steps `warmup` of lossy and stale plans."""

    line: str
    strategy: str
    ranks: int
    compressor: str
    patches: int
    warmup: int

    @property
    def lossy(self) -> bool:
        return self.compressor != "raw"

    @property
    def stale(self) -> bool:
        """Whether steps after warm-up use keys and values of the step before."""
        return self.strategy in ("distrifusion", "pipefusion") and self.ranks > 1

    @property
    def exact(self) -> bool:
        return not (self.lossy or self.stale)

    def synchronous(self, step: int) -> bool:
        """Whether a step is raw and waits for its messages. DistriFusion's first step after warm-up still waits."""
        if self.exact:
            return True
        return step < self.warmup + (self.strategy == "distrifusion")


def read_plan(line: str) -> Plan:
    """A plan from its line; what cannot be executed is named in one sentence."""
    layout, *settings = line.split()
    strategy, _, compressor = layout.partition("/")
    compressor = compressor or "raw"
    match = re.fullmatch(r"(none)|(ring|allgather-kv|ulysses|distrifusion|pipefusion)(\d+)(?:\(m(\d+)\))?", strategy)
    if match is None or (match[4] and match[2] != "pipefusion"):
        raise ValueError(f"plan `{line}`: virtual ranks execute one of {', '.join(STRATEGIES)} with its degree, for instance ring4/1bit")
    name, ranks = match[1] or match[2], int(match[3] or 1)
    if compressor != "raw":
        codec(compressor)
        if name not in COMPRESSED:
            raise ValueError(f"plan `{line}`: messages of {name} are sent raw here; compressed are those of {' and '.join(COMPRESSED)}")
    if not 1 <= ranks <= 64:
        raise ValueError(f"plan `{line}`: 1 to 64 ranks")
    patches = int(match[4] or ranks)
    if patches < 1:
        raise ValueError(f"plan `{line}`: a pipeline has one patch at least")
    inexact = compressor != "raw" or (name in ("distrifusion", "pipefusion") and ranks > 1)
    warmup = int(inexact)
    for setting in settings:
        if not (found := re.fullmatch(r"warmup=(\d+)", setting)):
            raise ValueError(f"plan `{line}`: `{setting}` is not a setting; write warmup=N")
        warmup = int(found[1])
    if inexact and warmup < 1:
        raise ValueError(f"plan `{line}`: one step of warm-up at least, whose keys and values later steps build on")
    return Plan(line, name if ranks > 1 else "none", ranks, compressor, patches, warmup)

"""How ranks that share a sequence exchange keys and values around one block's attention.

```text
ring          N - 1 hops beside N chunks of attention; the message received is passed on
allgather-kv  every rank's K, V to all others, then attention over all
ulysses       Q, K, V by heads to their ranks, attention over all tokens, outputs back
distrifusion  attention over the others' K, V of the step before, while this step's are gathered
```
A message is K and V of a rank's rows (each one matrix), raw or compressed. Text rows that the ranks do not divide are
whole on every rank and are not sent. A block's messages start when all ranks have done the work before it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Optional, Sequence

import torch
from torch import Tensor

from .attention_parts import finish, first, merge, plain, with_lse
from .virtual_machine import Arrival, Machine
from .virtual_plan import Plan
from .wire_codec import WireCodec

#: One rank's q, k, v [samples, rows, heads, head_dim].
Triple = tuple[Tensor, Tensor, Tensor]


@dataclass
class Exchange:
    """The ranks' exchange under a plan; `whole_text` rows at the head of each rank's rows are not sent."""

    machine: Machine
    plan: Plan
    kernel: str
    whole_text: int
    codec: Optional[WireCodec] = None
    bases: dict[tuple, Tensor] = field(default_factory=dict)
    _arrivals: dict[tuple, Arrival] = field(default_factory=dict)

    def attended(self, step: int, layer: int, ranks: Sequence[Triple]) -> list[Tensor]:
        """Attention outputs [samples, rows, heads, head_dim] of every rank."""
        strategies: dict[str, Callable] = {
            "none": self._alone, "ring": self._ring, "allgather-kv": self._gather, "ulysses": self._ulysses,
            "distrifusion": self._displaced,
        }
        return strategies[self.plan.strategy](step, layer, ranks)

    def encode(self, rank: int, step: int, layer: int, k: Tensor, v: Tensor) -> list[Tensor]:
        """A rank's message: K and V of its own rows, compressed after warm-up where the plan is lossy."""
        own = [x[:, self.whole_text :].contiguous() for x in (k, v)]
        if not self.plan.lossy:
            return own
        if self.plan.synchronous(step):
            with self.machine.mark("encode"):
                for name, x in zip("kv", own):
                    self._base(rank, layer, name, rank, x).copy_(_matrix(x))
            return own
        with self.machine.mark("encode"):
            return [self.codec.encode(_matrix(x), self._base(rank, layer, name, rank, x)) for name, x in zip("kv", own)]

    def _decode(self, rank: int, owner: int, step: int, layer: int, tensors: Sequence[Tensor], like: Tensor) -> list[Tensor]:
        """Keys and values of `owner` as `rank` has them; `like` is shaped as one of them."""
        if not self.plan.lossy:
            return list(tensors)
        with self.machine.mark("decode"):
            bases = [self._base(rank, layer, name, owner, like) for name in "kv"]
            for base, x in zip(bases, tensors):
                if self.plan.synchronous(step):
                    base.copy_(_matrix(x))
                else:
                    self.codec.decode(x, base)
            return list(tensors) if self.plan.synchronous(step) else [base.to(like.dtype).view(like.shape) for base in bases]

    def _base(self, rank: int, layer: int, tensor: str, owner: int, like: Tensor) -> Tensor:
        """What `rank` holds of the owner's K or V: float16 [rows, channels]."""
        key = (rank, layer, tensor, owner)
        if key not in self.bases:
            self.bases[key] = torch.zeros(_matrix(like).shape, dtype=torch.float16, device=like.device)
        return self.bases[key]

    def _alone(self, step: int, layer: int, ranks: Sequence[Triple]) -> list[Tensor]:
        self.machine.at(0, step, layer)
        with self.machine.mark("attention"):
            return [plain(*ranks[0], self.kernel)]

    def _ring(self, step: int, layer: int, ranks: Sequence[Triple]) -> list[Tensor]:
        count, machine, whole = len(ranks), self.machine, self.whole_text
        messages, totals = [], []
        for rank, (_, k, v) in enumerate(ranks):
            machine.at(rank, step, layer)
            messages.append(self.encode(rank, step, layer, k, v))
        chunks = [(k, v) for _, k, v in ranks]
        for hop in range(count):
            arrivals = self._hop(hop, step, layer, messages) if hop < count - 1 else []
            for rank, (q, _, _) in enumerate(ranks):
                machine.at(rank, step, layer)
                with machine.mark("attention"):
                    part = with_lse(q, *chunks[rank], self.kernel)
                with machine.mark("elementwise"):
                    if hop == 0:
                        totals.append(first(part))
                    else:
                        totals[rank] = merge(totals[rank], part)
            for rank, arrival in enumerate(arrivals):
                machine.at(rank, step, layer)
                messages[rank] = machine.wait(arrival)
                chunks[rank] = self._decode(rank, (rank - hop - 1) % count, step, layer, messages[rank], ranks[rank][1][:, whole:])
        outs = []
        for rank, (q, _, _) in enumerate(ranks):
            machine.at(rank, step, layer)
            with machine.mark("elementwise"):
                outs.append(finish(totals[rank], q.dtype))
        return outs

    def _hop(self, hop: int, step: int, layer: int, messages: list[list[Tensor]]) -> list[Arrival]:
        """Every rank sends what it has to the next; the arrivals by receiver."""
        count, ready, arrivals = len(messages), self.machine.ready(), {}
        for rank in range(count):
            self.machine.at(rank, step, layer)
            arrivals[(rank + 1) % count] = self.machine.send((rank + 1) % count, messages[rank], ("ring", hop % 2), ready)
        return [arrivals[rank] for rank in range(count)]

    def _gather(self, step: int, layer: int, ranks: Sequence[Triple]) -> list[Tensor]:
        arrivals = self._post_gather(step, layer, ranks, ("gather",))
        return self._attend_gathered(step, layer, ranks, arrivals)

    def _displaced(self, step: int, layer: int, ranks: Sequence[Triple]) -> list[Tensor]:
        arrivals = self._post_gather(step, layer, ranks, ("displaced", layer, step % 2))
        before = {pair: self._arrivals.get((layer, pair)) for pair in arrivals}
        for pair, arrival in arrivals.items():
            self._arrivals[layer, pair] = arrival
        return self._attend_gathered(step, layer, ranks, arrivals if self.plan.synchronous(step) else before)

    def _post_gather(self, step: int, layer: int, ranks: Sequence[Triple], name: tuple) -> dict[tuple[int, int], Arrival]:
        """All ranks' messages to all others, by (owner, receiver)."""
        messages = []
        for rank, (_, k, v) in enumerate(ranks):
            self.machine.at(rank, step, layer)
            messages.append(self.encode(rank, step, layer, k, v))
        ready, arrivals, count = self.machine.ready(), {}, len(ranks)
        for distance in range(1, count):
            for rank in range(count):
                target = (rank + distance) % count
                self.machine.at(rank, step, layer)
                arrivals[rank, target] = self.machine.send(target, messages[rank], name, ready)
        return arrivals

    def _attend_gathered(self, step: int, layer: int, ranks: Sequence[Triple], arrivals: dict) -> list[Tensor]:
        machine, whole, outs = self.machine, self.whole_text, []
        for rank, (q, k, v) in enumerate(ranks):
            machine.at(rank, step, layer)
            seen = [(k[:, :whole], v[:, :whole])] if whole else []
            for owner in range(len(ranks)):
                if owner == rank:
                    seen.append(self._own(rank, step, layer, k[:, whole:], v[:, whole:]))
                else:
                    arrived = machine.wait(arrivals[owner, rank])
                    seen.append(self._decode(rank, owner, step, layer, arrived, k[:, whole:]))
            with machine.mark("elementwise"):
                keys, values = (torch.cat(parts, dim=1) for parts in zip(*seen))
            with machine.mark("attention"):
                outs.append(plain(q, keys, values, self.kernel))
        return outs

    def _own(self, rank: int, step: int, layer: int, k: Tensor, v: Tensor) -> Sequence[Tensor]:
        """A rank's own shard in a gather: reconstructed as the others have it, so that all attend to the same."""
        if not self.plan.lossy or self.plan.synchronous(step):
            return k, v
        with self.machine.mark("decode"):
            return [self._base(rank, layer, name, rank, x).to(x.dtype).view(x.shape) for name, x in zip("kv", (k, v))]

    def _ulysses(self, step: int, layer: int, ranks: Sequence[Triple]) -> list[Tensor]:
        machine, count, whole = self.machine, len(ranks), self.whole_text
        heads = ranks[0][0].shape[2] // count
        parts = []
        for rank, triple in enumerate(ranks):
            machine.at(rank, step, layer)
            with machine.mark("elementwise"):
                parts.append([[_heads(x[:, whole:], to, heads) for x in triple] for to in range(count)])
        arrived = self._all_to_all(step, layer, parts, "in")
        results = []
        for rank, triple in enumerate(ranks):
            machine.at(rank, step, layer)
            blocks = [machine.wait(a) if isinstance(a, Arrival) else a for a in arrived[rank]]
            with machine.mark("elementwise"):
                text = [[_heads(x[:, :whole], rank, heads) for x in triple]] if whole else []
                q, k, v = (torch.cat(x, dim=1) for x in zip(*text, *blocks))
            with machine.mark("attention"):
                results.append(plain(q, k, v, self.kernel))
        return self._outputs_back(step, layer, results, ranks)

    def _outputs_back(self, step: int, layer: int, results: list[Tensor], ranks: Sequence[Triple]) -> list[Tensor]:
        """Each rank's own rows of every head group (and the text that all ranks hold)."""
        machine, count, whole = self.machine, len(ranks), self.whole_text
        rows = ranks[0][0].shape[1] - whole
        parts = []
        for rank, out in enumerate(results):
            machine.at(rank, step, layer)
            with machine.mark("elementwise"):
                own = [out[:, whole + to * rows : whole + (to + 1) * rows] for to in range(count)]
                parts.append([[torch.cat([out[:, :whole], x], dim=1)] if whole else [x.contiguous()] for x in own])
        arrived, outs = self._all_to_all(step, layer, parts, "out"), []
        for rank in range(count):
            machine.at(rank, step, layer)
            blocks = [machine.wait(a) if isinstance(a, Arrival) else a for a in arrived[rank]]
            with machine.mark("elementwise"):
                outs.append(torch.cat([block[0] for block in blocks], dim=2))
        return outs

    def _all_to_all(self, step: int, layer: int, parts: list[list[list[Tensor]]], name: str) -> list[list]:
        """parts[rank][to] to their ranks; by receiver, then owner: an arrival, or the rank's own part."""
        count, ready = len(parts), self.machine.ready()
        arrived: list[list] = [[None] * count for _ in range(count)]
        for distance in range(count):
            for rank in range(count):
                to = (rank + distance) % count
                self.machine.at(rank, step, layer)
                arrived[to][rank] = self.machine.send(to, parts[rank][to], ("ulysses", name), ready) if distance else parts[rank][to]
        return arrived


def _heads(x: Tensor, group: int, heads: int) -> Tensor:
    """A group of `heads` heads, in memory of its own."""
    return x[:, :, group * heads : (group + 1) * heads].contiguous()


def _matrix(x: Tensor) -> Tensor:
    """[samples, rows, heads, head_dim] as one matrix [samples x rows, channels]."""
    return x.reshape(x.shape[0] * x.shape[1], -1)

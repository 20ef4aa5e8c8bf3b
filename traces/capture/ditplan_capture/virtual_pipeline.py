"""PipeFusion: stages of consecutive blocks, patches of the latent that pass through them.

```text
slot     0    1    2    3    4    5
stage 0  p0   p1   p0   p1   p0   ...      two stages, two patches: a patch's next step starts when the last
stage 1       p0   p1   p0   p1   ...      stage's result of that patch is back
```
A patch attends to its own fresh keys and values and to what the stage last had of the other patches. Text is computed
again with every patch; its rows go to the next stage with patch 0 only. Warm-up steps send the whole latent through
the stages, one after another. Work is queued slot by slot, later stages first: what waits for a message was sent a
slot before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

import torch
from torch import Tensor

from .attention_parts import plain
from .blocks import Hidden
from .virtual_machine import Arrival, Machine
from .virtual_plan import Plan


def blocks_by_stage(blocks: int, stages: int) -> list[range]:
    """Consecutive blocks of each stage: as many as the first has, the last takes the rest; else as even as possible."""
    most = -(-blocks // stages)
    if most * (stages - 1) < blocks:
        counts = [most] * (stages - 1) + [blocks - most * (stages - 1)]
    else:
        counts = [blocks // stages + (stage < blocks % stages) for stage in range(stages)]
    starts = [sum(counts[:stage]) for stage in range(stages)]
    return [range(start, start + count) for start, count in zip(starts, counts)]


def slots(stages: int, patches: int, steps: int) -> list[tuple[int, int, int]]:
    """(stage, step, patch) of all micro-steps in the order in which they are queued."""
    at: dict[tuple[int, int], int] = {}
    for micro in range(steps * patches):
        for stage in range(stages):
            before = [at.get((stage, micro - 1), -1)]
            before.append(at[stage - 1, micro] if stage else at.get((stages - 1, micro - patches), -1))
            at[stage, micro] = max(before) + 1
    ranked = sorted(at, key=lambda key: (at[key], -key[0]))
    return [(stage, micro // patches, micro % patches) for stage, micro in ranked]


@dataclass
class Pipeline:
    """The stages of a plan at work on a stack; `latent` is the result."""

    machine: Machine
    stack: torch.nn.Module
    plan: Plan
    _keys: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _texts: dict[int, Optional[Tensor]] = field(default_factory=dict)
    _waiting: dict[tuple, Arrival] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stages = blocks_by_stage(len(self.stack.blocks), self.plan.ranks)
        image, patches = self.stack.shape.image, self.plan.patches
        if image % patches:
            raise ValueError(f"plan `{self.plan.line}`: {image} image tokens are not cut in {patches} patches")
        if len(self.stack.blocks) < self.plan.ranks:
            raise ValueError(f"plan `{self.plan.line}`: {len(self.stack.blocks)} blocks for {self.plan.ranks} stages")
        self.rows = image // patches

    def run(self, steps: int) -> Tensor:
        """All steps; the final latent [samples, image rows, channels]."""
        z = self.stack.noise.clone()
        warm = min(self.plan.warmup, steps)
        for step in range(warm):
            for stage in range(len(self.stages)):
                z = self._micro(stage, step, None, z)
        for stage, late, patch in slots(len(self.stages), self.plan.patches, steps - warm):
            z = self._micro(stage, warm + late, patch, z)
        for patch in [None] if steps == warm else range(self.plan.patches):
            z = self._take_back(patch, z)
        return z

    def _cut(self, patch: Optional[int]) -> slice:
        return slice(0, None) if patch is None else slice(patch * self.rows, (patch + 1) * self.rows)

    def _micro(self, stage: int, step: int, patch: Optional[int], z: Tensor) -> Tensor:
        """One stage's blocks on one patch (None: on everything); the latent on stage 0 after it."""
        machine, cut = self.machine, self._cut(patch)
        machine.at(stage, step, stage)
        inputs = self.stack.inputs(step, slice(0, None), cut, machine.mark)
        if stage == 0:
            z = self._take_back(None if step <= self.plan.warmup else patch, z)
            machine.at(stage, step, stage)
            with machine.mark("linear"):
                h = self.stack.start(z[:, cut], self.stack.text, step)
        else:
            h = self._arrived(stage, step, patch)
        for index in self.stages[stage]:
            block = self.stack.blocks[index]
            q, k, v, saved = block.before(h, inputs)
            with machine.mark("elementwise"):
                keys, values = self._updated(index, cut, k, v)
            with machine.mark("attention"):
                out = plain(q, keys, values, self.stack.kernel)
            h = block.after(out, saved, inputs)
        self._pass_on(stage, step, patch, h, z)
        return z

    def _updated(self, index: int, cut: slice, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's keys and values of a block with this patch's (and the text's) fresh ones in them."""
        text = self.stack.text_rows
        if cut.stop is None:
            self._keys[index] = (k.contiguous().clone(), v.contiguous().clone())
        for held, fresh in zip(self._keys[index], (k, v)):
            if cut.stop is not None:
                held[:, :text] = fresh[:, :text]
                held[:, text + cut.start : text + cut.stop] = fresh[:, text:]
        return self._keys[index]

    def _pass_on(self, stage: int, step: int, patch: Optional[int], h: Hidden, z: Tensor) -> None:
        """Sends a result to the next stage, the last one's output back to the first."""
        machine, name = self.machine, ("pipe", patch, step % 2)
        if stage < len(self.stages) - 1:
            joined = h.text is None and h.joined
            text = h.image[:, : h.joined] if joined else h.text
            rows = [h.image[:, h.joined :].contiguous() if joined else h.image]
            if text is not None and patch in (None, 0):
                rows.append(text.contiguous())
            self._waiting["on", stage + 1, patch] = machine.send(stage + 1, rows, (*name, len(rows)), machine.ready())
            return
        with machine.mark("linear"):
            done = self._finished(h, step, z[:, self._cut(patch)])
        self._waiting["back", patch] = machine.send(0, [done], (*name, "back"), machine.ready())

    def _finished(self, h: Hidden, step: int, z: Tensor) -> Tensor:
        return self.stack.finish(h, z, step).contiguous()

    def _arrived(self, stage: int, step: int, patch: Optional[int]) -> Hidden:
        """The rows that the stage before has sent; text joined where the blocks before have joined it."""
        tensors = self.machine.wait(self._waiting.pop(("on", stage, patch)))
        if len(tensors) > 1:
            self._texts[stage] = tensors[1]
        text = self._texts.get(stage) if self.stack.text_rows else None
        h = Hidden(tensors[0], text)
        kind = self.stack.kinds[self.stages[stage][0]]
        return h.join() if kind in ("single", "digits") else h

    def _take_back(self, patch: Optional[int], z: Tensor) -> Tensor:
        """The latent with what the last stage has sent back of a patch, if anything is under way."""
        arrival = self._waiting.pop(("back", patch), None)
        if arrival is None:
            return z
        done = self.machine.wait(arrival)[0]
        self.machine.rank = 0
        with self.machine.mark("elementwise"):
            z = z.clone()
            z[:, self._cut(patch)] = done
        return z

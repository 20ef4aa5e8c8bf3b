"""How much the picture moves when one layer's K or V is wrong: a relative error is injected at given steps.

    D = ||x - x0|| / ||x0||,   K <- K + eps ||K|| / ||n|| n,  n white noise (fresh each step, or the same in all)

Noise that is the same in all steps adds up over the run like the errors of 1-bit codes; fresh noise averages out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Iterable

import torch
from torch import Tensor

from .closed_loop import Prompts, deviations, geometric_mean, sample
from .dit import DigitsDiT
from .ranks import half_attention


@dataclass
class Injection:
    """An `attend` that adds noise of relative size `relative` to `tensors` (k, v or both) of one layer."""

    layer: int
    relative: float
    tensors: str = "kv"
    steps: frozenset[int] | None = None
    fresh: bool = True
    seed: int = 0
    inner: Callable = half_attention
    step: int = field(default=0, init=False)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if layer == self.layer and (self.steps is None or self.step in self.steps):
            k = self._disturbed(k, 0) if "k" in self.tensors else k
            v = self._disturbed(v, 1) if "v" in self.tensors else v
        return self.inner(layer, q, k, v)

    def _disturbed(self, x: Tensor, salt: int) -> Tensor:
        seed = self.seed * 10_007 + 2 * (self.step if self.fresh else 0) + salt
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32).to(x.device)
        size = torch.linalg.vector_norm(x.float().flatten(1), dim=1) / torch.linalg.vector_norm(noise.flatten(1), dim=1)
        return (x.float() + self.relative * size.view(-1, *[1] * (x.dim() - 1)) * noise).to(x.dtype)


def sensitivities(
    model: DigitsDiT, prompts: Prompts, steps: int, relative: float = 0.02, tensors: str = "kv",
    at: Iterable[int] | None = None, fresh: bool = True,
) -> list[float]:
    """D / `relative` of each layer in turn, geometric mean over prompts."""
    reference = sample(model, prompts, steps)
    chosen = frozenset(at) if at is not None else None
    result = []
    for layer in range(model.config.layers):
        injection = Injection(layer, relative, tensors, chosen, fresh)
        result.append(geometric_mean(deviations(sample(model, prompts, steps, injection), reference)) / relative)
    return result

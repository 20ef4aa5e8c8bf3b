"""Norms of keys and values, and of their changes from step to step, for every layer, step and sample.

    norm = ||x_t||      residual_norm = ||x_t - x_(t-1)||      cosine = <x_t, x_(t-1)> / (||x_t|| ||x_(t-1)||)

Frobenius norms over tokens, heads and channels, computed in fp32 on the device that holds x, from the values as
stored (after rounding to the trace's type). The previous step of every layer stays on that device: 2 x layers x
samples x tokens x channels x 2 bytes; `record(..., stats=False)` does without.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: First line of stats.csv.gz.
HEADER = "sample,step,layer,tensor,norm,residual_norm,cosine\n"


def measure(x: Tensor, previous: Tensor | None) -> Tensor:
    """[samples, 3]: norm, residual norm, cosine of x [samples, ...]; NaN where there is no previous step.

    A sample at a time, so that the fp32 copies stay small beside x.
    """
    rows = []
    for index in range(x.shape[0]):
        now = x[index].reshape(-1).float()
        norm = torch.linalg.vector_norm(now)
        if previous is None:
            rows.append(torch.stack([norm, norm.new_tensor(torch.nan), norm.new_tensor(torch.nan)]))
            continue
        before = previous[index].reshape(-1).float()
        scale = norm * torch.linalg.vector_norm(before)
        cosine = torch.where(scale > 0, torch.dot(now, before) / scale, torch.zeros_like(norm))
        rows.append(torch.stack([norm, torch.linalg.vector_norm(now - before), cosine]))
    return torch.stack(rows)


class Statistics:
    """The previous step's tensors and the rows of the step under way."""

    def __init__(self) -> None:
        self._previous: dict[tuple[int, str, int], Tensor] = {}
        self._rows: list[tuple[int, str, int, Tensor]] = []

    def add(self, layer: int, tensor: str, first_sample: int, x: Tensor) -> None:
        """Measures x [samples, tokens, heads, head_dim]; keeps it as this slot's previous step (x must not change)."""
        slot = (layer, tensor, first_sample)
        before = self._previous.get(slot)
        if before is not None and before.shape != x.shape:
            before = None
        self._rows.append((layer, tensor, first_sample, measure(x, before)))
        self._previous[slot] = x

    def take(self, step: int) -> str:
        """The step's CSV lines, ordered by layer, tensor and sample. Waits for the device once."""
        rows, self._rows = sorted(self._rows, key=lambda row: row[:3]), []
        if not rows:
            return ""
        values = torch.cat([row[3] for row in rows]).cpu().tolist()
        lines, at = [], 0
        for layer, tensor, first, measured in rows:
            for sample in range(measured.shape[0]):
                lines.append(_line(first + sample, step, layer, tensor, values[at]))
                at += 1
        return "".join(lines)


def _line(sample: int, step: int, layer: int, tensor: str, values: list[float]) -> str:
    norm, residual, cosine = values
    if norm != norm or norm == float("inf"):
        raise ValueError(
            f"layer {layer}, step {step}, tensor {tensor}, sample {sample}: not finite as stored; "
            "if the model's own values are finite, record with dtype=torch.bfloat16"
        )
    tail = "," if residual != residual else f"{residual:.7g},{cosine:.7g}"
    return f"{sample},{step},{layer},{tensor},{norm:.7g},{tail}\n"

"""The low-rank compressors: R ~ U V by subspace iteration, the factors in float16 or in 4 bits."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .codecs import Parts, half_bytes, pack, to_half

_MASK = 2**64 - 1


def splitmix64(z: int) -> int:
    """The 64-bit mixer that gives every implementation the same start."""
    z = (z + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


@lru_cache(maxsize=64)
def start(channels: int, rank: int) -> Tensor:
    """Signs [channels, rank]: +1 where the top bit of splitmix64(c * rank + j) is 0."""
    signs = [-1.0 if splitmix64(i) >> 63 else 1.0 for i in range(channels * rank)]
    return torch.tensor(signs).view(channels, rank)


@lru_cache(maxsize=64)
def start_on(device: torch.device, channels: int, rank: int) -> Tensor:
    """`start` on a device."""
    return start(channels, rank).to(device)


def orthonormal(a: Tensor) -> Tensor:
    """Q of the QR factorisation with a positive diagonal, by Gram-Schmidt done twice; null columns are zeros."""
    columns: list[Tensor] = []
    for j in range(a.shape[-1]):
        column = a[..., j : j + 1]
        size = torch.linalg.vector_norm(column, dim=-2, keepdim=True)
        if columns:
            q = torch.cat(columns, dim=-1)
            for _ in range(2):
                column = column - q @ (q.mT @ column)
        left = torch.linalg.vector_norm(column, dim=-2, keepdim=True)
        alive = left > 1e-6 * size
        columns.append(torch.where(alive, column / left.clamp(min=1e-38), torch.zeros_like(column)))
    return torch.cat(columns, dim=-1)


def affine(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """4-bit codes of x [..., n], and the float16 minimum and step of the last axis."""
    low = to_half(x.amin(-1))
    step = to_half((x.amax(-1) - x.amin(-1)) / 15)
    width = step.float()[..., None]
    codes = torch.where(width > 0, (x - low.float()[..., None]) / width, torch.zeros_like(x))
    return codes.round_().clamp_(0, 15).to(torch.uint8), low, step


class LowRank:
    """Rank-r factors U [rows, r] (orthonormal) and V [r, channels] after two rounds of subspace iteration."""

    family = "low-rank"

    def __init__(self, rank: int, quantised: bool) -> None:
        if rank < 1:
            raise ValueError("lowrank(r): r is 1 at least")
        self.rank, self.quantised = rank, quantised
        self.name = f"lowrank-int4({rank})" if quantised else f"lowrank({rank})"

    def factors(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """U and V in float32, before they are rounded for the wire."""
        rows, channels = r.shape[-2:]
        q = start_on(r.device, channels, min(self.rank, rows, channels))
        for _ in range(2):
            q = orthonormal(r.mT @ (r @ q))
        u = orthonormal(r @ q)
        return u, u.mT @ r

    def encode(self, r: Tensor) -> Parts:
        u, v = self.factors(r)
        if not self.quantised:
            return {"u": to_half(u), "v": to_half(v)}
        u_codes, u_low, u_step = affine(u.mT)
        v_codes, v_low, v_step = affine(v)
        u_scale, v_scale = torch.stack([u_low, u_step], -1), torch.stack([v_low, v_step], -1)
        return {"u": u_codes, "v": v_codes, "u_scale": u_scale, "v_scale": v_scale}

    def decode(self, parts: Parts, rows: int, channels: int) -> Tensor:
        u, v = parts["u"].float(), parts["v"].float()
        if self.quantised:
            u_scale, v_scale = parts["u_scale"].float()[..., None, :], parts["v_scale"].float()[..., None, :]
            u = (u_scale[..., 0] + u * u_scale[..., 1]).mT
            v = v_scale[..., 0] + v * v_scale[..., 1]
        return u @ v

    def wire(self, parts: Parts) -> bytes:
        if not self.quantised:
            return half_bytes(parts["u"]) + half_bytes(parts["v"])
        codes = torch.cat([parts["u"].flatten(), parts["v"].flatten()])
        return pack(codes, 4) + half_bytes(parts["u_scale"]) + half_bytes(parts["v_scale"])

    def message_bytes(self, rows: int, channels: int) -> int:
        rank = min(self.rank, rows, channels)
        return -(-rank * (rows + channels) // 2) + 8 * rank if self.quantised else 2 * rank * (rows + channels)
